"""Schemas that are refused, and why: structure, lists that are merged, defaults, CEL rules and their cost."""

from __future__ import annotations

from typing import Any

import pytest

from shim.resources.custom.schema_rules import SchemaCheck

STRING: dict[str, Any] = {"type": "string"}


def complaints(raw: dict[str, Any], **more: bool) -> list[str]:
    """``field: message`` of each cause, with ``s`` for the schema's own path."""
    check = SchemaCheck("s", raw, **{"has_status": False, "unchanged": False, **more})
    return [f"{cause.field}: {cause.message}" for cause in check.causes()]


def spec(**schema: Any) -> dict[str, Any]:
    """An object whose field ``spec`` has this schema."""
    return {"type": "object", "properties": {"spec": schema}}


def test_a_sound_schema_is_taken() -> None:
    items = {"type": "object", "required": ["name"], "properties": {"name": STRING, "size": {"type": "integer"}}}
    parts = {
        "type": "array",
        "maxItems": 10,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": items,
        "x-kubernetes-validations": [{"rule": "self.all(part, part.size >= 0 && part.size < 100)"}],
    }
    mode = {"type": "string", "enum": ["fast", "slow"], "default": "fast"}
    port = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
    assert complaints(spec(type="object", properties={"parts": parts, "mode": mode, "port": port})) == []


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ({}, ["s.type: Required value: must not be empty at the root"]),
        (
            {"type": "string"},
            ['s.type: Invalid value: "string": must be object at the root'],
        ),
        (
            {"type": "object", "nullable": True},
            ["s.nullable: Forbidden: nullable cannot be true at the root"],
        ),
        (spec(), ["s.properties[spec].type: Required value: must not be empty for specified object fields"]),
        (spec(type="array"), ["s.properties[spec].items: Required value: must be specified"]),
        (
            spec(type="array", items={}),
            ["s.properties[spec].items.type: Required value: must not be empty for specified array items"],
        ),
        (
            spec(type="object", allOf=[{"properties": {"a": {"minLength": 1}}}]),
            ["s.properties[spec].properties[a]: Required value: because it is defined in s.properties[spec]"],
        ),
        (
            spec(type="string", anyOf=[{"type": "string"}]),
            ["s.properties[spec].anyOf[0].type: Forbidden: must be empty to be structural"],
        ),
        (
            spec(type="string", pattern="("),
            [
                's.properties[spec].pattern: Invalid value: "(": must be a valid regular expression, but isn\'t: '
                "error parsing regexp: missing closing ): `(`"
            ],
        ),
        (
            {
                "type": "object",
                "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}},
            },
            [
                "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but "
                "metadata is implicitly specified"
            ],
        ),
        (
            spec(**{"type": "object", "x-kubernetes-embedded-resource": True}),
            [
                "s.properties[spec].properties: Required value: must not be empty if x-kubernetes-embedded-resource is "
                "true without x-kubernetes-preserve-unknown-fields"
            ],
        ),
    ],
)
def test_structure(raw: dict[str, Any], why: list[str]) -> None:
    assert complaints(raw) == why


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (
            {"type": "array", "items": STRING, "x-kubernetes-list-type": "odd"},
            '.x-kubernetes-list-type: Unsupported value: "odd": supported values: "atomic", "set", "map"',
        ),
        (
            {"type": "object", "x-kubernetes-list-type": "set"},
            '.type: Invalid value: "object": must be array if x-kubernetes-list-type is specified',
        ),
        (
            {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "set"},
            ".items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with "
            "x-kubernetes-list-type=set",
        ),
        (
            {"type": "array", "items": {**STRING, "nullable": True}, "x-kubernetes-list-type": "set"},
            ".items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set",
        ),
        (
            {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"},
            ".x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ),
        (
            {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": STRING}},
            },
            ".items.properties[name].default: Required value: this property is in x-kubernetes-list-map-keys, so it "
            "must have a default or be a required property",
        ),
    ],
)
def test_lists_that_are_merged(schema: dict[str, Any], why: str) -> None:
    assert complaints(spec(**schema)) == [f"s.properties[spec]{why}"]


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (
            {"type": "integer", "default": "x"},
            'Invalid value: "string": s.properties[spec].default in body must be of type integer: "string"',
        ),
        ({"type": "string", "enum": ["a"], "default": "b"}, 'Unsupported value: "b": supported values: "a"'),
        ({"type": "object", "default": {"odd": 1}}, 'Invalid value: {"odd":1}: must not have unknown fields'),
        (
            {"type": "integer", "default": 1, "x-kubernetes-validations": [{"rule": "self > 1", "message": "too few"}]},
            "Invalid value: 1: too few",
        ),
    ],
)
def test_defaults_must_fit(schema: dict[str, Any], why: str) -> None:
    [found] = complaints(spec(**schema))
    assert found.startswith("s.properties[spec].default: ")
    assert why in found


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"rule": " "}, ".rule: Required value: rule is not specified"),
        (
            {"rule": "self == 'a'", "message": "a\nb"},
            '.message: Invalid value: "a\\nb": must not contain line breaks',
        ),
        (
            {"rule": "self == 'a' ||\nself == 'b'"},
            ".message: Required value: message must be specified if rule contains line breaks",
        ),
        (
            {"rule": "self == 'a'", "reason": "Odd"},
            '.reason: Unsupported value: "Odd": supported values: "FieldValueDuplicate", "FieldValueForbidden", '
            '"FieldValueInvalid", "FieldValueRequired"',
        ),
        (
            {"rule": "self == 'a'", "fieldPath": ".x"},
            '.fieldPath: Invalid value: ".x": must be a valid path',
        ),
        (
            {"rule": "self == 'a'", "optionalOldSelf": True},
            ".optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule",
        ),
    ],
)
def test_rules_have_a_form(rule: dict[str, Any], why: str) -> None:
    schema = {**STRING, "x-kubernetes-validations": [rule]}
    assert complaints(spec(**schema)) == [f"s.properties[spec].x-kubernetes-validations[0]{why}"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("self.size()", "cel expression must evaluate to a bool"),
        (
            "self.nonsense == 1",
            "compilation failed: ERROR: <input>:1:5: type 'string' does not support field selection",
        ),
    ],
)
def test_rules_compile(text: str, why: str) -> None:
    [found] = complaints(spec(**{**STRING, "x-kubernetes-validations": [{"rule": text}]}))
    assert found.startswith("s.properties[spec].x-kubernetes-validations[0].rule: Invalid value: ")
    assert why in found


