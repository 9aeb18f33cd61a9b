"""Does a patched tree fit its kind? As upstream converts one that was never JSON: the tree a strategic merge leaves.

Its converter takes the fields in the order of their struct and stops at the first value that does not fit, with words
of its own. Unlike a JSON decoder it takes 3.0 for an integer.
"""

from __future__ import annotations

from typing import Any

from shim.api.meta import Object
from shim.api.schema import Definition, Type

_KINDS: dict[type, str] = {
    str: "string",
    bool: "bool",
    int: "int64",
    float: "float64",
    dict: "map",
    list: "slice",
}
_INTEGERS = {"int32": 31, "int64": 63}


class _Misfit(Exception):
    """The first value that does not fit."""


def convert(definition: Definition, obj: Object) -> str | None:
    """Make integers of whole numbers, in place; returns what does not fit, or None."""
    try:
        _value(definition.type, obj)
    except _Misfit as misfit:
        return str(misfit)
    return None


def _value(type: Type, value: Any) -> Any:
    if value is None:
        return None
    found, kind = _KINDS[value.__class__], type.kind
    if kind == "struct":
        if found != "map" or type.definition is None:
            raise _Misfit(f"cannot restore struct from: {found}")
        for name, field in type.definition.fields.items():
            if name in value:
                value[name] = _value(field.type, value[name])
    elif kind == "list" and type.element is not None:
        if found != "slice":
            raise _Misfit(f"cannot restore slice from {found}")
        value[:] = [_value(type.element, item) for item in value]
    elif kind == "map" and type.element is not None:
        if found != "map":
            raise _Misfit(f"cannot restore map from {found}")
        for name, item in value.items():
            value[name] = _value(type.element, item)
    elif kind in _INTEGERS:
        return _integer(type, value, found)
    elif kind == "string" and found != "string":
        # Go converts integers to texts, of one character: so here it has other words
        raise _Misfit(f"cannot convert int64 to {type.go}" if found == "int64" else "unrecognized type: string")
    elif kind == "bool" and found != "bool":
        raise _Misfit("unrecognized type: bool")
    return value


def _integer(type: Type, value: Any, found: str) -> int:
    if found not in ("int64", "float64"):
        raise _Misfit(f"unrecognized type: {type.kind}")
    limit = 1 << _INTEGERS[type.kind]
    if value != value // 1 or not -limit <= value < limit:
        raise _Misfit(f"cannot convert {found} to {type.go}")
    return int(value)
