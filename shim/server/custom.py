"""CustomResourceDefinitions at work: what each defines is served at once, told in its status, and goes with it.

Three tasks that upstream gives to controllers inside its API server, and that stay inside ours, because what is
served changes with them: names are accepted or found taken, versions are published and withdrawn, and the
instances of a deleted definition are deleted before it.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from shim.admission.request import Reader
from shim.admission.webhooks.call import Caller
from shim.api import conditions
from shim.api.meta import Object
from shim.api.schema import Schema
from shim.api.status import ApiError
from shim.resources.custom.naming import accept_names
from shim.resources.custom.rows import CustomKind, kinds, stored_version
from shim.resources.strategy import Resource
from shim.server.conversion import Converter
from shim.server.deletions import DeleteOptions
from shim.server.following import follow, insist, whenever
from shim.server.intent import Write
from shim.server.registry import Registry
from shim.server.removal import Removal
from shim.server.routes import Routes
from shim.server.users import SERVER
from shim.store.cache import Cache, Entry
from shim.store.contract import StoreError

log = logging.getLogger(__name__)

GROUP, PLURAL = "apiextensions.k8s.io", "customresourcedefinitions"
PREFIX = f"/registry/{GROUP}/{PLURAL}/"
FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_MANAGER = "kube-apiserver"
_LOOK_AGAIN = 0.1  # seconds between looks whether the instances of a deleted definition are gone


class CustomResources:
    """Follows the definitions. ``changed`` is called after what is served has changed."""

    def __init__(
        self,
        cache: Cache,
        routes: Routes,
        schema: Schema,
        registry: Registry,
        removal: Removal,
        reader: Reader,
        changed: Callable[[], None],
    ) -> None:
        self._reader, self._caller = reader, Caller()
        self._cache, self._routes, self._schema = cache, routes, schema
        self._registry, self._removal, self._changed = registry, removal, changed
        self._served: dict[str, list[CustomKind]] = {}
        self._built: dict[str, tuple[object, int]] = {}  # what the rows were built from, and since when it holds
        self._emptying: dict[str, asyncio.Task[None]] = {}
        self._due: set[str] = set()
        """Definitions that may have something to be told; one stays here until that is taken."""
        self._woken = asyncio.Event()
        self.told_anew: Counter[tuple[str, ...]] = Counter()
        """Changes of what is served, which OpenAPI then tells: definition, group, version and reason."""

    def load(self) -> None:
        """Serve what is defined already; before anything is answered."""
        for entry in self._cache.range(PREFIX):
            self._serve(entry.key.removeprefix(PREFIX), entry)
        self._publish()

    async def follow(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(whenever(self._woken, self._settle))
                async for keys in follow(self._cache, PREFIX):
                    self._due |= {key.removeprefix(PREFIX) for key in keys}
                    self._woken.set()
        finally:
            for task in self._emptying.values():
                task.cancel()
            await asyncio.gather(*self._emptying.values(), return_exceptions=True)
            await self._caller.close()

    async def _settle(self) -> bool:
        """Bring what is served, and then what definitions say of themselves, up to date; whether that was refused."""
        refused: set[str] = set()
        while due := sorted(self._due):
            served = {name: self._served.get(name) for name in due}
            changed = [name for name in due if self._serve(name, self._cache.get(PREFIX + name))]
            if changed:
                self._publish()
            for name in changed:
                self._count(name, served[name], self._served.get(name))
            for name in due:
                self._due.discard(name)
                try:
                    self._due |= await self._settle_names(name)
                except (ApiError, StoreError, TimeoutError) as error:
                    log.warning("custom resource definition %s: %s; trying again", name, error)
                    refused.add(name)
        self._due |= refused
        return bool(refused)

    async def _settle_names(self, name: str) -> set[str]:
        """Tell a definition which names it has; returns those to look at next. Raises ApiError, StoreError."""
        entry = self._cache.get(PREFIX + name)
        if entry is None:
            return self._waiting(name)
        crd = entry.decode()
        if _is_going(crd):
            self._empty(name)
        elif (told := accept_names(crd, self._others(crd))) is not None and await self._tell(name, told):
            return {name} | self._waiting(name, crd["spec"]["group"])
        return set()

    def _others(self, crd: Object) -> list[Object]:
        """The other definitions of a group: their names are taken."""
        own, group = crd["metadata"]["name"], crd["spec"]["group"]
        found = (entry.decode() for entry in self._cache.range(PREFIX) if entry.key != PREFIX + own)
        return [each for each in found if each["spec"]["group"] == group]

    def _waiting(self, name: str, group: str = "") -> set[str]:
        """Definitions without the names they want: they may have them now."""
        group = group or name.partition(".")[2]
        waiting = set()
        for entry in self._cache.range(PREFIX):
            crd = entry.decode()
            other = crd["metadata"]["name"]
            if crd["spec"]["group"] == group and other != name and not conditions.is_true(crd, "NamesAccepted"):
                waiting.add(other)
        return waiting

    # --- serving ------------------------------------------------------------------------------------------------------

    def _serve(self, name: str, entry: Entry | None) -> bool:
        """Build the rows of one definition, where they differ from what is served; returns whether they did."""
        if entry is None:
            self._built.pop(name, None)
            return self._replace(name, [])
        crd = entry.decode()
        accepted = conditions.is_true(crd, "NamesAccepted") or conditions.is_true(crd, "Established")
        if not accepted:
            return self._replace(name, [])
        going = _is_going(crd)
        basis = (crd["spec"], crd["status"].get("acceptedNames"), going)
        known = self._built.get(name)
        if known is not None and known[0] == basis:
            return False
        since = entry.revision
        if known is not None and known[0][0] == basis[0]:  # type: ignore[index]  # only its names, or its end
            since = known[1]
        self._built[name] = (basis, since)
        webhook = (crd["spec"].get("conversion") or {}).get("strategy") == "Webhook"
        converter = Converter(crd, self._caller, self._reader) if webhook else None
        found = kinds(crd, self._schema, since, converter)
        if stored_version(crd) is None:
            log.warning("%s names no version to keep its objects in: it is not served", name)
        if going:
            found = [replace(kind, row=replace(kind.row, closed=True)) for kind in found]
        return self._replace(name, found)

    def _count(self, name: str, before: list[CustomKind] | None, after: list[CustomKind] | None) -> None:
        reason = "update" if before and after else "add" if after else "remove"
        for kind in after or before or ():
            self.told_anew[name, kind.row.group, kind.row.version, reason] += 1

    def _replace(self, name: str, found: list[CustomKind]) -> bool:
        before = self._served.pop(name, [])
        for kind in before:
            self._schema.withdraw(_gvk(kind), kind.published)
        for kind in found:
            self._schema.publish(_gvk(kind), kind.definition, kind.published)
        if found:
            self._served[name] = found
            row = found[0].row
            if any(kind.row.strategy.selectable_fields({}) for kind in (*before, *found)):
                self._publish_rows()
                self._cache.reindex(row.prefix)
        return bool(before or found)

    def _publish(self) -> None:
        self._publish_rows()
        self._changed()

    def _publish_rows(self) -> None:
        rows = [kind.row for kinds in self._served.values() for kind in kinds]
        self._routes.publish(sorted(rows, key=lambda row: row.group))

    # --- telling ------------------------------------------------------------------------------------------------------

    async def _tell(self, name: str, status: Object) -> bool:
        """Write a definition's status; False when it is gone. Raises ApiError and StoreError."""
        write = self._write(name, "status")
        write.manager = _MANAGER

        def change(old: Object) -> Object:
            return {**old, "status": {**(old.get("status") or {}), **copy.deepcopy(status)}}

        return await self._change(write, change)

    def _write(self, name: str, subresource: str = "") -> Write:
        row = self._routes.get(GROUP, "v1", PLURAL)
        assert row is not None
        return Write(row, "", name, SERVER, subresource, manager="kube-apiserver")

    async def _change(self, write: Write, change: Callable[[Object], Object]) -> bool:
        strategy = write.resource.strategy
        try:
            if write.subresource:
                await self._registry.update(
                    write, change, prepare=strategy.prepare_for_status_update, validate=strategy.validate_status_update
                )
            else:
                await self._registry.update(write, change, validate=lambda new, old: [])
        except ApiError as error:
            if error.code != 404:
                raise
            return False
        return True

    # --- ending -------------------------------------------------------------------------------------------------------

    def _empty(self, name: str) -> None:
        """Delete a definition's instances, then let it go; once at a time."""
        running = self._emptying.get(name)
        if running is None or running.done():
            what = f"emptying {name}"
            self._emptying[name] = asyncio.create_task(insist(partial(self._emptied, name), what), name=what)

    async def _emptied(self, name: str) -> None:
        """Raises ApiError and StoreError; what was done by then is found done."""
        entry = self._cache.get(PREFIX + name)
        if entry is None:
            return
        crd = entry.decode()
        await self._tell_end(name, "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
        while await self._delete_instances(crd):  # noqa: ASYNC110  # finalizers are taken off by others, in their time
            await asyncio.sleep(_LOOK_AGAIN)
        await self._tell_end(name, "False", "InstanceDeletionCompleted", "removed all instances")

        def release(old: Object) -> Object:
            metadata = old["metadata"]
            kept = [each for each in metadata.get("finalizers") or () if each != FINALIZER]
            return {**old, "metadata": {**metadata, "finalizers": kept} if kept else _without(metadata, "finalizers")}

        await self._change(self._write(name), release)

    async def _delete_instances(self, crd: Object) -> bool:
        """Ask for the deletion of what is there; whether something is. Raises ApiError, StoreError."""
        row = self._row_of(crd)
        entries = self._cache.range(row.prefix)
        await self._removal.delete_all(Write(row, "", "", SERVER), entries, DeleteOptions(policy="Background"))
        return self._cache.count(row.prefix) > 0

    def _row_of(self, crd: Object) -> Resource:
        """The stored version, served or not: whoever deletes instances needs no conversion."""
        versions = crd["spec"]["versions"]
        stored = stored_version(crd) or versions[0]["name"]
        versions = [{**each, **dict.fromkeys(("served", "storage"), each["name"] == stored)} for each in versions]
        return kinds({**crd, "spec": {**crd["spec"], "versions": versions}}, self._schema, 0, None)[0].row

    async def _tell_end(self, name: str, status: str, reason: str, message: str) -> None:
        def change(old: Object) -> Object:
            told = copy.deepcopy(old.get("status") or {})
            told["conditions"] = told.get("conditions") or []
            conditions.set_condition(told["conditions"], "Terminating", status, reason, message)
            return {**old, "status": told}

        write = self._write(name, "status")
        write.manager = _MANAGER
        await self._change(write, change)


def _gvk(kind: CustomKind) -> tuple[str, str, str]:
    return kind.row.group, kind.row.version, kind.row.kind


def _is_going(crd: Object) -> bool:
    metadata = crd["metadata"]
    return bool(metadata.get("deletionTimestamp")) and FINALIZER in (metadata.get("finalizers") or ())


def _without(obj: Object, name: str) -> Object:
    return {key: value for key, value in obj.items() if key != name}
