"""A schema as messages quote it: Go's own struct has no JSON names, and shows every field whether it is set or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shim.resources.custom.structure import Raw


def go_schema(raw: Raw | None) -> dict[str, Any] | None:
    """``apiextensions.JSONSchemaProps``."""
    if raw is None:
        return None
    return {name: _shown(field, raw.get(field)) for field, name in _NAMES.items()}


def go_rule(raw: Raw) -> dict[str, Any]:
    """``apiextensions.ValidationRule``."""
    return {
        "Rule": raw.get("rule") or "",
        "Message": raw.get("message") or "",
        "MessageExpression": raw.get("messageExpression") or "",
        "Reason": raw.get("reason"),
        "FieldPath": raw.get("fieldPath") or "",
        "OptionalOldSelf": raw.get("optionalOldSelf"),
    }


def go_name(field: str) -> str:
    """``maxLength`` as Go writes it."""
    return _NAMES[field]


def _shown(field: str, value: Any) -> Any:
    if value is None:
        return _EMPTY.get(field)
    return _PRINTED[field](value) if field in _PRINTED else value


def _each(values: list[Raw]) -> list[Any]:
    return [go_schema(value) for value in values]


def _by_name(values: Mapping[str, Raw]) -> dict[str, Any]:
    return {name: go_schema(values[name]) for name in sorted(values)}


def _items(value: Any) -> dict[str, Any]:
    several = isinstance(value, list)
    return {"Schema": None if several else go_schema(value), "JSONSchemas": _each(value) if several else None}


def _or_truth(value: Any) -> dict[str, Any]:
    return {"Allows": value is not False, "Schema": None if isinstance(value, bool) else go_schema(value)}


def _dependencies(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {"Schema": None, "Property": value}
        if isinstance(value := values[name], list)
        else {"Schema": go_schema(value), "Property": None}
        for name in sorted(values)
    }


def _rules(values: list[Raw]) -> list[Any]:
    return [go_rule(rule) for rule in values]


def _documents(value: Raw) -> dict[str, Any]:
    return {"Description": value.get("description") or "", "URL": value.get("url") or ""}


_OWN_NAMES = {
    "id": "ID",
    "$schema": "Schema",
    "$ref": "Ref",
    "x-kubernetes-preserve-unknown-fields": "XPreserveUnknownFields",
    "x-kubernetes-embedded-resource": "XEmbeddedResource",
    "x-kubernetes-int-or-string": "XIntOrString",
    "x-kubernetes-list-map-keys": "XListMapKeys",
    "x-kubernetes-list-type": "XListType",
    "x-kubernetes-map-type": "XMapType",
    "x-kubernetes-validations": "XValidations",
}
_NAMES = {
    field: _OWN_NAMES.get(field, field[0].upper() + field[1:])
    for field in (
        "id $schema $ref description type nullable format title default maximum exclusiveMaximum minimum "
        "exclusiveMinimum maxLength minLength pattern maxItems minItems uniqueItems multipleOf enum maxProperties "
        "minProperties required items allOf oneOf anyOf not properties additionalProperties patternProperties "
        "dependencies additionalItems definitions externalDocs example x-kubernetes-preserve-unknown-fields "
        "x-kubernetes-embedded-resource x-kubernetes-int-or-string x-kubernetes-list-map-keys x-kubernetes-list-type "
        "x-kubernetes-map-type x-kubernetes-validations"
    ).split()
}
"""In Go's order."""
_EMPTY: Mapping[str, Any] = {
    **dict.fromkeys("id $schema description type format title pattern".split(), ""),
    **dict.fromkeys("nullable exclusiveMaximum exclusiveMinimum uniqueItems".split(), False),
    **dict.fromkeys(("x-kubernetes-embedded-resource", "x-kubernetes-int-or-string"), False),
}
_PRINTED: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("allOf", "oneOf", "anyOf"), _each),
    **dict.fromkeys(("properties", "patternProperties", "definitions"), _by_name),
    **dict.fromkeys(("additionalProperties", "additionalItems"), _or_truth),
    "not": go_schema,
    "items": _items,
    "dependencies": _dependencies,
    "externalDocs": _documents,
    "x-kubernetes-validations": _rules,
}


def is_set(field: str, value: Any) -> bool:
    """Whether Go's field is not zero: a pointer, list or map is not as soon as it was given."""
    return value is not None and not (field in _EMPTY and value == _EMPTY[field])