def costly() -> dict[str, Any]:
    """A rule over every pair of items of a list that nobody limits."""
    rule = {"rule": "self.all(a, self.all(b, a != b))"}
    return spec(**{"type": "array", "items": STRING, "x-kubernetes-validations": [rule]})


def test_a_rule_must_be_affordable() -> None:
    found = complaints(costly())
    assert found[0].startswith(
        "s.properties[spec].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds"
    )
    assert "more than 100x (try simplifying the rule" in found[0]
    assert [text.partition(": ")[0] for text in found[1:]] == [
        "s.properties[spec].x-kubernetes-validations[0].rule",
        "s",
    ]
    assert complaints(costly(), unchanged=True) == [], "what was accepted stays"


@pytest.mark.parametrize(
    ("rule", "most"),
    [
        ("self.startsWith('a')", 0.0),  # counted by the prefix
        ("self.split(',').all(x, x.startsWith('a'))", 1.6),
        ("!format.named('dns1123Label').value().validate(self).hasValue()", 1.006634),
    ],
)
def test_what_a_rule_may_cost_is_estimated_as_upstream_does(rule: str, most: float) -> None:
    """The numbers are those of a real server, for a text of any length."""
    found = complaints(spec(**{**STRING, "x-kubernetes-validations": [{"rule": rule}]}))
    told = [text.partition("by factor of ")[2].partition("x ")[0] for text in found]
    assert told == ([str(most)] if most else [])


