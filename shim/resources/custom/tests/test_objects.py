"""What a schema does to an object: prunes, fills in, judges, and lets pass what an update does not touch."""

from __future__ import annotations

from typing import Any

import pytest

from shim.codec.definitions import load_schema
from shim.resources.custom import defaulting, lists, values
from shim.resources.custom.pruning import decode_object
from shim.resources.custom.structure import Node

META = load_schema().named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
STRING: dict[str, Any] = {"type": "string"}


def root(**properties: Any) -> Node:
    return Node({"type": "object", "properties": properties})


def test_unknown_fields_are_dropped_and_named() -> None:
    node = root(
        spec={"type": "object", "properties": {"a": STRING, "any": {"x-kubernetes-preserve-unknown-fields": True}}},
        byName={"type": "object", "additionalProperties": {"type": "object", "properties": {"x": STRING}}},
    )
    spec = {"a": "1", "b": 2, "any": {"kept": [1]}}
    found = decode_object(
        node, META, {"metadata": {"name": "n", "odd": 1}, "spec": spec, "byName": {"k": {"x": "1", "y": "2"}}}
    )
    assert found.obj["spec"] == {"a": "1", "any": {"kept": [1]}}
    assert found.obj["byName"] == {"k": {"x": "1"}}
    assert sorted(found.unknown) == ["byName.k.y", "metadata.odd", "spec.b"]
    assert spec["b"] == 2, "what was sent stays as it was"


def test_an_embedded_object_has_metadata_without_a_schema() -> None:
    template = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "object"}}}
    sent = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "odd": 1}, "spec": {}, "more": 1}
    found = decode_object(root(template=template), META, {"template": sent})
    assert found.obj["template"] == {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {}}
    assert sorted(found.unknown) == ["template.metadata.odd", "template.more"]


@pytest.mark.parametrize(
    ("sent", "filled"),
    [
        ({}, {}),  # the object around it has no default
        ({"spec": {}}, {"spec": {"mode": "fast"}}),
        ({"spec": {"mode": None}}, {"spec": {"mode": "fast"}}),
        ({"spec": {"mode": "slow", "note": None}}, {"spec": {"mode": "slow"}}),  # null where none may be
        ({"spec": {"free": None}}, {"spec": {"free": None, "mode": "fast"}}),
        ({"spec": {"list": [{}]}}, {"spec": {"list": [{"n": 1}], "mode": "fast"}}),
    ],
)
def test_defaults_are_filled_in(sent: dict[str, Any], filled: dict[str, Any]) -> None:
    items = {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}}
    fields = {
        "mode": {**STRING, "default": "fast"},
        "note": STRING,
        "free": {**STRING, "nullable": True},
        "list": {"type": "array", "items": items},
    }
    defaulting.fill(root(spec={"type": "object", "properties": fields}), sent)
    assert sent == filled


@pytest.mark.parametrize(
    ("schema", "value", "why"),
    [
        (STRING, 1, 'Invalid value: "integer": x in body must be of type string: "integer"'),
        ({**STRING, "maxLength": 2}, "abc", "Too long: may not be more than 2 bytes"),
        ({**STRING, "pattern": "^a"}, "b", "Invalid value: \"b\": x in body should match '^a'"),
        ({**STRING, "format": "ipv4"}, "b", 'Invalid value: "b": x in body must be of type ipv4: "b"'),
        ({"type": "integer", "minimum": 2}, 1, "Invalid value: 1: x in body should be greater than or equal to 2"),
        ({"type": "number", "maximum": 9.0}, 10.0, "Invalid value: 10: x in body should be less than or equal to 9"),
        # what is too short is not matched any more
        (
            {**STRING, "minLength": 1, "pattern": "^a"},
            "",
            'Invalid value: "": x in body should be at least 1 chars long',
        ),
        ({"type": "array", "items": STRING, "maxItems": 1}, ["a", "b"], "Too many: 2: must have at most 1 item"),
        ({**STRING, "enum": ["a", "b"]}, "c", 'Unsupported value: "c": supported values: "a", "b"'),
        ({"type": "object", "required": ["y"]}, {}, "Required value"),
    ],
)
def test_values_are_judged_in_upstreams_words(schema: dict[str, Any], value: Any, why: str) -> None:
    [cause] = values.check(Node(schema), value, path="x")
    assert cause.message == why


def test_what_an_update_leaves_alone_is_not_judged_again() -> None:
    item = {"type": "object", "properties": {"name": STRING, "size": {"type": "integer", "maximum": 1}}}
    keyed = {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    node = root(spec={"type": "object", "properties": {"mode": {**STRING, "enum": ["fast"]}, "parts": keyed}})
    old = {"spec": {"mode": "odd", "parts": [{"name": "a", "size": 5}]}}
    moved = {"spec": {"mode": "odd", "parts": [{"name": "b", "size": 1}, {"name": "a", "size": 5}]}}
    assert values.check(node, moved, old) == []
    changed = {"spec": {"mode": "odder", "parts": [{"name": "a", "size": 6}]}}
    assert [cause.field for cause in values.check(node, changed, old)] == ["spec.mode", "spec.parts[0].size"]


@pytest.mark.parametrize(
    ("kind", "value", "fields"),
    [
        ({"x-kubernetes-list-type": "set"}, ["a", "b", "a"], ["x[2]"]),
        ({"x-kubernetes-list-type": "atomic"}, ["a", "a"], []),
        (
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]},
            [{"k": 1}, {"k": 2}, {"k": 1}],
            ["x[2]"],
        ),
    ],
)
def test_items_that_are_there_twice(kind: dict[str, Any], value: list[Any], fields: list[str]) -> None:
    items = {"type": "object", "properties": {"k": {"type": "integer"}}} if "map" in kind.values() else STRING
    node = root(x={"type": "array", "items": items, **kind})
    assert [cause.field for cause in lists.duplicates(node, {"x": value})] == fields
