"""What must hold of ResourceQuotas and LimitRanges."""

from __future__ import annotations

from shim.api import names
from shim.api.meta import Object
from shim.api.quantity import Quantity
from shim.api.status import FieldError
from shim.resources.amounts import amount
from shim.resources.causes import IMMUTABLE, duplicate, forbidden, invalid, named, required
from shim.resources.pods.amounts import (
    STANDARD,
    container_resource,
    is_huge_page,
    may_overcommit,
    quantity,
    resource_name,
)

_QUOTA_RESOURCES = frozenset(STANDARD) - {"storage"}
_PODS = frozenset(("pods",))
_COMPUTE = _PODS | {"cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"}
_SCOPES = {
    # what each scope can be a limit of
    "BestEffort": _PODS,
    "CrossNamespacePodAffinity": _COMPUTE,
    "NotBestEffort": _COMPUTE,
    "NotTerminating": _COMPUTE,
    "PriorityClass": _COMPUTE,
    "Terminating": _COMPUTE,
    "VolumeAttributesClass": frozenset(("persistentvolumeclaims", "requests.storage")),
}
_OPPOSITES = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
_WITHOUT_VALUES = frozenset(_SCOPES) - {"PriorityClass", "VolumeAttributesClass"}
_MUST_EXIST = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


def resource_quota(obj: Object) -> list[FieldError]:
    spec = obj.get("spec") or {}
    hard = spec.get("hard") or {}
    causes = _quota_amounts("spec.hard", hard)
    scopes = spec.get("scopes") or []
    for scope in scopes:
        if scope not in _SCOPES:
            causes.append(invalid("spec.scopes", scopes, "unsupported scope"))
        for _ in _beyond(scope, hard):
            causes.append(invalid("spec.scopes", scopes, "unsupported scope applied to resource"))
    causes += _conflicts("spec.scopes", scopes, scopes)
    if spec.get("scopeSelector") is not None:
        causes += _scope_selector("spec.scopeSelector.matchExpressions", spec["scopeSelector"], hard, scopes)
    return causes


def quota_status(obj: Object) -> list[FieldError]:
    status = obj.get("status") or {}
    return _quota_amounts("status.hard", status.get("hard") or {}) + _quota_amounts(
        "status.used", status.get("used") or {}
    )


def resource_quota_change(new: Object, old: Object) -> list[FieldError]:
    scopes = (new.get("spec") or {}).get("scopes")
    if set(scopes or ()) != set((old.get("spec") or {}).get("scopes") or ()):
        return [invalid("spec.scopes", scopes, IMMUTABLE)]
    return []