@pytest.mark.parametrize(
    ("rule", "most"),
    [
        ("self.n.all(x, self.n.all(y, y == 1))", 40.0),  # numbers of a schema are compared for nothing
        ("self.n.all(x, self.n.all(y, x != y || x == y))", 70.0),
        ("self.n.all(x, self.n.all(y, x + y == 1))", 70.0),  # but not what is computed
        ("self.n.all(i, x, self.n.all(j, y, i == j))", 60.0),
        ("self.o.all(x, self.o.all(y, x == y))", 50.0),
        ("self.o.all(x, self.o.all(y, x.b == y.b))", 70.0),
        ("self.o.all(x, self.o.all(y, has(x.b) == true))", 50.0),
    ],
)
def test_what_loops_compare_costs_as_much_as_upstream_says(rule: str, most: float) -> None:
    """The numbers are those of a real server."""
    number = {"type": "integer"}
    lists = {
        "n": {"type": "array", "maxItems": 10_000, "items": number},
        "o": {"type": "array", "maxItems": 10_000, "items": {"type": "object", "properties": {"b": number}}},
    }
    found = complaints(spec(**{"type": "object", "properties": lists, "x-kubernetes-validations": [{"rule": rule}]}))
    assert found[0].partition("by factor of ")[2].partition("x ")[0] == str(most)


def test_of_rules_that_cost_alike_the_first_are_named() -> None:
    rules = [{"rule": f"self.contains('{number}')"} for number in range(6)]
    items = {**STRING, "x-kubernetes-validations": rules}
    found = complaints(spec(type="array", items=items))
    told = [text.partition(".rule")[0][-3:] for text in found if "contributed to" in text]
    assert told == ["[0]", "[1]", "[2]", "[3]"]


def test_keys_of_maps_cost_nothing_to_look_into() -> None:
    """Nobody limits how long they are; definitions in the wild (Istio's) count on it."""
    rule = {"rule": "self.all(key, !key.contains('*') && size(key) != 0)"}
    labels = {"type": "object", "maxProperties": 4096, "additionalProperties": {**STRING, "maxLength": 63}}
    assert complaints(spec(**{**labels, "x-kubernetes-validations": [rule]})) == []


def test_what_makes_no_structure_is_told_alone() -> None:
    found = complaints(spec(**{"type": "array", "items": [STRING], "x-kubernetes-preserve-unknown-fields": False}))
    assert found == [
        "s.properties[spec].items: Forbidden: items must be a schema object and not an array",
        "s.properties[spec].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
    ]


def test_a_rule_is_quoted_as_go_quotes_it() -> None:
    [found] = complaints(spec(**{**STRING, "x-kubernetes-validations": [{"rule": "size(self) > 'a'"}]}))
    assert '{"Rule":"size(self) \\u003e \'a\'",' in found
    assert " | size(self) > 'a'" in found


def test_a_map_that_is_atomic_has_old_values() -> None:
    field = {**STRING, "maxLength": 9, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}
    schema = {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": field}}
    assert complaints(spec(**schema)) == []


def test_no_change_is_judged_where_no_old_value_is_known() -> None:
    rule = {"rule": "self == oldSelf"}
    schema = {"type": "array", "maxItems": 3, "items": {**STRING, "maxLength": 9, "x-kubernetes-validations": [rule]}}
    assert complaints(spec(**schema)) == [
        's.properties[spec].items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": oldSelf cannot '
        "be used on the uncorrelatable portion of the schema within s.properties[spec]"
    ]


def test_at_the_root_of_a_kind_with_a_status_only_some_things_are_said() -> None:
    [found] = complaints({"type": "object", "minProperties": 1}, has_status=True)
    assert "fields are allowed at the root of the schema if the status subresource is enabled" in found
