"""The levels and schemas that every cluster has, kept: looked after every minute, as upstream does.

One that is missing is made again. What one says is put right for as long as its annotation lets that be done, which
whoever wants to say something else there sets to false; the mandatory ones are put right in any case. One that an
earlier release had and this one has not goes, unless it was made somebody's own in that way.
https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#maintenance-of-the-mandatory-and-suggested-configuration-objects
"""

from __future__ import annotations

import asyncio
import logging

from shim.api.apply import update_managed_fields
from shim.api.gotext import parse_bool
from shim.api.meta import Object, split_api_version
from shim.api.schema import Schema
from shim.resources.bootstrap import objects
from shim.resources.bootstrap.flow import AUTO_UPDATE, FLOW_SCHEMAS, PRIORITY_LEVELS
from shim.resources.table import find
from shim.server.bootstrap import FAIRNESS, born, create
from shim.server.flowcontrol.levels import MANDATORY
from shim.store.cache import Cache
from shim.store.contract import Conflict, StoreError

PERIOD = 60.0  # seconds, as upstream

log = logging.getLogger(__name__)


class Upkeep:
    """Looks after them."""

    def __init__(self, cache: Cache, schema: Schema) -> None:
        self._cache, self._schema = cache, schema

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self.ensure()
            except (StoreError, TimeoutError) as error:
                log.warning("priority levels and FlowSchemas: %s; trying again", error)

    async def ensure(self) -> None:
        """Once. Raises StoreError and TimeoutError."""
        every = objects()
        for gvr in (PRIORITY_LEVELS, FLOW_SCHEMAS):
            wanted = {obj["metadata"]["name"]: obj for found, _, obj in every if found == gvr}
            row = find(gvr.group, gvr.version, gvr.resource)
            assert row is not None
            for name, obj in wanted.items():
                await self._ensure(row.key(None, name), obj, mandatory=name in MANDATORY)
            for entry in self._cache.range(row.prefix):
                obj = entry.decode()
                if obj["metadata"]["name"] not in wanted and _annotated(obj):
                    try:
                        await self._cache.delete(entry.key, obj, expected=entry.revision)
                    except Conflict:
                        pass  # somebody is about to make it their own, or has deleted it

    async def _ensure(self, key: str, wanted: Object, *, mandatory: bool) -> None:
        entry = self._cache.get(key)
        if entry is None:
            metadata = {**wanted["metadata"], "generation": 1}
            await create(self._cache, key, self._signed(None, born({**wanted, "metadata": metadata}, None)))
            return
        old = entry.decode()
        new = revised(old, wanted, mandatory=mandatory)
        if new is None:
            return
        try:
            await self._cache.update(key, self._signed(old, new), expected=entry.revision)
        except Conflict:
            pass  # it is looked at again in a minute

    def _signed(self, old: Object | None, new: Object) -> Object:
        """As a write of this part's own."""
        group, version = split_api_version(new["apiVersion"])
        definition = self._schema.for_kind(group, version, new["kind"])
        managed = update_managed_fields(old, new, definition=definition, manager=FAIRNESS, ignored=("status",))
        metadata = {key: value for key, value in new["metadata"].items() if key != "managedFields"}
        return {**new, "metadata": {**metadata, "managedFields": managed} if managed else metadata}


def revised(obj: Object, wanted: Object, *, mandatory: bool) -> Object | None:
    """An object as it should be; None where it is that already."""
    metadata, spec = obj["metadata"], obj["spec"]
    said = _annotated(obj)
    automatic = mandatory or (metadata.get("generation") == 1 if said is None else said)
    right = wanted["spec"]
    if metadata["name"] == "exempt" and spec.get("exempt"):
        right = {**right, "exempt": spec["exempt"]}  # the one thing of it that may be changed
    changed = automatic and spec != right
    if not changed and said == automatic:
        return None
    annotations = {**(metadata.get("annotations") or {}), AUTO_UPDATE: "true" if automatic else "false"}
    generation = metadata.get("generation", 0) + changed
    head = {**metadata, "annotations": annotations, "generation": generation}
    return {**obj, "metadata": head, "spec": right if changed else spec}


def _annotated(obj: Object) -> bool | None:
    """What the annotation says; None where it says nothing that Go takes for true or false."""
    return parse_bool((obj["metadata"].get("annotations") or {}).get(AUTO_UPDATE, ""))
