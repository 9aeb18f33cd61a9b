"""What a schema must be to be structural, and what else of it is refused: fields, defaults, CEL rules and their cost.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/ says the rules:
structure is told outside of ``allOf`` and its like, every place has a type, defaults fit, rules are affordable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shim import cel
from shim.api.status import FieldError
from shim.cel.patterns import PatternError, pattern
from shim.resources.causes import forbidden, invalid, required, unsupported
from shim.resources.custom import rules, values
from shim.resources.custom.declare import REQUEST, Declared, declare
from shim.resources.custom.fieldpath import PathProblem, resolve
from shim.resources.custom.structure import META_FIELDS, Node, Raw

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_RULE_COST, _SCHEMA_COST = 10_000_000, 100_000_000
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_STRUCTURAL_ONLY = {  # what conditions may not say
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_AT_ROOT_WITH_STATUS = (
    "description type format title maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern "
    "maxItems minItems uniqueItems multipleOf required items properties externalDocs example "
    "x-kubernetes-preserve-unknown-fields x-kubernetes-validations"
).split()


class SchemaCheck:
    """Judges one schema. ``unchanged``: it was accepted before, so that its costs are not counted again."""

    def __init__(self, path: str, raw: Raw, *, has_status: bool, unchanged: bool) -> None:
        self._path, self._raw, self._unchanged = path, raw, unchanged
        self._has_status = has_status
        self._total = 0.0
        self._costs: list[tuple[float, str]] = []
        self._rule_causes: list[FieldError] = []

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
        structural = sorted(_structural(node, path, "root"), key=lambda cause: f"{cause.field}: {cause.message}")
        problems = structural or _defaults(node, path)
        found += problems
        found += self._schema(node, path, cardinality=1.0, root=True, judge_rules=not problems)
        found += self._rule_causes
        if self._total > _SCHEMA_COST and not self._unchanged:
            for _, at in sorted(self._costs, reverse=True)[:4]:
                text = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
                found.append(forbidden(at, text))
            what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
            found.append(forbidden(path, _too_costly(what, self._total, _SCHEMA_COST)))
        return found

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
        cardinality: float | None,
        root: bool = False,
        judge_rules: bool = True,
        in_meta: bool = False,
        no_defaults: str | None = None,
        uncorrelated: str = "",
    ) -> list[FieldError]:
        """``cardinality``: how often the place can be there; None: nobody limits it."""
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
            more = _product(cardinality, raw.get("maxProperties"))
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
            more = _product(cardinality, raw.get("maxItems"))
            found += self._schema(
                node.items,
                f"{path}.items",
                cardinality=more,
                judge_rules=judge_rules,
                in_meta=in_meta,
                no_defaults=no_defaults,
                uncorrelated=loose,
            )
        found += _extensions(node, path)
        if node.validations:
            found += [
                cause for index, rule in enumerate(node.validations) for cause in _rule_form(rule, index, node, path)
            ]
            if judge_rules and not found:
                self._rules(node, path, cardinality, root, uncorrelated)
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

    # --- CEL ----------------------------------------------------------------------------------------------------------

    def _rules(self, node: Node, path: str, cardinality: float | None, root: bool, uncorrelated: str) -> None:
        declared = declare(node, root=root or node.embedded)
        found = self._rule_causes
        if declared is None:
            text = "failed to convert to declType for CEL validation rules"
            found.append(FieldError("InternalError", f"{path}.x-kubernetes-validations", f"Internal error: {text}"))
            return
        plain, optional = rules.environments(declared.type)
        for index, raw in enumerate(node.validations):
            at = f"{path}.x-kubernetes-validations[{index}]"
            environment = optional if raw.get("optionalOldSelf") else plain
            found += self._rule(raw, at, environment, declared, cardinality, uncorrelated)

    def _rule(
        self,
        raw: Raw,
        at: str,
        environment: cel.Environment,
        declared: Declared,
        cardinality: float | None,
        uncorrelated: str,
    ) -> list[FieldError]:
        try:
            program = environment.compile(raw["rule"], cel.BOOL)
        except cel.WrongType:
            return [invalid(f"{at}.rule", _shown(raw), "cel expression must evaluate to a bool")]
        except cel.CompileError as error:
            return [invalid(f"{at}.rule", _shown(raw), f"compilation failed: {error}")]
        found = self._cost(program, f"{at}.rule", "estimated rule cost", declared, cardinality)
        if expression := (raw.get("messageExpression") or ""):
            message = f"{at}.messageExpression"
            try:
                told = environment.compile(expression, cel.STRING)
            except cel.WrongType:
                found.append(invalid(message, _shown(raw), "messageExpression must evaluate to a string"))
            except cel.CompileError as error:
                found.append(invalid(message, _shown(raw), f"messageExpression compilation failed: {error}"))
            else:
                found += self._cost(told, message, "estimated messageExpression cost", declared, 1.0)
        if rules.mentions_old(program):
            if uncorrelated:
                text = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelated}"
                found.append(invalid(f"{at}.rule", raw["rule"], text))
        elif raw.get("optionalOldSelf") is not None:
            text = "may not be set if oldSelf is not used in rule"
            found.append(invalid(f"{at}.optionalOldSelf", raw["optionalOldSelf"], text))
        return found

    def _cost(
        self, program: cel.Program, at: str, what: str, declared: Declared, cardinality: float | None
    ) -> list[FieldError]:
        often = cardinality if cardinality is not None else REQUEST // (declared.least + 1)
        most = cel.estimate(program.checked).high
        cost = most * often if most and often else 0.0
        self._total += cost
        self._costs.append((cost, at))
        if cost > _RULE_COST and not self._unchanged:
            return [forbidden(at, _too_costly(what, cost, _RULE_COST))]
        return []


def _product(cardinality: float | None, most: int | None) -> float | None:
    return None if cardinality is None or most is None else cardinality * max(most, 0)


def _too_costly(what: str, cost: float, limit: float) -> str:
    factor = cost / limit
    if math.isinf(factor) or factor > 100:
        shown = "more than 100x"
    else:
        shown = f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    hint = "try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings "
    hint += "are declared"
    return f"{what} exceeds budget by factor of {shown} ({hint})"


def _shown(raw: Raw) -> Raw:
    """A rule as upstream's messages quote it: its internal struct."""
    return {
        "Rule": raw.get("rule") or "",
        "Message": raw.get("message") or "",
        "MessageExpression": raw.get("messageExpression") or "",
        "Reason": raw.get("reason"),
        "FieldPath": raw.get("fieldPath") or "",
        "OptionalOldSelf": raw.get("optionalOldSelf"),
    }