def _quota_amounts(at: str, amounts: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for name, text in amounts.items():
        here = f"{at}[{name}]"
        causes += resource_name(here, name)
        if "/" not in name and not _counts(name):
            causes.append(invalid(here, name, "must be a standard resource for quota"))
        causes += quantity(here, name, text)
    return causes


def _counts(name: str) -> bool:
    return name in _QUOTA_RESOURCES or is_huge_page(name.removeprefix("requests."))


def _beyond(scope: str, hard: Object) -> list[str]:
    """The resources that have no such scope."""
    allowed = _SCOPES.get(scope)
    return [] if allowed is None else [name for name in sorted(hard) if _counts(name) and name not in allowed]


def _conflicts(at: str, found: list[str], shown: list[str]) -> list[FieldError]:
    return [invalid(at, shown or None, "conflicting scopes") for pair in _OPPOSITES if set(pair) <= set(found)]


def _scope_selector(at: str, selector: Object, hard: Object, scopes: list[str]) -> list[FieldError]:
    causes: list[FieldError] = []
    expressions = selector.get("matchExpressions") or []
    for each in expressions:
        scope, operator, values = each.get("scopeName") or "", each.get("operator") or "", each.get("values") or []
        if scope not in _SCOPES:
            causes.append(invalid(f"{at}.scopeName", scope, "unsupported scope"))
        for _ in _beyond(scope, hard):
            as_go = [
                {"ScopeName": of.get("scopeName"), "Operator": of.get("operator"), "Values": of.get("values")}
                for of in expressions
            ]
            causes.append(invalid(at, {"MatchExpressions": as_go}, "unsupported scope applied to resource"))
        if scope in _WITHOUT_VALUES and operator != "Exists":
            causes.append(invalid(f"{at}.operator", operator, _MUST_EXIST))
        if operator in ("In", "NotIn"):
            if not values:
                text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                causes.append(required(f"{at}.values", text))
        elif operator not in ("Exists", "DoesNotExist"):
            causes.append(invalid(f"{at}.operator", operator, "not a valid selector operator"))
        elif values:
            text = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            causes.append(invalid(f"{at}.values", values, text))
    return causes + _conflicts(at, [each.get("scopeName") or "" for each in expressions], scopes)


_LIMIT_TYPES = ("Pod", "Container", "PersistentVolumeClaim")
_BOUNDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


def limit_range(obj: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    kinds: set[str] = set()
    for index, limit in enumerate((obj.get("spec") or {}).get("limits") or ()):
        at, kind = f"spec.limits[{index}]", limit.get("type") or ""
        found = named(f"{at}.type", kind, names.qualified_name)
        if not found and "/" not in kind and kind not in _LIMIT_TYPES:
            found = [invalid(f"{at}.type", kind, "must be a standard limit type or fully qualified")]
        causes += found
        if kind in kinds:
            causes.append(duplicate(f"{at}.type", kind))
        kinds.add(kind)
        causes += _limits(at, kind, limit)
    return causes


def _limits(at: str, kind: str, limit: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    rule = container_resource if kind in ("Pod", "Container") else resource_name
    bounds: dict[str, dict[str, Quantity]] = {}
    for field in _BOUNDS:
        bounded = any("storage" in (limit.get(bound) or ()) for bound in ("min", "max"))
        if field == "maxLimitRequestRatio" and kind == "PersistentVolumeClaim" and not bounded:
            text = "either minimum or maximum storage value is required, but neither was provided"
            causes.append(required(f"{at}.limits", text))
        amounts = limit.get(field) or {}
        if kind == "Pod" and field in ("default", "defaultRequest"):
            if amounts:
                causes.append(forbidden(f"{at}.{field}", "may not be specified when `type` is 'Pod'"))
            amounts = {}
        for name in amounts:
            causes += rule(f"{at}.{field}[{name}]", name)
        bounds[field] = {name: amount(text) for name, text in amounts.items()}
    for name in dict.fromkeys(name for values in bounds.values() for name in values):
        causes += _limit(at, name, {field: values.get(name) for field, values in bounds.items()})
    return causes


_ORDER = (
    # the lower, the higher; which of them is blamed, and which is shown
    ("min", "max", "min", "min"),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "default", "defaultRequest", "defaultRequest"),
    ("min", "default", "default", "min"),
    ("default", "max", "default", "max"),
)
_WORDS = {"defaultRequest": "default request"}


def _limit(at: str, name: str, of: dict[str, Quantity | None]) -> list[FieldError]:
    """One resource's bounds and defaults must be in order."""
    causes: list[FieldError] = []
    for lower, higher, blamed, displayed in _ORDER:
        low, high = of[lower], of[higher]
        if low is not None and high is not None and low > high:
            words = "default limit" if (lower, higher) == ("defaultRequest", "default") else _WORDS.get(higher, higher)
            text = f"{_WORDS.get(lower, lower)} value {low} is greater than {words} value {high}"
            causes.append(invalid(f"{at}.{blamed}[{name}]", str(of[displayed]), text))
    ratio, least, most = of["maxLimitRequestRatio"], of["min"], of["max"]
    if ratio is not None:
        here = f"{at}.maxLimitRequestRatio[{name}]"
        if ratio.nanos < 10**9:
            causes.append(invalid(here, str(ratio), f"ratio {ratio} is less than 1"))
        if least is not None and most is not None:
            greatest = most.nanos / least.nanos if least.nanos else float("inf")
            if ratio.nanos / 10**9 > greatest:
                text = f"ratio {ratio} is greater than max/min = {greatest:f}"
                causes.append(invalid(here, str(ratio), text))
    default, request = of["default"], of["defaultRequest"]
    if not may_overcommit(name) and default is not None and request is not None and default != request:
        text = f"default value {default} must equal to defaultRequest value {request} in {name}"
        causes.append(invalid(f"{at}.defaultRequest[{name}]", str(request), text))
    return causes
