"""The types a schema has in expressions: ``self`` knows its fields, and how large its parts can be.

Sizes that a schema does not limit are those of the largest request there can be. Fields whose names are no names in
expressions are escaped; what has no type (unknown fields that are preserved) is not seen at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from shim import cel
from shim.cel.openapi import escape
from shim.resources.custom.structure import META_FIELDS, Node

REQUEST = 3 * 1024 * 1024  # upstream's largest request
_SCALARS = {
    "number": cel.DOUBLE,
    "integer": cel.INT,
    "boolean": cel.BOOL,
}
_KEY = replace(cel.STRING, size=0)
"""Of maps. Nothing limits how long their keys are, and upstream's estimates take them for empty."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A type, and the fewest bytes a value of it takes in JSON."""

    type: cel.Type
    least: int


def declare(node: Node, *, root: bool = False) -> Declared | None:
    """The type of a schema's values; None where expressions cannot see them."""
    raw = node.raw
    if node.int_or_string:
        return Declared(replace(cel.DYN, size=_text_size(raw, 2)), 1)
    if node.type == "array":
        items = declare(node.items, root=node.items.embedded) if node.items else None
        if items is None:
            return None
        most = raw.get("maxItems")
        size = max(most, 0) if most is not None else REQUEST // (items.least + 1)
        return Declared(cel.list_of(items.type, size), 2)
    if node.type == "object" and node.additional is not None:
        values = declare(node.additional, root=node.additional.embedded)
        if values is None:
            return None
        most = raw.get("maxProperties")
        size = max(most, 0) if most is not None else REQUEST // (values.least + 6)
        return Declared(cel.map_of(_KEY, values.type, size), 2)
    if node.type == "object" or root:
        return _struct(node, root)
    if node.type == "string":
        return _text(node)
    if node.type in _SCALARS:
        return Declared(_SCALARS[node.type], 4 if node.type == "boolean" else 1)
    return None


def _struct(node: Node, root: bool) -> Declared:
    required = node.raw.get("required") or ()
    fields: dict[str, cel.Field] = {}
    least = 2
    for name, below in node.properties.items():
        if root and name in META_FIELDS:
            continue
        declared = declare(below, root=below.embedded)
        if declared is None:
            continue
        if escaped := escape(name):
            fields[escaped] = cel.Field(declared.type, name)
        if name in required and not below.has_default:
            least += len(name) + declared.least + 4
    if root:
        text = replace(cel.STRING, size=REQUEST - 2)
        metadata = {name: cel.Field(text, name) for name in ("name", "generateName")}
        fields |= {name: cel.Field(text, name) for name in ("apiVersion", "kind")}
        fields["metadata"] = cel.Field(cel.struct("object", lambda: metadata), "metadata")
    return Declared(cel.struct("object", lambda: fields), least)


_TIMES = {"duration": (cel.DURATION, 32, 3), "date": (cel.TIMESTAMP, 12, 12), "date-time": (cel.TIMESTAMP, 32, 21)}


def _text(node: Node) -> Declared:
    format = node.raw.get("format") or ""
    if format in _TIMES:
        type, size, least = _TIMES[format]
        return Declared(replace(type, size=size), least)
    if format == "byte":
        most = node.raw.get("maxLength")
        return Declared(replace(cel.BYTES, size=REQUEST - 2 if most is None else max(most, 0)), 2)
    return Declared(replace(cel.STRING, size=_text_size(node.raw, 4)), 2)


def _text_size(raw: Any, width: int) -> float:
    """The most bytes a text can have: a character may take four."""
    most = raw.get("maxLength")
    if most is not None:
        return float(max(most, 0) * 4)
    if raw.get("enum"):
        return float(max(len(each) if isinstance(each, str) else 0 for each in raw["enum"]))
    return REQUEST - 2
