"""Who set which field, and what does a server-side apply make of that?

``metadata.managedFields`` records, for each manager (a client, how it wrote, and to which subresource), the fields
it set. :func:`update_managed_fields` keeps that up to date for every other write; :func:`apply` merges an applied
configuration, refuses what others own, and removes what its manager no longer applies. Both are pure.

A change made by an update takes fields away from whoever had them; an apply may only do so with ``force``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from shim.api import fieldset, structured, structured_check, structured_merge
from shim.api.decoding import prune
from shim.api.fieldset import FieldSet, Path
from shim.api.meta import Object, now, split_api_version
from shim.api.schema import Definition, Type
from shim.api.status import ApiError, bad_request
from shim.api.structured import InvalidValue
from shim.api.structured_merge import Comparison

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_MAX_UPDATERS = 10  # as upstream: older ones are then thrown together
_MAX_NAME = 128

_NEVER_OWNED = FieldSet(
    ("f:apiVersion", "f:kind", "f:metadata"),
    {
        "f:metadata": FieldSet(
            f"f:{name}"
            for name in (
                "name",
                "namespace",
                "creationTimestamp",
                "selfLink",
                "uid",
                "clusterName",
                "generation",
                "managedFields",
                "resourceVersion",
            )
        )
    },
)


class Manager(NamedTuple):
    """Who writes. ``api_version`` is "" for those that apply: they are one manager in every version."""

    name: str
    operation: str  # Apply, Update
    api_version: str
    subresource: str

    @property
    def place(self) -> tuple[str, ...]:
        """Its place among others in messages: upstream sorts them as JSON, whose end comes after every comma."""
        return self.name, self.operation, self.api_version, self.subresource or "~"

    def __str__(self) -> str:
        text = json.dumps(self.name)
        if self.subresource:
            text += f" with subresource {json.dumps(self.subresource)}"
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


class _Owned:
    """What a manager owns, in the version it wrote, and when it last changed something.

    The fields stay as they are written until they are needed: most writes concern few of the managers.
    """

    __slots__ = ("_fields", "api_version", "time", "written")

    def __init__(
        self, fields: FieldSet | None, api_version: str, time: str | None, written: Mapping[str, Any] | None = None
    ) -> None:
        self._fields, self.api_version, self.time = fields, api_version, time
        self.written = written

    @property
    def fields(self) -> FieldSet:
        if self._fields is None:
            try:
                self._fields = FieldSet.from_fields(self.written or {})
            except ValueError:  # a client's invention
                self._fields = FieldSet()
        return self._fields

    def touches(self, changed: FieldSet) -> bool:
        """Whether some of the fields may be in ``changed``."""
        return self.written is None or any(
            element in changed.members or element in changed.children for element in self.written
        )

    def without(self, gone: FieldSet) -> _Owned:
        if not self.touches(gone):
            return self
        if self.written is None:
            return _Owned(self.fields - gone, self.api_version, self.time)
        return _Owned(None, self.api_version, self.time, fieldset.less(self.written, gone))

    def owning(self, more: FieldSet, api_version: str, time: str) -> _Owned:
        """With more, as of now."""
        if self.written is None:
            return _Owned(more | self.fields, api_version, time)
        return _Owned(None, api_version, time, fieldset.more(self.written, more))

    def to_fields(self) -> Mapping[str, Any]:
        return self.fields.to_fields() if self.written is None else self.written

    def __bool__(self) -> bool:
        return bool(self.fields) if self.written is None else bool(self.written)


_Owners = dict[Manager, _Owned]
_NONE = _Owned(FieldSet(), "", None)


def manager_of(field_manager: str, user_agent: str) -> str:
    """The manager of a request that may not name one: then it is the program's name."""
    if field_manager:
        return field_manager
    name = "".join(char for char in user_agent.partition("/")[0] if char.isprintable())
    return name.encode()[:_MAX_NAME].decode(errors="ignore") or "unknown"


