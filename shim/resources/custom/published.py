"""What OpenAPI says of a custom kind: its schema, with the type and metadata that every object has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shim.resources.custom.structure import Raw

_META = "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1."
_TYPE_META = {
    "apiVersion": {
        "description": "APIVersion defines the versioned schema of this representation of an object. Servers should "
        "convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: "
        "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
        "type": "string",
    },
    "kind": {
        "description": "Kind is a string value representing the REST resource this object represents. Servers may "
        "infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: "
        "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
        "type": "string",
    },
}
_METADATA = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
_LIST_METADATA = "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
_ONLY_V3 = ("nullable", "anyOf", "oneOf", "allOf", "not")
_GVK = "x-kubernetes-group-version-kind"
_OPEN = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_EMBEDDED_TYPE = {
    "apiVersion": "apiVersion defines the versioned schema of this representation of an object. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
    "kind": "kind is a string value representing the type of this object. In CamelCase. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
}


def publish(
    group: str, version: str, names: Mapping[str, Any], raw: Raw, selectable: Sequence[str] = ()
) -> dict[str, Any]:
    """The definitions of a kind and of its list, the kind's first, by their names in OpenAPI.

    ``names``: kind, listKind and plural. ``selectable``: the paths of the fields that it can be selected by.
    """
    kind, list_kind = names["kind"], names["listKind"]
    reverse = ".".join(reversed(group.split(".")))
    name, list_name = f"{reverse}.{version}.{kind}", f"{reverse}.{version}.{list_kind}"
    own = {field: _with_embedded(each) for field, each in (raw.get("properties") or {}).items()}
    schema = {
        **{key: value for key, value in raw.items() if key not in ("default",)},
        "type": "object",
        "properties": {**own, **_TYPE_META, "metadata": _object_meta()},
        _GVK: [{"group": group, "version": version, "kind": kind}],
    }
    if selectable:
        schema["x-kubernetes-selectable-fields"] = [{"fieldPath": path.removeprefix(".")} for path in selectable]
    listed = {
        "description": f"{list_kind} is a list of {kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            **_TYPE_META,
            "items": {
                "description": f"List of {names['plural']}. More info: "
                "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md",
                "type": "array",
                "items": {"$ref": f"#/definitions/{name}"},
            },
            "metadata": {"allOf": [{"$ref": f"{_META}ListMeta"}], "description": _LIST_METADATA},
        },
        _GVK: [{"group": group, "version": version, "kind": list_kind}],
    }
    return {name: schema, list_name: listed}


def _object_meta() -> dict[str, Any]:
    return {"allOf": [{"$ref": f"{_META}ObjectMeta"}], "description": _METADATA}


def _with_embedded(raw: Any) -> Any:
    """A schema that says of whole objects in it that they have a type and metadata."""
    if not isinstance(raw, dict):
        return raw
    made = dict(raw)
    if properties := raw.get("properties"):
        made["properties"] = {name: _with_embedded(each) for name, each in properties.items()}
    for key in ("items", "additionalProperties"):
        if key in raw:
            made[key] = _with_embedded(raw[key])
    if raw.get(_EMBEDDED):
        types = {name: {"type": "string", "description": text} for name, text in _EMBEDDED_TYPE.items()}
        made["properties"] = {**(made.get("properties") or {}), **types, "metadata": _object_meta()}
        made["required"] = list(dict.fromkeys((*(raw.get("required") or ()), "kind", "apiVersion")))
    return made


def as_v2(schema: Any) -> Any:
    """A schema in OpenAPI v2, which lacks some of version 3's words; what it cannot say is left open.

    More is left out than version 2 asks for: kubectl takes an object with properties, or an array with items, for one
    that can have nothing else.
    """
    if not isinstance(schema, dict):
        return schema
    only = schema.get("allOf")
    if only and len(only) == 1 and "$ref" in only[0]:
        return {**{key: value for key, value in schema.items() if key == "description"}, **only[0]}
    if _GVK in schema and schema.get(_OPEN):
        return {
            "type": "object",
            **{key: value for key, value in schema.items() if key.startswith("x-") and key != _OPEN},
        }
    kept = {key: value for key, value in schema.items() if key not in _ONLY_V3}
    dropped: tuple[str, ...] = ()
    if schema.get("nullable"):
        dropped = ("type", "items", "properties")
    elif schema.get("x-kubernetes-int-or-string"):
        dropped = ("type",)
    elif schema.get(_OPEN):
        dropped = ("items", "properties", *(("type",) if schema.get("type") in ("object", "array") else ()))
    kept = {key: value for key, value in kept.items() if key not in dropped}
    if required := _required(schema):
        kept["required"] = required
    else:
        kept.pop("required", None)
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), dict):
            kept[key] = as_v2(kept[key])
    if isinstance(kept.get("properties"), dict):
        kept["properties"] = {name: as_v2(each) for name, each in kept["properties"].items()}
    return kept


def _required(schema: dict[str, Any]) -> list[str]:
    """What must be there; null, which version 2 does not know, would be missed."""
    values = schema.get("additionalProperties")
    if isinstance(values, dict) and values.get("nullable"):
        return []
    properties = schema.get("properties") or {}
    open_type = _EMBEDDED_TYPE if schema.get(_EMBEDDED) and schema.get(_OPEN) else ()
    return [
        name
        for name in schema.get("required") or ()
        if not (properties.get(name) or {}).get("nullable") and name not in open_type
    ]
