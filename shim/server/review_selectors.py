"""Selectors in questions about access (KEP-4601): which lists may a user see? A text, or requirements one by one.

What an authorizer cannot understand of them is left out, which asks for more than was meant, and is told.
"""

from __future__ import annotations

from collections.abc import Iterator

from shim.api import selectors
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import invalid, required, selector_requirement
from shim.server.selection import equalities

_KINDS = ("fieldSelector", "labelSelector")
_LABELS = ("In", "NotIn", "Exists", "DoesNotExist")
_FIELDS = ("In", "NotIn")


def check(attributes: Object) -> list[FieldError]:
    """What is wrong with the selectors of ``resourceAttributes``. New operators are no mistake."""
    causes: list[FieldError] = []
    for kind in _KINDS:
        selector, path = attributes.get(kind), f"spec.resourceAttributes.{kind}"
        if selector is None:
            continue
        raw, requirements = selector.get("rawSelector"), selector.get("requirements")
        if raw and requirements:
            text = "may not specified at the same time as requirements"
            causes.append(invalid(f"{path}.rawSelector", raw, text))
        if not raw and not requirements:
            text = f"when {path} is specified, requirements or rawSelector is required"
            causes.append(required(f"{path}.requirements", text))
        for index, each in enumerate(requirements or ()):
            causes += _requirement(f"{path}.requirements[{index}]", each, kind)
    return causes


def _requirement(at: str, each: Object, kind: str) -> list[FieldError]:
    if kind == "labelSelector":
        found = selector_requirement(at, each)
    else:
        found = [] if each.get("key") else [required(f"{at}.key", "must be specified")]
        told = selector_requirement(at, {**each, "key": "key"})
        found += [cause for cause in told if cause.field == f"{at}.values"]
    return [cause for cause in found if cause.field != f"{at}.operator"]


def wanted_fields(attributes: Object) -> tuple[tuple[str, str], ...]:
    """The fields that must have one value, with it: what authorisation looks at."""
    selector = attributes.get("fieldSelector") or {}
    asked = (each for each in selector.get("requirements") or () if each.get("operator") == "In")
    return equalities(selector.get("rawSelector") or "") + tuple(
        (each.get("key", ""), each["values"][0]) for each in asked if len(each.get("values") or ()) == 1
    )


def ignored(attributes: Object) -> str:
    """What of the selectors was left out, as ``status.evaluationError`` says it; "" when nothing was."""
    return "; ".join(
        f"spec.resourceAttributes.{kind} {how}ignored due to parse error"
        for kind in _KINDS
        for how in _left_out(attributes.get(kind) or {}, kind)
    )


def _left_out(selector: Object, kind: str) -> Iterator[str]:
    if raw := selector.get("rawSelector"):
        try:
            (selectors.parse_fields if kind == "fieldSelector" else selectors.parse)(raw)
        except selectors.SelectorError:
            yield ""
        return
    requirements = selector.get("requirements") or ()
    understood = [_is_understood(each, kind) for each in requirements]
    if not all(understood):
        yield "partially " if any(understood) else ""


def _is_understood(each: Object, kind: str) -> bool:
    if kind == "fieldSelector":  # whose own form has one value
        return each.get("operator") in _FIELDS and len(each.get("values") or ()) == 1
    return each.get("operator") in _LABELS
