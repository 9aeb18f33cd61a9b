"""FlowSchemas say of themselves whether the priority level they name is there: their condition ``Dangling``.

Upstream's API server writes it too, as it reads the configuration of its flow control.
"""

from __future__ import annotations

import asyncio
import logging

from shim.api.apply import apply
from shim.api.conditions import find
from shim.api.meta import Object, now
from shim.api.schema import Schema
from shim.resources.bootstrap.flow import dangling
from shim.server.following import follow
from shim.store.cache import Cache, Entry
from shim.store.contract import Conflict, StoreError

log = logging.getLogger(__name__)

SCHEMAS, LEVELS = "/registry/flowschemas/", "/registry/prioritylevelconfigurations/"
RETRY = 1.0  # seconds until a write is tried again that the store did not take
_MANAGER = "api-priority-and-fairness-config-consumer-v1"
_API_VERSION = "flowcontrol.apiserver.k8s.io/v1"


class FlowReferences:
    """Keeps the condition of every FlowSchema true."""

    def __init__(self, cache: Cache, schema: Schema) -> None:
        self._cache = cache
        self._definition = schema.for_kind("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema")

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._follow(SCHEMAS), self._follow(LEVELS))

    async def _follow(self, prefix: str) -> None:
        async for _ in follow(self._cache, prefix):
            await self._settle_whenever_possible()  # there are few of them, and they hardly ever change

    async def _settle_whenever_possible(self) -> None:
        while True:
            try:
                await self.settle()
                return
            except StoreError as error:
                log.warning("conditions of FlowSchemas: %s; trying again", error)
                await asyncio.sleep(RETRY)

    async def settle(self) -> None:
        """Write what is not true yet. Raises StoreError."""
        for entry in self._cache.range(SCHEMAS):
            obj = entry.decode()
            level = ((obj.get("spec") or {}).get("priorityLevelConfiguration") or {}).get("name") or ""
            wanted = dangling(level, self._cache.get(LEVELS + level) is not None)
            found = find(obj, "Dangling") or {}
            if any(found.get(field) != value for field, value in wanted.items()):
                await self._write(entry, obj, wanted)

    async def _write(self, entry: Entry, obj: Object, condition: Object) -> None:
        told = {"conditions": [{**condition, "lastTransitionTime": now()}]}
        applied = {"apiVersion": _API_VERSION, "kind": "FlowSchema", "metadata": {}, "status": told}
        new = apply(obj, applied, definition=self._definition, manager=_MANAGER, force=True, subresource="status")
        try:
            await self._cache.update(entry.key, new, expected=entry.revision)
        except Conflict:
            pass  # whoever was quicker made an event, which is looked at next