def update_managed_fields(
    old: Object | None,
    new: Object,
    *,
    definition: Definition | None,
    manager: str,
    subresource: str = "",
    ignored: Sequence[str] = (),
) -> list[Object] | None:
    """The managedFields that ``new`` is to be stored with; None for none.

    ``old`` is None for a create. ``new`` is complete, with its defaults; its own managedFields are what the client
    sent, and are taken for true unless they are missing; an empty list switches tracking off for the object.
    ``ignored`` are fields this write cannot change (status, or spec for the status subresource), dotted.
    """
    type = definition.type if definition else structured.DEDUCED
    live = old if old is not None else _kept_nothing(definition)
    sent = (new.get("metadata") or {}).get("managedFields")
    custom = definition is not None and definition.decoder is not None  # of those, upstream takes [] for nothing said
    if (sent == [{}] or (sent == [] and not custom)) and not subresource:
        owners: _Owners = {}
    else:
        known = (live.get("metadata") or {}).get("managedFields")
        own = sent if not subresource else None
        owners = _decode(own, read=own != known) or _decode(known)
    if not owners and (live.get("metadata") or {}).get("uid"):
        return None  # it was not tracked from its creation on
    who = Manager(manager or "unknown", "Update", new.get("apiVersion", ""), subresource)
    try:
        changes = structured_merge.compare(type, _untracked(live), _untracked(new), strict=True).without(ignored)
    except InvalidValue:
        return None  # of what cannot be named nobody can be the owner
    if changes:
        owners = _give(owners, who, changes)
    return _encode(_cap(owners))


def apply(
    live: Object | None,
    patch: Object,
    *,
    kind: tuple[str, str] | None = None,
    definition: Definition | None,
    manager: str,
    force: bool = False,
    subresource: str = "",
    ignored: Sequence[str] = (),
) -> Object:
    """The live object with an applied configuration merged in, and its managedFields; defaults are still to be set.

    ``live`` is None when the object is not there; ``kind`` is what the patch must say it is: version and kind.
    Raises ApiError: 409 with every conflict, 400 and 500 for a patch that is none.
    """
    _check(patch, kind, definition)
    type = definition.type if definition else structured.DEDUCED
    api_version = patch["apiVersion"]
    base = live if live is not None else {**_nothing(definition), "apiVersion": api_version, "kind": patch["kind"]}
    owners = _decode((base.get("metadata") or {}).get("managedFields"))
    if not owners and live is not None:
        everything = structured_merge.compare(type, _nothing(definition), _untracked(live)).without(ignored)
        owners = _give(owners, Manager("before-first-apply", "Update", api_version, subresource), everything)
    base = _untracked(base)
    who = Manager(manager, "Apply", "", subresource)
    try:
        merged, owners = _apply(type, base, patch, owners, who, force, ignored)
    except _Conflicts as refused:
        conflicts = refused.conflicts
        if manager == "kubectl":  # what its client-side apply owned, it may take over
            conflicts = _not_last_applied(type, base, api_version, conflicts)
        if conflicts:
            raise _conflict(conflicts) from None
        merged, owners = _apply(type, base, patch, owners, who, True, ignored)
    metadata = dict(merged.get("metadata") or {})
    if live is not None and (revision := live["metadata"].get("resourceVersion")):
        metadata.setdefault("resourceVersion", revision)  # what it was merged into; a patch may demand another
    annotations = metadata.get("annotations")
    if manager == "kubectl" and annotations and annotations.get(LAST_APPLIED):
        metadata["annotations"] = {**annotations, LAST_APPLIED: _last_applied(patch)}
    if encoded := _encode(owners):
        metadata["managedFields"] = encoded
    return {**merged, "metadata": metadata}


def _apply(
    type: Type, live: Object, patch: Object, owners: _Owners, who: Manager, force: bool, ignored: Sequence[str]
) -> tuple[Object, _Owners]:
    version = patch["apiVersion"]
    last = owners.get(who)
    wanted = structured.field_set(type, patch)
    for name in ignored:
        wanted = wanted.without(fieldset.dotted(name))
    owners = {**owners, who: _Owned(wanted, version, last.time if last else None)}
    merged: Object = structured_merge.merge(type, live, patch)
    if last is not None and last.fields:
        merged = _without_abandoned(type, merged, owners, last.fields)
    changes = structured_merge.compare(type, live, merged)
    owners = _take_from_others(owners, who, changes.without(ignored), force)
    mine = owners[who].fields - _NEVER_OWNED if who in owners else FieldSet()
    if mine:
        owners[who] = _Owned(mine, version, now() if changes else owners[who].time)
    else:
        owners.pop(who, None)
    return merged, owners


