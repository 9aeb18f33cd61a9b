"""What OpenAPI says of a custom kind: its schema, with the type and metadata that every object has."""

from __future__ import annotations

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


def publish(group: str, version: str, kind: str, list_kind: str, raw: Raw) -> dict[str, Any]:
    """The definitions of a kind and of its list, the kind's first, by their names in OpenAPI."""
    reverse = ".".join(reversed(group.split(".")))
    name, list_name = f"{reverse}.{version}.{kind}", f"{reverse}.{version}.{list_kind}"
    metadata = {"allOf": [{"$ref": f"{_META}ObjectMeta"}], "description": _METADATA}
    properties = {**(raw.get("properties") or {}), **_TYPE_META, "metadata": metadata}
    schema = {
        **{key: value for key, value in raw.items() if key not in ("default",)},
        "type": "object",
        "properties": properties,
        "x-kubernetes-group-version-kind": [{"group": group, "version": version, "kind": kind}],
    }
    listed = {
        "description": f"{list_kind} is a list of {kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            **_TYPE_META,
            "items": {
                "description": f"List of {kind}. More info: "
                "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md",
                "type": "array",
                "items": {"allOf": [{"$ref": f"#/definitions/{name}"}]},
            },
            "metadata": {"allOf": [{"$ref": f"{_META}ListMeta"}], "description": _LIST_METADATA},
        },
        "x-kubernetes-group-version-kind": [{"group": group, "version": version, "kind": list_kind}],
    }
    return {name: schema, list_name: listed}


def as_v2(schema: Any) -> Any:
    """A schema in OpenAPI v2, which lacks some of version 3's words; what it cannot say is left open."""
    if isinstance(schema, list):
        return [as_v2(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    only = schema.get("allOf")
    if only and len(only) == 1 and "$ref" in only[0]:
        return {**{key: value for key, value in schema.items() if key == "description"}, **only[0]}
    kept = {key: value for key, value in schema.items() if key not in _ONLY_V3}
    if schema.get("nullable") or schema.get("x-kubernetes-int-or-string"):
        for key in ("type", "items", "properties"):
            kept.pop(key, None)
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        kept.pop("items", None)
        kept.pop("properties", None) if "x-kubernetes-group-version-kind" not in schema else None
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), dict):
            kept[key] = as_v2(kept[key])
    if isinstance(kept.get("properties"), dict):
        kept["properties"] = {name: as_v2(each) for name, each in kept["properties"].items()}
    return kept
