"""Who set an object's replicas, told in the terms of its scale: ``metadata.managedFields`` on the way there and back.

A scale is written with rules of its own version; what it says of its one field is merged into the object's entries.
As upstream, a writer that updates has one identity in the object's version and another in the scale's: an entry that
comes back from the scale is a new one, and has no time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shim.api.meta import Object

SCALE_VERSION = "autoscaling/v1"
_IN_SCALE = ("spec", "replicas")


def to_scale(entries: Iterable[Object], path: Sequence[str]) -> list[Object]:
    """The entries that concern the replicas, which stand at ``path`` in the object."""
    return [
        {**entry, "apiVersion": SCALE_VERSION, "fieldsV1": _fields(_IN_SCALE)} for entry in entries if _has(entry, path)
    ]


def to_parent(parent: Iterable[Object], scale: Iterable[Object], path: Sequence[str], version: str) -> list[Object]:
    """The object's entries after its scale was written, whose entries are now ``scale``."""
    left = {_who(entry): entry for entry in scale if _has(entry, _IN_SCALE)}
    merged: list[Object] = []
    for entry in parent:
        if not _has(entry, path) or left.pop(_who(entry), None) is not None:
            merged.append(entry)
        elif rest := _without(entry.get("fieldsV1") or {}, path):
            merged.append({**entry, "fieldsV1": rest})
    for entry in left.values():
        taken = {key: value for key, value in entry.items() if key != "time"}
        merged.append({**taken, "apiVersion": version, "fieldsV1": _fields(path)})
    return sorted(merged, key=_order)


def _order(entry: Object) -> tuple[str, ...]:
    return tuple(entry.get(name) or "" for name in ("operation", "time", "manager", "apiVersion", "subresource"))


def _who(entry: Object) -> tuple[str, ...]:
    version = "" if entry.get("operation") == "Apply" else entry.get("apiVersion") or ""
    return entry.get("manager") or "", entry.get("operation") or "", version, entry.get("subresource") or ""


def _fields(path: Sequence[str]) -> Object:
    fields: Object = {}
    for name in reversed(path):
        fields = {f"f:{name}": fields}
    return fields


def _has(entry: Object, path: Sequence[str]) -> bool:
    at: Any = entry.get("fieldsV1")
    for name in path:
        at = at.get(f"f:{name}") if isinstance(at, dict) else None
    return at is not None


def _without(fields: Object, path: Sequence[str]) -> Object:
    """The fields without the one at a path, nor what held nothing else."""
    name, *below = path
    rest = {key: value for key, value in fields.items() if key != f"f:{name}"}
    if below and (inner := _without(fields[f"f:{name}"], below)):
        rest[f"f:{name}"] = inner
    return rest
