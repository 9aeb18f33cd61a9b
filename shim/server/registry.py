"""What happens to an object on its way to the store and out of it: create and update, for any kind.

Nothing here knows HTTP or kinds: what is particular is asked of the resource's strategy, of admission, and (for
what must be unique in the cluster) of allocators. Objects pass in the form they are stored in: a client's version is
what it sends and gets, and in which its fields are owned. Deletion is in :mod:`shim.server.removal`.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import orjson

from shim.admission.chain import CREATE, UPDATE, Chain, Request
from shim.api.apply import update_managed_fields
from shim.api.decoding import prune
from shim.api.keys import ROOT, prefix_of
from shim.api.meta import Object, new_uid, now, split_api_version
from shim.api.oddities import EMPTIES, OWNED, Oddity
from shim.api.schema import Schema
from shim.api.status import MODIFIED, ApiError, FieldError, already_exists, conflict, invalid, not_found
from shim.resources.metadata import before_update
from shim.resources.strategy import Resource, TakesLong
from shim.server.allocators import Allocation, Allocator
from shim.server.errors import definition_goes
from shim.server.intent import Write
from shim.server.object_metadata import (
    WIPED,
    carry_metadata,
    check_identity,
    check_preconditions,
    drop_second_owners,
    is_disputed,
    is_finished,
    is_same,
    place,
)
from shim.server.stored_form import charged, fitting, kept, tried, versioned
from shim.server.turns import is_large, taking_turns
from shim.store.cache import Also, Cache, Entry
from shim.store.contract import Conflict

RETRIES = 100  # every lost race means that another writer has won: this many in a row is a hot loop somewhere
CATCH_UP = 0.05  # seconds; commits take a few milliseconds
NAMESPACES = prefix_of("", "namespaces")
GENERATED_RETRIES = 8
NAME_LIMIT = 63
_SUFFIX_CHARS = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words
_SUFFIX_LENGTH = 5
_UNCOUNTED = ("status", "binding")  # subresources whose writes are no new generation

Change = Callable[[Object], Object]
"""From the stored object (which it may change) to the wanted one, decoded and defaulted, both in the stored form."""
Prepare = Callable[[Object, Object], None]
Validate = Callable[[Object, Object], list[FieldError]]


class Registry:
    """Creates and changes objects."""

    def __init__(
        self, cache: Cache, chain: Chain, schema: Schema, allocators: Mapping[tuple[str, str], Allocator]
    ) -> None:
        self.cache = cache
        self.chain = chain
        self._schema = schema
        self._allocators = allocators

    async def create(self, write: Write, obj: Object) -> bytes:
        """Store a new object (in its stored form, and defaulted) and return its bytes. Raises ApiError."""
        strategy = write.resource.strategy
        metadata = obj.setdefault("metadata", {})
        place(write.resource, metadata, write.namespace)
        if metadata.get("resourceVersion") and not write.dry_run:  # asked by the store, which has no part in that
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        write.name = metadata.get("name") or ""
        for system in WIPED:
            metadata.pop(system, None)
        await taking_turns(write.large, partial(self._track, write, obj, None))
        request = write.admission(CREATE, obj, None)
        if write.resource.closed:
            raise definition_goes(write.resource, write.name)
        await self.chain.mutate(request)
        obj = request.obj = self._tidy(write, obj, EMPTIES)
        metadata = obj.setdefault("metadata", {})  # a webhook may have made another one
        drop_second_owners(metadata, write.warnings, admitted=True)
        place(write.resource, metadata, write.namespace)
        for system in WIPED:
            metadata.pop(system, None)
        metadata["uid"] = new_uid()
        metadata["creationTimestamp"] = now()
        prefix = "" if metadata.get("name") else metadata.get("generateName") or ""
        for attempt in range(GENERATED_RETRIES):
            if prefix:
                metadata["name"] = prefix[: NAME_LIMIT - _SUFFIX_LENGTH] + _suffix()
                write.name = metadata["name"]
            allocation = self._allocate(write, obj, None)
            if not attempt:
                strategy.prepare_for_create(obj)
                if strategy.records_creator:
                    strategy.record_creator(obj, write.user.info())
                if strategy.counts_generation and strategy.first_generation:
                    metadata["generation"] = strategy.first_generation
                causes = await _judged(partial(strategy.validate, obj), large=write.large)
                self._accept(write, [*self._from_namespace(write, obj, None), *causes])
                write.warnings += strategy.warnings(obj)
            obj = request.obj = self._tidy(write, obj)
            metadata = obj["metadata"]
            write.name = request.name = metadata["name"]
            await self.chain.validate(request)
            vacant = self.cache.get(write.key) is None
            if vacant and (stored := await self._insert(write, obj, request, allocation)) is not None:
                return stored
            if not prefix:
                break
            allocation.undo()
        raise self._taken(write, generated=bool(metadata.get("generateName")))

    def _from_namespace(self, write: Write, new: Object, old: Object | None) -> list[FieldError]:
        """What the namespace has against it."""
        if not write.resource.strategy.looks_at_namespace:
            return []
        entry = self.cache.get(NAMESPACES + write.namespace)
        return write.resource.strategy.validate_in(entry.decode(), new, old) if entry else []

    def _taken(self, write: Write, *, generated: bool) -> ApiError:
        error = already_exists(write.resource.group, write.resource.name, write.name)
        text, details = str(error), error.details
        if generated:
            text += ", the server was not able to generate a unique name for the object"
            details = {**(details or {}), "retryAfterSeconds": 1}
        entry = self.cache.get(write.key)
        if entry is not None and entry.decode()["metadata"].get("deletionTimestamp"):
            text = f"object is being deleted: {text}"
        return ApiError(409, "AlreadyExists", text, details, 1 if generated else None)

    async def _insert(self, write: Write, obj: Object, request: Request, allocation: Allocation) -> bytes | None:
        """The stored bytes; None when the name was taken in the meantime."""
        for _ in range(RETRIES):
            try:
                await self.chain.charge(request)
                if write.dry_run:
                    return await tried(write.resource, obj)  # a version that was sent is shown again
                also = [*charged(request), *allocation.also]
                stored = await kept(write.resource, obj)
                entry = await fitting(partial(self.cache.create, write.key, also=also), stored)
            except Conflict as lost:
                allocation.undo()
                if lost.key == write.key:
                    return None
                await self.catch_up(lost)
                allocation = self._allocate(write, obj, None)
            else:
                return await self.answer(write.resource, entry)
            finally:
                request.finish()
        raise conflict(write.resource.group, write.resource.name, write.name, MODIFIED)

    async def update(
        self,
        write: Write,
        change: Change,
        *,
        prepare: Prepare | None = None,
        validate: Validate | None = None,
        create: Callable[[], Object] | None = None,
    ) -> tuple[bytes, bool]:
        """Change a stored object; return its bytes, and whether it was created.

        ``change`` is asked again whenever another writer came in between. ``prepare`` and ``validate`` replace the
        strategy's for writes of a subresource. ``create`` makes the object when there is none. Raises ApiError.
        """
        resource = write.resource
        for _ in range(RETRIES):
            entry = self.cache.get(write.key)
            if entry is None:
                if create is None:
                    raise not_found(resource.group, resource.name, write.name)
                if write.may_create is not None:
                    write.may_create()
                return await self._create_instead(write, await taking_turns(write.large, create)), True
            if write.uid or write.revision:
                # a dry run never comes to the store, which puts its root in front
                key = write.key.removeprefix(ROOT[:-1]) if write.dry_run else write.key
                found = entry.decode()["metadata"]
                check_preconditions(resource, key, found, uid=write.uid, revision=write.revision)
            try:
                return await self._replace(write, entry, change, prepare, validate), False
            except Conflict as lost:
                await self.catch_up(lost)
        raise conflict(resource.group, resource.name, write.name, MODIFIED)

    async def _create_instead(self, write: Write, obj: Object) -> bytes:
        """An update makes the object that is not there, unless it means one that was."""
        uid = write.uid or obj["metadata"].get("uid")
        if uid:
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise conflict(write.resource.group, write.resource.name, write.name, why)
        obj["metadata"].pop("resourceVersion", None)
        if write.options:
            write.options = {**write.options, "kind": "CreateOptions"}
        return await self.create(write, obj)

    async def catch_up(self, lost: Conflict) -> None:
        """Another writer was quicker: let its write become visible, or the next try would lose to it again."""
        wanted = lost.found or self.cache.revision + 1  # a deletion under way has no revision to wait for yet
        try:
            await self.cache.wait(wanted, CATCH_UP)
        except TimeoutError:
            pass  # that write failed after all

    async def _replace(
        self, write: Write, entry: Entry, change: Change, prepare: Prepare | None, validate: Validate | None
    ) -> bytes:
        resource, strategy = write.resource, write.resource.strategy
        if resource.converter is not None:
            await self.ready(resource, [entry])
        old, large = self.read(resource, entry), write.large or is_large(resource, entry.data)
        new = await taking_turns(large, lambda: change(old if write.spares_old else self.read(resource, entry)))
        check_identity(resource, write.namespace, write.name, new, old)
        await taking_turns(large, partial(self._track, write, new, old))
        request = self._asked(write, new, old)
        if not write.admitted:
            await self._mutate(write, request, new)
        new = self._tidy(write, new, EMPTIES, old)
        metadata = new["metadata"]
        drop_second_owners(metadata, write.warnings, admitted=True)
        carry_metadata(metadata, old["metadata"])
        if not write.dry_run:
            metadata.pop("selfLink", None)
        allocation = Allocation() if write.subresource else self._allocate(write, new, old)
        counts = strategy.counts_generation and write.subresource not in _UNCOUNTED
        changed = counts and strategy.counts_as_sent and strategy.desired_changed(self._tidy(write, new), old)
        (prepare or strategy.prepare_for_update)(new, old)
        metadata = new["metadata"]
        generation, settled = old["metadata"].get("generation"), self._tidy(write, new)
        if changed or (counts and strategy.desired_changed(settled, old)):
            generation = (generation or 0) + 1
        if generation is not None:
            metadata["generation"] = settled["metadata"]["generation"] = generation
        causes = await _judged(partial(validate or strategy.validate_update, new, old), large=large)
        if write.subresource == "status":
            causes = [*self._from_namespace(write, new, old), *causes]
        doubtful = metadata.get("finalizers") or strategy.trusts_metadata or is_disputed(metadata, old["metadata"])
        if causes or doubtful:
            causes = [*before_update(new, old), *causes]
        self._accept(write, causes)
        new = settled
        if write.subresource in ("", "scale"):
            write.warnings += strategy.update_warnings(new, old)
        elif write.subresource == "status":
            write.warnings += strategy.status_warnings(new)
        if not write.admitted:
            request.obj = new if write.side is None else write.side.show(new)
            await self.chain.validate(request)
        if is_same(new, old) and write.key not in self.cache.stale:
            return self.shown(resource, entry)
        try:
            await self.chain.charge(request)
            if write.dry_run:
                return await tried(resource, new)
            stored = await kept(resource, new)
            if is_finished(resource, new, old):
                also = self.released(resource, old)
                written = await self.cache.delete(write.key, stored, expected=entry.revision, also=also)
            else:
                also = [*charged(request), *allocation.also]
                put = partial(self.cache.update, write.key, expected=entry.revision, also=also)
                written = await fitting(put, stored)
        finally:
            request.finish()
        return await self.answer(resource, written)

    def _asked(self, write: Write, new: Object, old: Object) -> Request:
        """An update as admission sees it."""
        if write.side is not None:
            new, old = write.side.show(new), write.side.show(old)
        return write.admission(UPDATE, new, old)

    async def _mutate(self, write: Write, request: Request, new: Object) -> None:
        """Let admission change ``new``, or the side of it that is written."""
        if write.side is None:
            await self.chain.mutate(request)
            return
        before = copy.deepcopy(request.obj)
        await self.chain.mutate(request)
        if request.obj is not None and request.obj != before:
            write.side.take(write.resource, request.obj, new)

    def _tidy(
        self, write: Write, obj: Object, keep: frozenset[Oddity] = frozenset(), old: Object | None = None
    ) -> Object:
        """The object without what nobody is to see any more; itself where there is nothing of the kind."""
        if not write.odd or (write.odd <= keep and old is None):
            return obj
        group, version = split_api_version(obj["apiVersion"])
        definition = self._schema.for_kind(group, version, obj["kind"])
        if definition is None or definition.decoder is not None:
            return obj
        tidied = prune(definition, obj, keep, old)
        if (owners := obj["metadata"].get("managedFields")) is not None:
            tidied["metadata"]["managedFields"] = owners  # an empty list is an order: forget them
        return {**tidied, "kind": obj["kind"], "apiVersion": obj["apiVersion"]}

    def _track(self, write: Write, new: Object, old: Object | None) -> None:
        """Record in managedFields what this write sets."""
        row, metadata = write.resource, new["metadata"]
        if not write.manager:
            return
        managed = update_managed_fields(
            old and versioned(row, old),
            versioned(row, self._tidy(write, new, OWNED)),
            definition=self._schema.for_kind(row.group, row.version, row.kind),
            manager=write.manager,
            subresource=write.subresource,
            ignored=row.strategy.resets(write.subresource),
        )
        if managed:
            metadata["managedFields"] = managed
        else:
            metadata.pop("managedFields", None)

    async def ready(self, resource: Resource, entries: Iterable[Entry]) -> None:
        """Let a webhook convert what is to be shown; of rows that have one. Raises ApiError."""
        if resource.converter is not None:
            stored = [entry.decode() for entry in entries if not entry.data.startswith(resource.head)]
            await resource.converter.ready(stored, resource.api_version)

    async def answer(self, resource: Resource, entry: Entry) -> bytes:
        """What was just written, in the version it was asked in."""
        if resource.converter is not None:
            await self.ready(resource, [entry])
        return self.shown(resource, entry)

    def read(self, resource: Resource, entry: Entry) -> Object:
        """A stored object as writes work on it: a custom resource in the version asked for, others as stored."""
        obj = entry.decode()
        if resource.revive is None or resource.as_is(entry.revision, entry.data):
            return obj
        return resource.revive(obj)

    def shown(self, resource: Resource, entry: Entry) -> bytes:
        """A stored object's bytes in the version of this resource."""
        if resource.revive is not None and not resource.as_is(entry.revision, entry.data):
            return orjson.dumps(resource.revive(entry.decode()))
        return orjson.dumps(versioned(resource, entry.decode())) if resource.from_storage else entry.data

    def released(self, resource: Resource, obj: Object) -> list[Also]:
        """What is given back together with the deletion of an object."""
        allocator = self._allocators.get((resource.group, resource.name))
        return allocator.release(obj) if allocator else []

    def _allocate(self, write: Write, new: Object, old: Object | None) -> Allocation:
        allocator = self._allocators.get((write.resource.group, write.resource.name))
        return allocator.allocate(new, old, dry_run=write.dry_run) if allocator else Allocation()

    def _accept(self, write: Write, causes: list[FieldError]) -> None:
        if causes:
            group = (write.resource.storage or write.resource.gvr).group  # where the kind is at home
            raise invalid(group, write.resource.kind, write.name, causes)


async def _judged(judge: Callable[[], list[FieldError]], *, large: bool) -> list[FieldError]:
    """What a strategy has against an object, however long that takes to tell."""
    try:
        return await taking_turns(large, judge)
    except TakesLong as slow:
        return await asyncio.to_thread(slow.causes)


def _suffix() -> str:
    return "".join(random.choices(_SUFFIX_CHARS, k=_SUFFIX_LENGTH))
