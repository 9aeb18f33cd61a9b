"""What must the CEL rules of a schema be, and what may they cost? Each alone, and all of a schema together.

Costs are estimated from what the schema says of sizes (KEP-2876): a rule below a list without ``maxItems`` may have
to run as often as a request has room for items.
"""

from __future__ import annotations

import math

from shim import cel
from shim.api.status import FieldError
from shim.resources.causes import forbidden, internal, invalid, required, unsupported
from shim.resources.custom import rules
from shim.resources.custom.declare import REQUEST, Declared, declare
from shim.resources.custom.fieldpath import PathProblem, resolve
from shim.resources.custom.schema_text import go_rule
from shim.resources.custom.structure import Node, Raw

_RULE_COST, _SCHEMA_COST = 10_000_000, 100_000_000
_WORST = 4  # rules that are named when all of a schema together cost too much
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")

Cardinality = float | None
"""How often a place can be there in one object; None: nobody limits it."""


def below(cardinality: Cardinality, most: int | None) -> Cardinality:
    """Of the items of a list, or the values of a map, that has at most so many."""
    return None if cardinality is None or most is None else cardinality * max(most, 0)


class RuleChecks:
    """Judges rules, and adds up what they cost. ``unchanged``: they were accepted before, and may cost what they do."""

    def __init__(self, *, unchanged: bool) -> None:
        self.causes: list[FieldError] = []
        self._unchanged = unchanged
        self._total = 0.0
        self._costs: list[tuple[float, str]] = []

    def check(self, node: Node, path: str, cardinality: Cardinality, *, root: bool, uncorrelated: str) -> None:
        """Judge the rules of one place. ``uncorrelated``: the list or map within which no old value is known, or ""."""
        declared = declare(node, root=root or node.embedded)
        found = self.causes
        if declared is None:
            why = "failed to convert to declType for CEL validation rules"
            found.append(internal(f"{path}.x-kubernetes-validations", why))
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
        cardinality: Cardinality,
        uncorrelated: str,
    ) -> list[FieldError]:
        try:
            program = environment.compile(raw["rule"], cel.BOOL)
        except cel.WrongType:
            return [invalid(f"{at}.rule", go_rule(raw), "cel expression must evaluate to a bool")]
        except cel.CompileError as error:
            return [invalid(f"{at}.rule", go_rule(raw), error.told)]
        found = self._cost(program, f"{at}.rule", "estimated rule cost", declared, cardinality)
        if expression := (raw.get("messageExpression") or ""):
            message = f"{at}.messageExpression"
            try:
                told = environment.compile(expression, cel.STRING)
            except cel.WrongType:
                found.append(invalid(message, go_rule(raw), "messageExpression must evaluate to a string"))
            except cel.CompileError as error:
                found.append(invalid(message, go_rule(raw), f"messageExpression {error.told}"))
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
        self, program: cel.Program, at: str, what: str, declared: Declared, cardinality: Cardinality
    ) -> list[FieldError]:
        often = cardinality if cardinality is not None else REQUEST // (declared.least + 1)
        most = cel.estimate(program.checked, of_schema=True).high
        cost = most * often if most and often else 0.0
        self._total += cost
        if cost >= _SCHEMA_COST / 100:  # less is not worth being named
            self._costs.append((cost, at))
        if cost > _RULE_COST and not self._unchanged:
            return [forbidden(at, _too_costly(what, cost, _RULE_COST))]
        return []

    def check_total(self, path: str) -> list[FieldError]:
        """Whether all rules of the schema at this path cost too much together."""
        total = self._total
        if total <= _SCHEMA_COST or self._unchanged:
            return []
        text = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        found = [forbidden(at, text) for _, at in sorted(self._costs, key=lambda each: -each[0])[:_WORST]]
        what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        return [*found, forbidden(path, _too_costly(what, total, _SCHEMA_COST))]


def check_form(rule: Raw, index: int, node: Node, path: str) -> list[FieldError]:
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


def _too_costly(what: str, cost: float, limit: float) -> str:
    factor = cost / limit
    if math.isinf(factor) or factor > 100:
        shown = "more than 100x"
    else:
        shown = f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    hint = "try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings "
    hint += "are declared"
    return f"{what} exceeds budget by factor of {shown} ({hint})"