def _go_name(name: str) -> str:
    words = name.removeprefix("x-kubernetes-").split("-")
    prefix = "X" if name.startswith("x-") else ""
    return prefix + "".join(word[:1].upper() + word[1:] for word in words)


def _rule_form(rule: Raw, index: int, node: Node, path: str) -> list[FieldError]:
    """What a rule must be before it is compiled."""
    at = f"{path}.x-kubernetes-validations[{index}]"
    text, message = rule.get("rule") or "", rule.get("message") or ""
    expression, field = rule.get("messageExpression") or "", rule.get("fieldPath") or ""
    found = []
    if not text.strip():
        found.append(required(f"{at}.rule", "rule is not specified"))
    elif message and not message.strip():
        found.append(invalid(f"{at}.message", message, "must be non-empty if specified"))
    elif "\n" in message.strip() or "\r" in message.strip():
        found.append(invalid(f"{at}.message", message, "must not contain line breaks"))
    elif ("\n" in text.strip() or "\r" in text.strip()) and not message.strip():
        found.append(required(f"{at}.message", "message must be specified if rule contains line breaks"))
    if expression and not expression.strip():
        found.append(required(f"{at}.messageExpression", "messageExpression must be non-empty if specified"))
    if rule.get("reason") is not None and rule["reason"] not in _REASONS:
        found.append(unsupported(f"{at}.reason", rule["reason"], _REASONS))
    if field:
        if not field.strip():
            found.append(invalid(f"{at}.fieldPath", field, "must be non-empty if specified"))
        if "\n" in field or "\r" in field:
            found.append(invalid(f"{at}.fieldPath", field, "must not contain line breaks"))
        try:
            resolve(field, node)
        except PathProblem:
            found.append(invalid(f"{at}.fieldPath", field, "must be a valid path"))
    return found


# --- lists and maps ---------------------------------------------------------------------------------------------------


