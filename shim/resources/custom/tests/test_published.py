"""What OpenAPI says of a custom kind, in both versions."""

from __future__ import annotations

import pytest

from shim.resources.custom.published import as_v2, publish

KEEP = "x-kubernetes-preserve-unknown-fields"
NAMES = {"kind": "Widget", "listKind": "WidgetList", "plural": "widgets"}
GVK = [{"group": "example.com", "version": "v1", "kind": "Widget"}]


def published(raw, **more):
    return publish("example.com", "v1", NAMES, raw, **more)["com.example.v1.Widget"]


def test_every_kind_has_its_type_and_metadata():
    both = publish("example.com", "v1", NAMES, {"type": "object"})
    assert list(both) == ["com.example.v1.Widget", "com.example.v1.WidgetList"]
    assert set(both["com.example.v1.Widget"]["properties"]) == {"apiVersion", "kind", "metadata"}
    items = both["com.example.v1.WidgetList"]["properties"]["items"]
    assert items["items"] == {"$ref": "#/definitions/com.example.v1.Widget"}
    assert items["description"].startswith("List of widgets. ")


def test_the_fields_it_can_be_selected_by_are_told():
    schema = published({"type": "object"}, selectable=(".spec.color",))
    assert schema["x-kubernetes-selectable-fields"] == [{"fieldPath": "spec.color"}]


def test_an_object_within_the_object_has_a_type_and_metadata_too():
    template = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "object"}}}
    listed = {"type": "array", "items": template}
    found = published({"type": "object", "properties": {"templates": listed}})["properties"]["templates"]["items"]
    assert list(found["properties"]) == ["spec", "apiVersion", "kind", "metadata"]
    assert found["required"] == ["kind", "apiVersion"]
    assert "required" not in template  # the definition's own schema is left alone


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ({"type": "object", "nullable": True, "properties": {"a": {}}}, {}),
        ({"x-kubernetes-int-or-string": True, "anyOf": [{}]}, {"x-kubernetes-int-or-string": True}),
        ({"type": "object", KEEP: True, "properties": {"a": {"type": "string"}}}, {KEEP: True}),
        ({"type": "array", KEEP: True, "items": {"type": "string"}}, {KEEP: True}),
        (
            {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "string", "nullable": True}}},
            {"type": "object", "required": ["b"], "properties": {"a": {}}},
        ),
        (
            {"type": "object", "required": ["a"], "additionalProperties": {"type": "string", "nullable": True}},
            {"type": "object", "additionalProperties": {}},
        ),
        (
            {KEEP: True, "type": "object", "x-kubernetes-embedded-resource": True, "required": ["kind", "apiVersion"]},
            {KEEP: True, "x-kubernetes-embedded-resource": True},
        ),
    ],
)
def test_version_two_says_less(raw, shown):
    assert as_v2(raw) == shown


def test_a_kind_that_keeps_everything_says_nothing_in_version_two():
    schema = published({"type": "object", "description": "a widget", KEEP: True, "properties": {"a": {}}})
    assert as_v2(schema) == {"type": "object", "x-kubernetes-group-version-kind": GVK}
