"""When a Job has failed or succeeded before all its pods are done: its two policies (KEP-3329, KEP-3998)."""

from __future__ import annotations

from typing import Any

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import (
    as_go,
    duplicate,
    invalid,
    invalid_without_value,
    named,
    not_negative,
    one_of,
    required,
    too_long,
    too_many,
)

_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_STATUSES = ("False", "True", "Unknown")
_MAX_RULES = _MAX_PATTERNS = 20
_MAX_CODES = 255
_MAX_INDEXES_TEXT = 64 * 1024


def printed(field: str, value: Any) -> Any:
    """A field of a Job's spec as Go prints it in a message: the policies are structs without JSON names."""
    if value is None or field not in ("podFailurePolicy", "successPolicy"):
        return value
    rules: list[Object | None] = []
    if field == "successPolicy":
        rules = [as_go(rule, "succeededIndexes", "succeededCount") for rule in value.get("rules") or ()]
        return {"Rules": rules or value.get("rules")}
    for rule in value.get("rules") or ():
        codes = as_go(rule.get("onExitCodes"), "containerName", "operator", "values")
        patterns = [as_go(pattern, "type", "status") for pattern in rule.get("onPodConditions") or ()] or None
        rules.append({"Action": rule.get("action") or "", "OnExitCodes": codes, "OnPodConditions": patterns})
    return {"Rules": rules or None}


def failure(at: str, spec: Object) -> list[FieldError]:
    rules = spec["podFailurePolicy"].get("rules") or []
    causes = [too_many(at, len(rules), _MAX_RULES)] if len(rules) > _MAX_RULES else []
    inner = (spec.get("template") or {}).get("spec") or {}
    known = {each.get("name") for field in ("containers", "initContainers") for each in inner.get(field) or ()}
    for index, rule in enumerate(rules):
        here, action = f"{at}[{index}]", rule.get("action") or ""
        causes += _choice(f"{here}.action", action, _ACTIONS)
        if action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            causes.append(invalid(f"{here}.action", action, "requires the backoffLimitPerIndex to be set"))
        codes, patterns = rule.get("onExitCodes"), rule.get("onPodConditions") or []
        if codes is not None:
            causes += _exit_codes(f"{here}.onExitCodes", codes, known)
        if len(patterns) > _MAX_PATTERNS:
            causes.append(too_many(f"{here}.onPodConditions", len(patterns), _MAX_PATTERNS))
        for pattern_index, pattern in enumerate(patterns):
            place = f"{here}.onPodConditions[{pattern_index}]"
            causes += named(f"{place}.type", pattern.get("type") or "", names.qualified_name)
            causes += _choice(f"{place}.status", pattern.get("status") or "", _STATUSES)
        if codes is not None and patterns:
            text = "specifying both OnExitCodes and OnPodConditions is not supported"
            causes.append(invalid_without_value(here, text))
        if codes is None and not patterns:
            text = "specifying one of OnExitCodes and OnPodConditions is required"
            causes.append(invalid_without_value(here, text))
    return causes


def _choice(at: str, value: str, known: tuple[str, ...]) -> list[FieldError]:
    if not value:
        return [required(at, f"valid values: [{' '.join(map(_quoted, known))}]")]
    return one_of(at, value, known)


def _quoted(text: str) -> str:
    return f'"{text}"'


def _exit_codes(at: str, codes: Object, known: set[str]) -> list[FieldError]:
    operator, values = codes.get("operator") or "", codes.get("values") or []
    causes = _choice(f"{at}.operator", operator, ("In", "NotIn"))
    container = codes.get("containerName")
    if container is not None and container not in known:
        text = "must be one of the container or initContainer names in the pod template"
        causes.append(invalid(f"{at}.containerName", container, text))
    if not values:
        causes.append(invalid(f"{at}.values", codes.get("values"), "at least one value is required"))
    elif len(values) > _MAX_CODES:
        causes.append(too_many(f"{at}.values", len(values), _MAX_CODES))
    seen: set[int] = set()
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            causes.append(invalid(f"{at}.values[{index}]", value, "must not be 0 for the In operator"))
        if value in seen:
            causes.append(duplicate(f"{at}.values[{index}]", value))
        seen.add(value)
    if values != sorted(values):
        causes.append(invalid(f"{at}.values", values, "must be ordered"))
    return causes


def success(at: str, spec: Object) -> list[FieldError]:
    policy, completions = spec["successPolicy"], spec.get("completions")
    if spec.get("completionMode") != "Indexed":
        return [invalid(at, printed("successPolicy", policy), "requires indexed completion mode")]
    rules, at = policy.get("rules") or [], f"{at}.rules"
    causes: list[FieldError] = []
    if not rules:
        text = "at least one rules must be specified when the successPolicy is specified"
        causes.append(required(at, text))
    if len(rules) > _MAX_RULES:
        causes.append(too_many(at, len(rules), _MAX_RULES))
    if completions is None:  # said already, and nothing can be counted without
        return causes
    for index, rule in enumerate(rules):
        causes += _success_rule(f"{at}[{index}]", rule, completions)
    return causes


def _success_rule(at: str, rule: Object, completions: int) -> list[FieldError]:
    wanted, text, total = rule.get("succeededCount"), rule.get("succeededIndexes"), 0
    causes: list[FieldError] = []
    if wanted is None and text is None:
        causes.append(required(at, "at least one of succeededCount or succeededIndexes must be specified"))
    if text is not None:
        if len(text) > _MAX_INDEXES_TEXT:
            causes.append(too_long(f"{at}.succeededIndexes", _MAX_INDEXES_TEXT))
        try:
            total = count_indexes(text, completions)
        except ValueError as error:
            causes.append(invalid(f"{at}.succeededIndexes", text, f"error parsing succeededIndexes: {error}"))
    if wanted is not None:
        at = f"{at}.succeededCount"
        causes += not_negative(at, wanted)
        limits = [(completions, "the number of specified completions")]
        if text is not None:
            limits.append((total, "the number of indexes in the specified succeededIndexes field"))
        for limit, what in limits:
            if wanted > limit:
                causes.append(invalid(at, wanted, f"must be less than or equal to {limit} ({what})"))
    return causes


def count_indexes(text: str, completions: int) -> int:
    """How many indexes ``1,3-5,7`` means. Raises ValueError in upstream's words."""
    total, last = 0, -1
    for part in text.split(",") if text else ():
        ends = part.split("-")
        if len(ends) > 2:
            rule = "the requirement that an index interval can have at most two parts separated by '-'"
            raise ValueError(f"the fragment {_quoted(part)} violates {rule}")
        low, high = _index(ends[0], completions), _index(ends[-1], completions)
        if len(ends) == 2 and low >= high:
            raise ValueError(f"non-increasing order, previous: {low}, current: {high}")
        if last >= low:
            raise ValueError(f"non-increasing order, previous: {last}, current: {low}")
        total, last = total + high - low + 1, high
    return total


def _index(text: str, completions: int) -> int:
    if not (text.removeprefix("+").isascii() and text.removeprefix("+").isdigit()):
        raise ValueError(f"cannot convert string to integer for index: {_quoted(text)}")
    if int(text) >= completions:
        raise ValueError(f"too large index: {_quoted(text)}")
    return int(text)