def _extensions(node: Node, path: str) -> list[FieldError]:
    raw, found = node.raw, []
    if raw.get("x-kubernetes-preserve-unknown-fields") is False:
        at = f"{path}.x-kubernetes-preserve-unknown-fields"
        found.append(invalid(at, False, "must be true or undefined"))
    if node.map_type:
        found += _needs_type(node, path, "object", "x-kubernetes-map-type")
        if node.map_type not in ("atomic", "granular"):
            found.append(unsupported(f"{path}.x-kubernetes-map-type", node.map_type, ("atomic", "granular")))
    if node.list_type:
        found += _needs_type(node, path, "array", "x-kubernetes-list-type")
        if node.list_type == "set" and node.type == "array" and node.items is not None:
            text, items = "must be atomic as item of a list with x-kubernetes-list-type=set", node.items
            if items.type == "array" and items.list_type not in ("", "atomic"):
                found.append(invalid(f"{path}.items.x-kubernetes-list-type", items.list_type, text))
            if items.type == "object" and items.map_type != "atomic":
                found.append(invalid(f"{path}.items.x-kubernetes-map-type", items.list_type or None, text))
        if node.list_type not in ("atomic", "set", "map"):
            found.append(unsupported(f"{path}.x-kubernetes-list-type", node.list_type, ("atomic", "set", "map")))
    if node.list_keys and node.list_type != "map":
        at, text = f"{path}.x-kubernetes-list-type", "must be map if x-kubernetes-list-map-keys is non-empty"
        found.append(invalid(at, node.list_type, text) if node.list_type else required(at, text))
    if node.list_type == "map":
        found += _keyed(node, path)
    if node.list_type in ("set", "map") and node.items is not None:
        found += _items_of_keyed(node, path)
    return found


def _needs_type(node: Node, path: str, type: str, extension: str) -> list[FieldError]:
    if node.type == type:
        return []
    text = f"must be {type} if {extension} is specified"
    return [invalid(f"{path}.type", node.type, text) if node.type else required(f"{path}.type", text)]


def _keyed(node: Node, path: str) -> list[FieldError]:
    found = []
    at = f"{path}.x-kubernetes-list-map-keys"
    if not node.list_keys:
        found.append(required(at, "must not be empty if x-kubernetes-list-type is map"))
    if node.items is None:
        return [*found, required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")]
    if node.items.type != "object":
        text = "must be object if parent array's x-kubernetes-list-type is map"
        return [*found, invalid(f"{path}.items.type", node.items.type, text)]
    for index, key in enumerate(node.list_keys):
        below = node.items.properties.get(key)
        if below is None:
            found.append(invalid(at, list(node.list_keys), "entries must all be names of item properties"))
        elif below.type in ("array", "object"):
            text = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            found.append(invalid(f"{path}.items.properties[{key}].type", node.items.type, text))
        if key in node.list_keys[:index]:
            found.append(invalid(at, list(node.list_keys), "must not contain duplicate entries"))
    return found


def _items_of_keyed(node: Node, path: str) -> list[FieldError]:
    items = node.items
    assert items is not None
    found = []
    if items.nullable:
        text = f"cannot be nullable when x-kubernetes-list-type is {node.list_type}"
        found.append(forbidden(f"{path}.items.nullable", text))
    for key in node.list_keys if node.list_type == "map" else ():
        below = items.properties.get(key)
        if below is None:
            continue
        at = f"{path}.items.properties[{key}]"
        why = "this property is in x-kubernetes-list-map-keys, so it"
        if key not in (items.raw.get("required") or ()) and not below.has_default:
            found.append(required(f"{at}.default", f"{why} must have a default or be a required property"))
        if below.nullable:
            found.append(forbidden(f"{at}.nullable", f"{why} cannot be nullable"))
    return found


# --- structure --------------------------------------------------------------------------------------------------------

_UNTYPED = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}


def _structural(node: Node, path: str, level: str) -> list[FieldError]:
    found: list[FieldError] = []
    if node.type == "array" and node.items is None:
        found.append(required(f"{path}.items", "must be specified"))
    if node.items is not None:
        found += _structural(node.items, f"{path}.items", "item")
    for name, each in node.properties.items():
        found += _structural(each, f"{path}.properties[{name}]", "field")
    if node.additional_set:
        if level == "root":
            found.append(forbidden(f"{path}.additionalProperties", "must not be used at the root"))
        if node.additional is not None:
            found += _structural(node.additional, f"{path}.additionalProperties", "field")
    if node.int_or_string:
        for name, set_ in (("preserve-unknown-fields", node.preserve), ("embedded-resource", node.embedded)):
            if set_:
                text = "must be false if x-kubernetes-int-or-string is true"
                found.append(invalid(f"{path}.x-kubernetes-{name}", True, text))
    found += _conditions(node, path, node.int_or_string)
    found += _complete(node, node, path)
    if node.embedded and node.type != "object":
        text = "must be object if x-kubernetes-embedded-resource is true"
        found.append(invalid(f"{path}.type", node.type, text) if node.type else required(f"{path}.type", text))
    elif not node.type and not node.int_or_string and not node.preserve:
        found.append(required(f"{path}.type", _UNTYPED[level]))
    if node.embedded and node.additional_set:
        text = "must not be used if x-kubernetes-embedded-resource is set"
        found.append(forbidden(f"{path}.additionalProperties", text))
    if level == "root" and node.type and node.type != "object":
        found.append(invalid(f"{path}.type", node.type, "must be object at the root"))
    if level == "root" or node.embedded:
        found += _meta(node, path, level)
    if node.embedded and not node.preserve and not node.properties:
        text = (
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        )
        found.append(required(f"{path}.properties", text))
    return found


