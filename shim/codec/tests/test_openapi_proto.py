from __future__ import annotations

import struct
from typing import Any

from shim.codec.definitions import load
from shim.codec.openapi_proto import encode

SCHEMA_REF, SCHEMA_FORMAT = 1, 2  # numbers as gnostic publishes them
DEFINITIONS, PATHS = 9, 8
PROPERTIES, ADDITIONAL, TYPE, ITEMS, EXTENSION = 25, 21, 22, 23, 31

Fields = dict[int, list[Any]]


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at


def read(data: bytes) -> Fields:
    """The fields of a message by number: a protobuf reader that knows no message."""
    found: Fields = {}
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value: Any
            value, at = varint(data, at)
        elif tag & 7 == 1:
            (value,) = struct.unpack("<d", data[at : at + 8])
            at += 8
        else:
            assert tag & 7 == 2
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
            assert len(value) == size
        found.setdefault(tag >> 3, []).append(value)
    return found


def pairs(data: bytes, number: int = 1) -> dict[str, bytes]:
    return {pair[1][0].decode(): pair[2][0] for pair in map(read, read(data).get(number, []))}


def path(data: bytes, *numbers: int) -> Any:
    """The first value at a path of field numbers."""
    for number in numbers:
        data = read(data)[number][0]
    return data


def schema(raw: dict[str, Any]) -> bytes:
    data = encode({"definitions": {"a": raw}})
    return pairs(path(data, DEFINITIONS))["a"]


def test_an_object_has_properties_with_types() -> None:
    data = schema({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "format": "int32"}}})
    assert path(data, TYPE) == b"\x0a\x06object"
    assert read(data)[19] == [b"n"]
    n = pairs(path(data, PROPERTIES))["n"]
    assert path(n, TYPE, 1) == b"integer"
    assert path(n, SCHEMA_FORMAT) == b"int32"


def test_a_property_may_have_any_name() -> None:
    data = schema({"properties": {"$ref": {"type": "string"}, "x-y": {"type": "string"}, "type": {"type": "string"}}})
    assert list(pairs(path(data, PROPERTIES))) == ["$ref", "x-y", "type"]


def test_no_properties_are_not_an_empty_set_of_them() -> None:
    assert schema({"properties": {}}) == b""


def test_lists_maps_and_references() -> None:
    assert path(schema({"type": "array", "items": {"$ref": "#/definitions/a"}}), ITEMS, 1, SCHEMA_REF) == (
        b"#/definitions/a"
    )
    assert path(schema({"additionalProperties": {"type": "string"}}), ADDITIONAL, 1, TYPE, 1) == b"string"
    assert path(schema({"additionalProperties": False}), ADDITIONAL, 2) == 0  # said, unlike an absent one


def test_free_values_are_yaml() -> None:
    data = schema({"default": False, "enum": ["a", 1], "x-kubernetes-list-map-keys": ["name"]})
    assert path(data, 5, 2) == b"false"
    assert [read(value)[2][0] for value in read(data)[20]] == [b'"a"', b"1"]
    assert path(pairs(data, EXTENSION)["x-kubernetes-list-map-keys"], 2) == b'["name"]'


def test_numbers() -> None:
    data = read(schema({"maximum": 1.5, "minimum": -2, "minLength": 300, "maxItems": 0, "uniqueItems": True}))
    assert data == {7: [1.5], 9: [-2.0], 12: [300], 16: [1]}


def test_keywords_that_version_2_lacks_are_left_out() -> None:
    assert schema({"oneOf": [{"type": "string"}], "nullable": True}) == b""


def test_operations_parameters_and_responses() -> None:
    operation = {
        "operationId": "patchPod",
        "parameters": [
            {"name": "dryRun", "in": "query", "type": "string"},
            {"name": "name", "in": "path", "type": "string", "required": True},
            {"name": "body", "in": "body", "schema": {"type": "object"}},
            {"$ref": "#/parameters/pretty"},
        ],
        "responses": {"200": {"description": "OK", "schema": {"type": "string"}}, "401": {}},
        "x-kubernetes-action": "patch",
    }
    paths = path(encode({"swagger": "2.0", "paths": {"/p": {"patch": operation}, "x-a": 1}}), PATHS)
    assert path(pairs(paths, 1)["x-a"], 2) == b"1"
    patch = path(pairs(paths, 2)["/p"], 8)
    assert path(patch, 5) == b"patchPod"
    query, name, body, shared = read(patch)[8]
    assert path(query, 1, 2, 3, 4) == b"dryRun"
    assert read(path(name, 1, 2, 4)) == {4: [b"name"], 2: [b"path"], 5: [b"string"], 1: [1]}
    assert path(body, 1, 1, 5, TYPE, 1) == b"object"
    assert path(shared, 2, 1) == b"#/parameters/pretty"
    responses = pairs(path(patch, 9))
    assert path(responses["200"], 1, 2, 1, TYPE, 1) == b"string"
    assert "401" in responses
    assert path(pairs(patch, 13)["x-kubernetes-action"], 2) == b'"patch"'


def test_the_whole_api_keeps_every_definition_and_property() -> None:
    definitions = load()
    found = pairs(path(encode({"definitions": definitions}), DEFINITIONS))
    assert list(found) == list(definitions)
    for name, raw in definitions.items():
        properties = pairs(path(found[name], PROPERTIES)) if raw.get("properties") else {}
        assert list(properties) == list(raw.get("properties") or {}), name
        for field, value in (raw.get("properties") or {}).items():
            assert read(properties[field]).get(SCHEMA_REF, [b""])[0].decode() == value.get("$ref", "")
