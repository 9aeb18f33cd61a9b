"""Every reason why the schema of a custom resource is refused: the walk over it, and the rules of single fields.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/ says them. Whether it
is structural is asked first, then whether its defaults fit; CEL rules are compiled only for a schema that has neither
problem, because their types are made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shim.api.status import FieldError
from shim.resources.causes import forbidden, invalid, unsupported
from shim.resources.custom.default_rules import check_defaults
from shim.resources.custom.list_rules import check_merging
from shim.resources.custom.rule_checks import Cardinality, RuleChecks, below, check_form
from shim.resources.custom.schema_text import go_name, go_schema, is_set
from shim.resources.custom.structural_rules import check_structure
from shim.resources.custom.structure import META_FIELDS, Node, Raw

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_POINTERS = ("additionalItems", "dependencies", "$ref")
"""Of those: what counts even if it is empty."""
_AT_ROOT_WITH_STATUS = (
    "description type format title maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern "
    "maxItems minItems uniqueItems multipleOf required items properties externalDocs example "
    "x-kubernetes-preserve-unknown-fields x-kubernetes-validations"
).split()


class SchemaCheck:
    """Judges one schema. ``unchanged``: it was accepted before, so that its costs are not counted again."""

    def __init__(self, path: str, raw: Raw, *, has_status: bool, unchanged: bool) -> None:
        self._path, self._raw, self._has_status = path, raw, has_status
        self._rules = RuleChecks(unchanged=unchanged)

    def causes(self) -> list[FieldError]:
        raw, path = self._raw, self._path
        found: list[FieldError] = []
        if self._has_status:
            found += self._check_root()
        if raw.get("nullable"):
            found.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
        if shape := _shape(raw, path):
            return found + shape
        node = Node(raw)
        plain = _is_plain(node)  # otherwise that is told, and nothing of its structure
        structural = sorted(check_structure(node, path, "root"), key=lambda cause: f"{cause.field}: {cause.message}")
        problems = (structural or check_defaults(node, path)) if plain else []
        found += problems
        found += self._schema(node, _Place(path, 1.0, plain and not problems, root=True))
        return found + self._rules.causes + self._rules.check_total(path)

    def _check_root(self) -> list[FieldError]:
        raw, path = self._raw, self._path
        found = []
        if raw.get("type") and raw["type"] != "object":
            text = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
            found.append(invalid(f"{path}.type", raw["type"], text))
        elif any(name not in _AT_ROOT_WITH_STATUS for name, value in raw.items() if is_set(name, value)):
            allowed = " ".join(go_name(name) for name in _AT_ROOT_WITH_STATUS)
            text = f"only [{allowed}] fields are allowed at the root of the schema if the status subresource is enabled"
            found.append(invalid(path, go_schema(raw), text))
        return found

    def _schema(self, node: Node, at: _Place) -> list[FieldError]:
        """What is wrong with one place and all below it."""
        found = _fields(node, at)
        if node.additional is not None:
            if node.properties:
                text = "additionalProperties and properties are mutual exclusive"
                found.append(forbidden(f"{at.path}.additionalProperties", text))
            found += self._schema(node.additional, at.values(node))
        for name, each in node.properties.items():
            found += self._schema(each, at.property(node, name))
        for name, conditions in (("allOf", node.all_of), ("oneOf", node.one_of), ("anyOf", node.any_of)):
            for index, each in enumerate(conditions):
                found += self._schema(each, at.condition(f"{name}[{index}]"))
        if node.not_ is not None:
            found += self._schema(node.not_, at.condition("not"))
        if node.items is not None:
            found += self._schema(node.items, at.items(node))
        found += check_merging(node, at.path)
        for index, rule in enumerate(node.validations):
            found += check_form(rule, index, node, at.path)
        if node.validations and at.judge_rules and not found:
            self._rules.check(node, at.path, at.cardinality, root=at.root, uncorrelated=at.uncorrelated)
        return found


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a schema stands, as far as that changes what it may say."""

    path: str
    cardinality: Cardinality
    judge_rules: bool
    root: bool = False
    in_meta: bool = False
    """Whether it is within an object's type or metadata."""
    no_defaults: str = ""
    """Why it may have no default; "" where it may."""
    uncorrelated: str = ""
    """The list or map above, within which no old value is known; "" where there is none."""

    def values(self, node: Node) -> _Place:
        reason = "inside additionalProperties applying to object metadata" if self.in_meta else self.no_defaults
        often = below(self.cardinality, node.raw.get("maxProperties"))
        path = f"{self.path}.additionalProperties"
        return replace(self, path=path, cardinality=often, root=False, no_defaults=reason)

    def property(self, node: Node, name: str) -> _Place:
        meta = name in META_FIELDS
        return replace(
            self,
            path=f"{self.path}.properties[{name}]",
            root=False,
            in_meta=self.in_meta or ((self.root or node.embedded) and meta),
            no_defaults=f"in top-level {name}" if self.root and meta else self.no_defaults,
        )

    def items(self, node: Node) -> _Place:
        often = below(self.cardinality, node.raw.get("maxItems"))
        loose = self.uncorrelated or ("" if node.list_type == "map" else self.path)
        return replace(self, path=f"{self.path}.items", cardinality=often, root=False, uncorrelated=loose)

    def condition(self, name: str) -> _Place:
        """Its rules are judged with the place it is a condition of."""
        return _Place(f"{self.path}.{name}", None, False, no_defaults=self.no_defaults)