def _meta(node: Node, path: str, level: str) -> list[FieldError]:
    found = []
    for name in ("kind", "apiVersion"):
        below = node.properties.get(name)
        if below is not None and below.type != "string":
            found.append(invalid(f"{path}.properties[{name}].type", below.type, "must be string"))
    below = node.properties.get("metadata")
    if below is None:
        return found
    at = f"{path}.properties[metadata]"
    if below.type != "object":
        found.append(invalid(f"{at}.type", below.type, "must be object"))
    extra = {name for name, value in below.raw.items() if value} - {"type", "default", "description", "properties"}
    if level == "root" and (extra or below.raw.get("description") or set(below.properties) - {"name", "generateName"}):
        text = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        found.append(forbidden(at, text))
    return found


def _conditions(node: Node, path: str, int_or_string: bool) -> list[FieldError]:
    raw = node.raw
    found: list[FieldError] = []
    plain = int_or_string and raw.get("anyOf") == _INT_OR_STRING
    for name, conditions in (("anyOf", () if plain else node.any_of), ("allOf", node.all_of), ("oneOf", node.one_of)):
        for index, each in enumerate(conditions):
            first = name == "allOf" and not index and int_or_string
            found += _nested(each, f"{path}.{name}[{index}]", first)
    if node.not_ is not None:
        found += _nested(node.not_, f"{path}.not", False)
    if expression := raw.get("pattern"):
        try:
            pattern(expression)
        except PatternError as error:
            text = f"must be a valid regular expression, but isn't: {error}"
            found.append(invalid(f"{path}.pattern", expression, text))
    return found


def _nested(node: Node, path: str, int_or_string: bool) -> list[FieldError]:
    """A condition: it may ask for values, and say nothing of structure."""
    found = _conditions(node, path, int_or_string)
    if node.items is not None:
        found += _nested(node.items, f"{path}.items", False)
    for name, each in node.properties.items():
        found += _nested(each, f"{path}.properties[{name}]", False)
    for name, text in _STRUCTURAL_ONLY.items():
        if node.raw.get(name) not in (None, False, "", []):
            found.append(forbidden(f"{path}.{name}", text))
    if "metadata" in node.properties:
        found.append(forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context"))
    return found


def _complete(spine: Node, node: Node, path: str) -> list[FieldError]:
    """What conditions name must stand outside of them too."""
    found: list[FieldError] = []
    conditions = [*node.any_of, *node.all_of, *node.one_of, *filter(None, (node.not_,))]
    for each in conditions:
        found += _known(spine, each, path)
    return found


def _known(spine: Node | None, condition: Node, path: str) -> list[FieldError]:
    if spine is None:
        return [required(path, "because it is defined in a nested condition")]
    found: list[FieldError] = []
    for name, each in condition.properties.items():
        below = spine.properties.get(name)
        at = f"{path}.properties[{name}]"
        if below is None:
            if not spine.preserve and spine.additional is None:
                found.append(required(at, f"because it is defined in {path}"))
            continue
        found += _known(below, each, at)
    if condition.items is not None:
        if spine.items is None:
            found.append(required(f"{path}.items", f"because it is defined in {path}"))
        else:
            found += _known(spine.items, condition.items, f"{path}.items")
    return found + _complete(spine, condition, path) if condition.all_of or condition.any_of else found


# --- defaults ---------------------------------------------------------------------------------------------------------


def _defaults(node: Node, path: str) -> list[FieldError]:
    """Defaults that do not fit their own schema."""
    found: list[FieldError] = []
    if node.has_default:
        at = f"{path}.default"
        if _has_unknown(node, node.default):
            found.append(invalid(at, node.default, "must not have unknown fields"))
        elif problems := values.check(node, node.default, path=at):
            found += problems
        else:
            place = rules.build(node)
            found += rules.check(place, node.default, path=at, root=False) if place else []
    if node.items is not None:
        found += _defaults(node.items, f"{path}.items")
    for name, each in node.properties.items():
        found += _defaults(each, f"{path}.properties[{name}]")
    return found


def _has_unknown(node: Node | None, value: Any) -> bool:
    if isinstance(value, list):
        return any(_has_unknown(node.items if node else None, item) for item in value)
    if not isinstance(value, dict):
        return False
    if node is None:
        return bool(value)
    for name, item in value.items():
        if node.embedded and name in META_FIELDS:
            continue
        below = node.properties.get(name)
        if below is None and not node.additional_set:
            if not node.preserve:
                return True
            continue
        if _has_unknown(below or node.additional, item):
            return True
    return False
