"""How an object goes: at once, after its grace period, or when its last finalizer is done.

A delete request is first a wish: ``deletionTimestamp`` is set and everyone concerned sees it. The object leaves the
store when nothing holds it any more: no finalizer, no grace period that still runs.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from shim.admission.chain import DELETE
from shim.api.meta import Object, now, parse_time
from shim.api.status import MODIFIED, ApiError, conflict, not_found
from shim.resources.strategy import Resource, Strategy
from shim.server.deletions import DeleteOptions
from shim.server.intent import Write
from shim.server.object_metadata import is_held
from shim.server.registry import RETRIES, Registry
from shim.server.stored_form import kept, versioned
from shim.store.cache import Entry
from shim.store.contract import Conflict

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
AT_ONCE = 32  # deletions of one deletecollection under way together: they share the store's commits

SHOWS_OBJECT = frozenset(
    {
        ("", name)
        for name in (
            "namespaces persistentvolumes persistentvolumeclaims pods podtemplates resourcequotas services "
            "serviceaccounts"
        ).split()
    }
    | {("storage.k8s.io", name) for name in "csidrivers csinodes storageclasses volumeattachments".split()}
    | {("storage.k8s.io", "volumeattributesclasses")}
    | {
        ("resource.k8s.io", name)
        for name in "deviceclasses resourceclaims resourceclaimtemplates resourceslices".split()
    }
)
"""Kinds whose deletion is answered with the object; others with a Status, unless the object lives on."""


class Removed(NamedTuple):
    """The object as it is, or was last; ``gone`` when it has left the store."""

    data: bytes
    gone: bool


class Removal:
    """Deletes objects of any kind."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._cache = registry.cache

    async def delete(self, write: Write, options: DeleteOptions) -> Removed:
        """Raises ApiError."""
        resource = write.resource
        write.dry_run, write.options = options.dry_run, options.wire()
        for _ in range(RETRIES):
            entry = self._cache.get(write.key)
            if entry is None:
                raise not_found(resource.group, resource.name, write.name)
            try:
                return await self._delete(write, entry, options)
            except Conflict as lost:
                await self._registry.catch_up(lost)
        raise conflict(resource.group, resource.name, write.name, MODIFIED)

    async def delete_all(self, write: Write, entries: Sequence[Entry], options: DeleteOptions) -> None:
        """Delete these entries of one resource. What is gone already is passed over. Raises ApiError."""
        waiting = iter(entries)

        async def work() -> None:
            for entry in waiting:
                *_, namespace, name = entry.key.split("/")
                namespace = namespace if write.resource.namespaced else ""
                one = Write(write.resource, namespace, name, write.user, of_collection=True)
                try:
                    await self.delete(one, options)
                except ApiError as error:
                    if error.code != 404:
                        raise

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    async def _delete(self, write: Write, entry: Entry, options: DeleteOptions) -> Removed:
        resource = write.resource
        if resource.converter is not None:
            await self._registry.ready(resource, [entry])
        obj = self._registry.read(resource, entry)
        metadata = obj["metadata"]
        _check_preconditions(resource, metadata, options)
        if not write.admitted:
            await self._registry.chain.admit(write.admission(DELETE, None, obj))
        pending = metadata.get("deletionTimestamp")
        if _is_graceful(resource.strategy):
            if not _mark_graceful(resource.strategy, obj, options):
                return Removed(self._registry.shown(resource, entry), False)
            _settle_finalizers(resource, metadata, options)
            gone = not metadata.get("deletionGracePeriodSeconds") and not is_held(resource, obj)
        elif resource.name == "namespaces" and not resource.group:
            if pending and is_held(resource, obj):
                return Removed(self._registry.shown(resource, entry), False)
            _settle_finalizers(resource, metadata, options)
            gone = bool(pending) and not is_held(resource, obj)
            if not pending:  # its content goes first: the namespace controller sees the phase
                metadata["deletionTimestamp"] = now()
                obj.setdefault("status", {})["phase"] = "Terminating"
        elif resource.strategy.begin_deletion(obj):
            gone = False
        else:
            _settle_finalizers(resource, metadata, options)
            gone = not is_held(resource, obj)
            if not gone:
                _mark(metadata)
        if write.dry_run:
            return Removed(orjson.dumps(versioned(resource, obj)), gone)
        stored = await kept(resource, obj)
        if gone and _is_graceful(resource.strategy) and obj != self._registry.read(resource, entry):
            # whoever watches sees first that no grace is left, then that the object is gone
            entry = await self._cache.update(write.key, stored, expected=entry.revision)
        if gone:
            also = self._registry.released(resource, obj)
            final = await self._cache.delete(write.key, stored, expected=entry.revision, also=also)
            return Removed(await self._registry.answer(resource, final), True)
        if obj == self._registry.read(resource, entry):
            return Removed(self._registry.shown(resource, entry), False)
        updated = await self._cache.update(write.key, stored, expected=entry.revision)
        return Removed(await self._registry.answer(resource, updated), False)