def _without_abandoned(type: Type, merged: Object, owners: _Owners, last: FieldSet) -> Object:
    """Remove what the manager applied the last time and no longer does, unless another one owns it too."""

    def fields(value: Any) -> FieldSet:
        return structured.with_named_fields(type, structured.field_set(type, value))

    last = structured.with_named_fields(type, last)
    everything = fields(merged)
    pruned = structured_merge.remove(type, merged, last)
    owned = FieldSet()
    for owner in owners.values():
        owned = owned | owner.fields
    kept = fields(pruned) | structured.with_named_fields(type, owned)
    pruned = structured_merge.remove(type, merged, everything - kept)
    gone = (everything - fields(pruned)) & last  # not what merely stood below something removed
    rest: Object = structured_merge.remove(type, merged, gone) or {}
    return rest


# --- owners ----------------------------------------------------------------------------------------------------------


class _Conflicts(Exception):
    def __init__(self, conflicts: list[tuple[Manager, Path]]) -> None:
        super().__init__()
        self.conflicts = conflicts


def _take_from_others(owners: _Owners, who: Manager | None, changes: Comparison, force: bool) -> _Owners:
    """Take what changed from everybody but ``who``. Raises _Conflicts when that needs force."""
    if not changes:
        return dict(owners)
    written = changes.modified | changes.added
    if not force:
        conflicts = [
            (manager, path)
            for manager, owned in sorted(owners.items(), key=lambda item: item[0].place)
            if manager != who and owned.touches(written)
            for path in (owned.fields & written).paths()
        ]
        if conflicts:
            raise _Conflicts(conflicts)
    gone = written | changes.removed
    left: _Owners = {}
    for manager, owned in owners.items():
        rest = owned if manager == who else owned.without(gone)
        if rest or manager == who:
            left[manager] = rest
    return left


def _give(owners: _Owners, who: Manager, changes: Comparison) -> _Owners:
    """An update by ``who``: what it changed is its own now, and nobody else's."""
    owners = _take_from_others(owners, None, changes, True) if owners else {}
    mine = (changes.modified | changes.added) - _NEVER_OWNED
    if mine:
        owners[who] = owners.get(who, _NONE).owning(mine, who.api_version, now())
    return owners


def _cap(owners: _Owners) -> _Owners:
    """Not more than so many updaters: the oldest of a version become one, "ancient-changes"."""
    updaters = [manager for manager in owners if manager.operation == "Update"]
    if len(updaters) <= _MAX_UPDATERS:
        return owners
    owners = dict(owners)
    updaters.sort(key=lambda manager: (owners[manager].time or "", manager))
    first: dict[str, Manager] = {}
    left = len(updaters)
    for manager in updaters:
        if left <= _MAX_UPDATERS:
            break
        earlier = first.get(manager.api_version)
        if earlier is None:
            first[manager.api_version] = manager
            continue
        bucket = Manager("ancient-changes", "Update", manager.api_version, "")
        if bucket not in owners:
            owners[bucket] = owners.pop(earlier)
        ancient, owned = owners[bucket], owners.pop(manager)
        owners[bucket] = _Owned(owned.fields | ancient.fields, owned.api_version, owned.time)
        left -= 1
    return owners


def _decode(entries: Any, *, read: bool = False) -> _Owners:
    """Owners from managedFields; none where they cannot be read, as upstream. ``read``: their fields are read, too."""
    owners: _Owners = {}
    try:
        for entry in entries or ():
            operation, version = entry["operation"], entry["apiVersion"]
            if entry["fieldsType"] != "FieldsV1" or operation not in ("Apply", "Update") or not version:
                return {}
            who = Manager(
                entry.get("manager") or "",
                operation,
                version if operation == "Update" else "",
                entry.get("subresource") or "",
            )
            written = dict(entry.get("fieldsV1") or {})
            fields = FieldSet.from_fields(written) if read else None
            owners[who] = _Owned(fields, version, entry.get("time"), written)
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
    return owners