def _fields(node: Node, at: _Place) -> list[FieldError]:
    raw, path = node.raw, at.path
    found = []
    if node.type and node.type not in _TYPES:
        found.append(unsupported(f"{path}.type", node.type, _TYPES))
    if node.has_default and at.no_defaults:
        found.append(forbidden(f"{path}.default", f"must not be set {at.no_defaults}"))
    for name in _UNSUPPORTED:
        if raw.get(name) or (name in _POINTERS and raw.get(name) is not None):
            found.append(forbidden(f"{path}.{name}", f"{name} is not supported"))
    if node.type == "null":
        text = "type cannot be set to null, use nullable as an alternative"
        found.append(forbidden(f"{path}.type", text))
    if isinstance(raw.get("items"), list):
        found.append(forbidden(f"{path}.items", "items must be a schema object and not an array"))
    if at.in_meta and node.embedded:
        text = "must not be used inside of resource meta"
        found.append(forbidden(f"{path}.x-kubernetes-embedded-resource", text))
    if raw.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        found.append(forbidden(f"{path}.uniqueItems", text))
    return found


def _is_plain(node: Node) -> bool:
    """Whether a schema and all below it, conditions aside, say nothing that no structure can be made of."""
    raw = node.raw
    if any(raw.get(name) for name in (*_UNSUPPORTED, "$schema")):
        return False
    if isinstance(raw.get("items"), list) or raw.get("x-kubernetes-preserve-unknown-fields") is False:
        return False
    below = (*node.properties.values(), *filter(None, (node.items, node.additional)))
    return all(map(_is_plain, below))


def _shape(raw: Any, path: str) -> list[FieldError]:
    """What is no schema at all, and would make the rest stumble."""
    if not isinstance(raw, Mapping):
        return [invalid(path, raw, "must be a schema")]
    found: list[FieldError] = []
    for key, each in (raw.get("properties") or {}).items():
        found += _shape(each, f"{path}.properties[{key}]")
    for name in ("items", "not"):
        if raw.get(name) is not None and not isinstance(raw[name], list):
            found += _shape(raw[name], f"{path}.{name}")
    additional = raw.get("additionalProperties")
    if additional is not None and not isinstance(additional, bool):
        found += _shape(additional, f"{path}.additionalProperties")
    for name in ("allOf", "anyOf", "oneOf"):
        for index, each in enumerate(raw.get(name) or ()):
            found += _shape(each, f"{path}.{name}[{index}]")
    return found