def _check_preconditions(resource: Resource, metadata: Object, options: DeleteOptions) -> None:
    for what, asked, found, change in (
        ("UID", options.uid, metadata["uid"], "deleted and then recreated"),
        ("ResourceVersion", options.revision, metadata["resourceVersion"], "modified"),
    ):
        if asked and asked != found:
            why = (
                f"the {what} in the precondition ({asked}) does not match the {what} in record ({found}). "
                f"The object might have been {change}"
            )
            raise conflict(resource.group, resource.kind, metadata["name"], why)  # upstream names the kind here


def _is_graceful(strategy: Strategy) -> bool:
    return type(strategy).grace_period is not Strategy.grace_period


def _mark_graceful(strategy: Strategy, obj: Object, options: DeleteOptions) -> bool:
    """Set when the object shall be gone. False when an earlier request stands: a grace period is only shortened."""
    metadata = obj["metadata"]
    pending = metadata.get("deletionTimestamp")
    if not pending:
        seconds = strategy.grace_period(obj, options.grace)
        metadata["deletionTimestamp"] = _in(seconds)
        metadata["deletionGracePeriodSeconds"] = seconds
        _count(metadata)
        return True
    granted = metadata.get("deletionGracePeriodSeconds") or 0
    if not granted:
        return True  # nothing to wait for: finalizers alone hold it
    if options.grace is None or options.grace >= granted:
        return False
    begun = parse_time(pending) - datetime.timedelta(seconds=granted)
    end = begun + datetime.timedelta(seconds=options.grace)
    present = datetime.datetime.now(datetime.UTC)
    seconds = options.grace
    if end < present:
        end = present
        seconds = min(seconds, 1)
    metadata["deletionTimestamp"] = end.strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata["deletionGracePeriodSeconds"] = seconds
    return True


def _settle_finalizers(resource: Resource, metadata: Object, options: DeleteOptions) -> None:
    """The propagation policy becomes a finalizer that the garbage collector answers to."""
    present = metadata.get("finalizers") or []
    policy = options.policy
    if not policy:
        if ORPHAN in present:
            policy = "Orphan"
        elif FOREGROUND in present:
            policy = "Foreground"
        else:
            policy = resource.strategy.default_propagation
    wanted = [name for name in present if name not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan":
        wanted.append(ORPHAN)
    elif policy == "Foreground":
        wanted.append(FOREGROUND)
    if set(wanted) != set(present):
        metadata["finalizers"] = wanted
        if not wanted:
            del metadata["finalizers"]


def _mark(metadata: Object) -> None:
    """Deletion is asked for, and finalizers hold the object."""
    if not metadata.get("deletionTimestamp"):
        _count(metadata)
        metadata["deletionTimestamp"] = now()
    metadata["deletionGracePeriodSeconds"] = 0


def _count(metadata: Object) -> None:
    if metadata.get("generation"):
        metadata["generation"] += 1


def _in(seconds: int) -> str:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
