"""Every reason why the schema of a custom resource is refused: the walk over it, and the rules of single fields.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/ says them. Whether it
is structural is asked first, then whether its defaults fit; CEL rules are compiled only for a schema that has neither
problem, because their types are made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shim.api.status import FieldError
from shim.resources.causes import forbidden, invalid, unsupported
from shim.resources.custom.default_rules import check_defaults
from shim.resources.custom.list_rules import check_merging
from shim.resources.custom.rule_checks import Cardinality, RuleChecks, below, check_form
from shim.resources.custom.structural_rules import check_structure
from shim.resources.custom.structure import META_FIELDS, Node, Raw

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
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
        if shape := self._shape(raw, path):
            return found + shape
        node = Node(raw)
        structural = sorted(check_structure(node, path, "root"), key=lambda cause: f"{cause.field}: {cause.message}")
        problems = structural or check_defaults(node, path)
        found += problems
        found += self._schema(node, path, cardinality=1.0, root=True, judge_rules=not problems)
        return found + self._rules.causes + self._rules.check_total(path)

    def _check_root(self) -> list[FieldError]:
        raw, path = self._raw, self._path
        found = []
        if raw.get("type") and raw["type"] != "object":
            text = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
            found.append(invalid(f"{path}.type", raw["type"], text))
        elif any(name not in _AT_ROOT_WITH_STATUS for name, value in raw.items() if value):
            allowed = " ".join(_go_name(name) for name in _AT_ROOT_WITH_STATUS)
            text = f"only [{allowed}] fields are allowed at the root of the schema if the status subresource is enabled"
            found.append(invalid(path, raw, text))
        return found

    def _shape(self, raw: Any, path: str) -> list[FieldError]:
        """What is no schema at all, and would make the rest stumble."""
        if not isinstance(raw, Mapping):
            return [invalid(path, raw, "must be a schema")]
        found: list[FieldError] = []
        for name in ("properties",):
            for key, each in (raw.get(name) or {}).items():
                found += self._shape(each, f"{path}.{name}[{key}]")
        items = raw.get("items")
        if isinstance(items, list):
            return [forbidden(f"{path}.items", "items must be a schema object and not an array")]
        for name in ("items", "not"):
            if raw.get(name) is not None:
                found += self._shape(raw[name], f"{path}.{name}")
        additional = raw.get("additionalProperties")
        if additional is not None and not isinstance(additional, bool):
            found += self._shape(additional, f"{path}.additionalProperties")
        for name in ("allOf", "anyOf", "oneOf"):
            for index, each in enumerate(raw.get(name) or ()):
                found += self._shape(each, f"{path}.{name}[{index}]")
        return found

    # --- fields -------------------------------------------------------------------------------------------------------

    def _schema(
        self,
        node: Node,
        path: str,
        *,
        cardinality: Cardinality,
        root: bool = False,
        judge_rules: bool = True,
        in_meta: bool = False,
        no_defaults: str | None = None,
        uncorrelated: str = "",
    ) -> list[FieldError]:
        raw = node.raw
        found = self._fields(node, path, in_meta, no_defaults)
        if node.additional is not None:
            if node.properties:
                found.append(
                    forbidden(
                        f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive"
                    )
                )
            reason = "inside additionalProperties applying to object metadata" if in_meta else no_defaults
            more = below(cardinality, raw.get("maxProperties"))
            found += self._schema(
                node.additional,
                f"{path}.additionalProperties",
                cardinality=more,
                judge_rules=judge_rules,
                in_meta=in_meta,
                no_defaults=reason,
                uncorrelated=uncorrelated,
            )
        for name, each in node.properties.items():
            inside = in_meta or ((root or node.embedded) and name in META_FIELDS)
            reason = f"in top-level {name}" if root and name in META_FIELDS else no_defaults
            loose = uncorrelated or (path if node.map_type == "atomic" else "")
            found += self._schema(
                each,
                f"{path}.properties[{name}]",
                cardinality=cardinality,
                judge_rules=judge_rules,
                in_meta=inside,
                no_defaults=reason,
                uncorrelated=loose,
            )
        for name, conditions in (("allOf", node.all_of), ("oneOf", node.one_of), ("anyOf", node.any_of)):
            for index, each in enumerate(conditions):
                found += self._schema(
                    each, f"{path}.{name}[{index}]", cardinality=None, judge_rules=False, no_defaults=no_defaults
                )
        if node.not_ is not None:
            found += self._schema(
                node.not_, f"{path}.not", cardinality=None, judge_rules=False, no_defaults=no_defaults
            )
        if node.items is not None:
            loose = uncorrelated or ("" if node.list_type == "map" else path)
            more = below(cardinality, raw.get("maxItems"))
            found += self._schema(
                node.items,
                f"{path}.items",
                cardinality=more,
                judge_rules=judge_rules,
                in_meta=in_meta,
                no_defaults=no_defaults,
                uncorrelated=loose,
            )
        found += check_merging(node, path)
        if node.validations:
            found += [
                cause for index, rule in enumerate(node.validations) for cause in check_form(rule, index, node, path)
            ]
            if judge_rules and not found:
                self._rules.check(node, path, cardinality, root=root, uncorrelated=uncorrelated)
        return found

    def _fields(self, node: Node, path: str, in_meta: bool, no_defaults: str | None) -> list[FieldError]:
        raw = node.raw
        found = []
        if node.type and node.type not in _TYPES:
            found.append(unsupported(f"{path}.type", node.type, _TYPES))
        if node.has_default and no_defaults is not None:
            found.append(forbidden(f"{path}.default", f"must not be set {no_defaults}"))
        for name in _UNSUPPORTED:
            if raw.get(name):
                found.append(forbidden(f"{path}.{name}", f"{name} is not supported"))
        if node.type == "null":
            text = "type cannot be set to null, use nullable as an alternative"
            found.append(forbidden(f"{path}.type", text))
        if in_meta and node.embedded:
            text = "must not be used inside of resource meta"
            found.append(forbidden(f"{path}.x-kubernetes-embedded-resource", text))
        if raw.get("uniqueItems"):
            text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
            found.append(forbidden(f"{path}.uniqueItems", text))
        return found


def _go_name(name: str) -> str:
    words = name.removeprefix("x-kubernetes-").split("-")
    prefix = "X" if name.startswith("x-") else ""
    return prefix + "".join(word[:1].upper() + word[1:] for word in words)
