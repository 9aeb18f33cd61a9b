"""An object of any kind with every field filled, made from its schema: what a format forgets shows in it."""

from __future__ import annotations

from typing import Any

from shim.api.meta import Object
from shim.api.schema import Definition, Type

_VALUES: dict[str, Any] = {
    "string": "text: é",
    "bool": True,
    "int32": -7,
    "int64": 7_000_000_000,
    "float64": 1.5,
    "bytes": "AAH/Yn8=",
    "Time": "2026-02-03T04:05:06Z",
    "MicroTime": "2026-02-03T04:05:06.123456Z",
    "Duration": "1m30s",
    "Quantity": "1500m",
    "IntOrString": "50%",
    "Raw": {"apiVersion": "example.com/v1", "kind": "Any", "list": [1, 2.5, None, "yes"]},
    "JSON": {"a": [1, None]},
    "FieldsV1": {"f:data": {".": {}}},
    "SchemaOr": {"type": "string"},
}


def filled(definition: Definition, kind: str, api_version: str) -> Object:
    """The object. Types that contain themselves end at their second appearance."""
    return {"kind": kind, "apiVersion": api_version, **_struct(definition, (definition.name,))}


def _struct(definition: Definition, above: tuple[str, ...]) -> Object:
    whole = "x-kubernetes-group-version-kind" in definition.raw  # within others such say no kind in protobuf
    found = {}
    for name, field in definition.fields.items():
        value = None if whole and name in ("kind", "apiVersion") else _value(field.type, above)
        if value is not None:
            found[name] = value
    return found


def _value(type: Type, above: tuple[str, ...]) -> Any:
    if type.kind == "struct":
        assert type.definition is not None
        name = type.definition.name
        return None if name in above else _struct(type.definition, (*above, name))
    if type.kind in ("list", "map"):
        assert type.element is not None
        inner = _value(type.element, above)
        if inner is None:
            return None
        return [inner, inner] if type.kind == "list" else {"a": inner, "true": inner}
    return _VALUES.get(type.kind)