def _encode(owners: _Owners) -> list[Object] | None:
    def order(item: tuple[Manager, _Owned]) -> tuple[str, ...]:
        who, owned = item
        return who.operation, owned.time or "", who.name, owned.api_version, who.subresource

    entries = []
    for who, owned in sorted(owners.items(), key=order):
        if not owned:
            continue
        entry: Object = {"manager": who.name, "operation": who.operation, "apiVersion": owned.api_version}
        if owned.time:
            entry["time"] = owned.time
        entry |= {"fieldsType": "FieldsV1", "fieldsV1": owned.to_fields()}
        if who.subresource:
            entry["subresource"] = who.subresource
        entries.append(entry)
    return entries or None


def _nothing(definition: Definition | None) -> Object:
    """The object before anybody set a field."""
    return prune(definition, {}) if definition else {}


_kept_nothing = lru_cache(maxsize=512)(_nothing)  # for reading only


def _untracked(obj: Object) -> Object:
    """Without managedFields and what only the server counts: neither is ever owned."""
    metadata = obj.get("metadata")
    if not metadata:
        return obj
    kept = {name: item for name, item in metadata.items() if name not in ("managedFields", "resourceVersion")}
    return {**obj, "metadata": kept}


# --- refusals --------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _check(patch: Object, kind: tuple[str, str] | None, definition: Definition | None) -> None:
    metadata, (version, name) = patch.get("metadata"), (_text(patch.get(field)) for field in ("apiVersion", "kind"))
    if version.count("/") > 1:
        version = name = ""
    if kind is not None and (version.removeprefix("/"), name) != kind:
        group, version = split_api_version(version)
        raise bad_request(f"invalid object type: {group}/{version}, Kind={name}")
    if isinstance(metadata, Mapping) and metadata.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    if definition is None:
        return
    try:
        structured_check.check(definition.type, patch)
    except InvalidValue as error:
        names = metadata if isinstance(metadata, Mapping) else {}
        group, version = split_api_version(patch.get("apiVersion", ""))
        what = f"{names.get('namespace', '')}/{names.get('name', '')}; {group}/{version}, Kind={patch.get('kind', '')}"
        raise ApiError(500, "", f"failed to create typed patch object ({what}): {error}") from None


def _conflict(conflicts: Iterable[tuple[Manager, Path]]) -> ApiError:
    """409, naming every field and its manager."""
    conflicts = list(conflicts)
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": fieldset.show(path)}
        for manager, path in conflicts
    ]
    if len(conflicts) == 1:
        manager, path = conflicts[0]
        text = f"Apply failed with 1 conflict: conflict with {manager}: {fieldset.show(path)}"
    else:
        lines = []
        for manager in dict.fromkeys(manager for manager, _ in conflicts):
            lines.append(f"conflicts with {manager}:")
            lines += [f"- {fieldset.show(path)}" for other, path in conflicts if other == manager]
        text = f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", text, {"causes": causes})


# --- kubectl's client-side apply -------------------------------------------------------------------------------------


def _not_last_applied(
    type: Type, live: Object, api_version: str, conflicts: list[tuple[Manager, Path]]
) -> list[tuple[Manager, Path]]:
    """The conflicts over fields that kubectl did not itself set, as its annotation tells, or that changed since."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    try:
        last = json.loads(text or "")
        if last["apiVersion"] != api_version:
            return conflicts
    except (ValueError, KeyError, TypeError):
        return conflicts
    changes = structured_merge.compare(type, last, live)
    untouched = structured.field_set(type, last) - changes.modified - changes.added - changes.removed
    return [(manager, path) for manager, path in conflicts if path not in untouched]


def _last_applied(patch: Object) -> str:
    metadata = dict(patch.get("metadata") or {})
    if "annotations" in metadata:
        metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if k != LAST_APPLIED}
    return json.dumps({**patch, "metadata": metadata}, separators=(",", ":"), sort_keys=True) + "\n"
