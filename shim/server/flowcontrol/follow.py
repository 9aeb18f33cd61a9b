"""The objects of flow control: followed, so that what they say is done, and told whether they lead anywhere.

FlowSchemas say of themselves whether the priority level they name is there: their condition ``Dangling``. Upstream's
API server writes it too, as it reads the configuration of its flow control.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from shim.api.apply import apply
from shim.api.conditions import find
from shim.api.keys import prefix_of
from shim.api.meta import Object, now
from shim.api.schema import Schema
from shim.resources.bootstrap.flow import dangling
from shim.server.flowcontrol.levels import Levels
from shim.server.flowcontrol.limits import PERIOD
from shim.server.flowcontrol.upkeep import Upkeep
from shim.server.following import keep
from shim.store.cache import Cache, Entry
from shim.store.contract import Conflict

_GROUP = "flowcontrol.apiserver.k8s.io"
SCHEMAS, LEVELS = prefix_of(_GROUP, "flowschemas"), prefix_of(_GROUP, "prioritylevelconfigurations")
_MANAGER = "api-priority-and-fairness-config-consumer-v1"
_API_VERSION = f"{_GROUP}/v1"


class FlowObjects:
    """Keeps the levels as the objects say, and the condition of every FlowSchema true."""

    def __init__(self, cache: Cache, schema: Schema, levels: Levels) -> None:
        self._cache, self._levels = cache, levels
        self._definition = schema.for_kind(_GROUP, "v1", "FlowSchema")
        self._upkeep = Upkeep(cache, schema)

    async def run(self) -> None:
        """Until cancelled."""
        what = "priority levels and FlowSchemas"
        following = (keep(self._cache, prefix, self.settle, what) for prefix in (SCHEMAS, LEVELS))
        await asyncio.gather(*following, self._adjust(), self._upkeep.run())

    def load(self) -> None:
        """Do as the objects say."""
        levels, schemas = ([entry.decode() for entry in self._cache.range(prefix)] for prefix in (LEVELS, SCHEMAS))
        self._levels.configure(levels, schemas, perf_counter())

    async def settle(self) -> None:
        """Write what is not true yet, of all: there are few, and they hardly ever change. Raises StoreError."""
        self.load()
        for entry in self._cache.range(SCHEMAS):
            obj = entry.decode()
            level = ((obj.get("spec") or {}).get("priorityLevelConfiguration") or {}).get("name") or ""
            wanted = dangling(level, self._cache.get(LEVELS + level) is not None)
            found = find(obj, "Dangling") or {}
            if any(found.get(field) != value for field, value in wanted.items()):
                await self._write(entry, obj, wanted)

    async def _adjust(self) -> None:
        """Let levels borrow seats of each other, as they need them."""
        while True:
            await asyncio.sleep(PERIOD)
            now = perf_counter()
            self._levels.reap(now)
            self._levels.adjust(now)

    async def _write(self, entry: Entry, obj: Object, condition: Object) -> None:
        told = {"conditions": [{**condition, "lastTransitionTime": now()}]}
        applied = {"apiVersion": _API_VERSION, "kind": "FlowSchema", "metadata": {}, "status": told}
        new = apply(obj, applied, definition=self._definition, manager=_MANAGER, force=True, subresource="status")
        try:
            await self._cache.update(entry.key, new, expected=entry.revision)
        except Conflict:
            pass  # whoever was quicker made an event, which is looked at next
