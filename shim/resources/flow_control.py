"""FlowSchemas and PriorityLevelConfigurations: who shares which part of the server's attention (KEP-1040)."""

from __future__ import annotations

import math
from typing import Any

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import (
    as_go,
    duplicate,
    forbidden,
    invalid,
    invalid_without_value,
    named,
    one_of,
    required,
    unsupported,
)
from shim.resources.strategy import Check, Strategy

_SCHEMAS, _LEVELS = "flowschemas", "prioritylevelconfigurations"
_MANDATORY = ("catch-all", "exempt")
_LOWEST_PRECEDENCE = 10_000
_MAX_QUEUES = 10_000_000
_HASH_BITS = 60  # of which a hand of queues is dealt
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_NAMESPACE_INTRO = "each member of this list must be '*' or a DNS-1123 label; "
_ARTICLES = {"ServiceAccount": "serviceAccount", "User": "user", "Group": "group"}
_ROUND_TRIP = "flowcontrol.k8s.io/preserve-zero-concurrency-shares"  # of v1beta3, never of a newer version


def _fill(obj: Object, **values: Any) -> None:
    """Defaults for fields that are missing, or zero where upstream cannot tell the two apart."""
    for field, value in values.items():
        if not obj.get(field):
            obj[field] = value


class _FlowStrategy(Strategy):
    """Upstream asks an update the same as a creation, and nothing of the change."""

    has_status = True
    status_resets = ("spec", "metadata", "metadata.generateName", "metadata.deletionGracePeriodSeconds")
    update_checks = (Check.METADATA, Check.BODY)
    trusts_metadata = True

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return _conditions(new)


def _first_asked(obj: Object) -> tuple[int, str]:
    return obj["spec"]["matchingPrecedence"], obj["metadata"]["name"]


class FlowSchemaStrategy(_FlowStrategy):
    table_order = staticmethod(_first_asked)

    def default(self, obj: Object) -> None:
        _fill(obj.setdefault("spec", {}), matchingPrecedence=1000)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return [*_flow_schema(obj), *_fixed(obj, _SCHEMAS), *_conditions(obj)]


class PriorityLevelStrategy(_FlowStrategy):
    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        for kind, shares in (("exempt", 0), ("limited", 30)):
            level = spec.get(kind)
            if level is None:
                continue
            for field, value in (("nominalConcurrencyShares", shares), ("lendablePercent", 0)):
                if level.get(field) is None:
                    level[field] = value
            queuing = (level.get("limitResponse") or {}).get("queuing")
            if queuing is not None:
                _fill(queuing, queues=64, handSize=8, queueLengthLimit=50)

    def validate_body(self, obj: Object) -> list[FieldError]:
        causes: list[FieldError] = []
        if _ROUND_TRIP in (obj["metadata"].get("annotations") or {}):
            causes.append(forbidden("metadata.annotations", f"annotation '{_ROUND_TRIP}' is forbidden"))
        return [*causes, *_priority_level(obj), *_fixed(obj, _LEVELS), *_conditions(obj)]


def _fixed(obj: Object, resource: str) -> list[FieldError]:
    """The server cannot do without some of them, and knows what they say."""
    name, spec = obj["metadata"].get("name"), obj.get("spec") or {}
    if name not in _MANDATORY:
        return []
    # not at the top: what a fresh cluster holds is made with the table of resources, which needs this file
    from shim.resources.bootstrap import flow

    fixed = next(
        each["spec"]
        for found, _, each in flow.objects("")
        if found.resource == resource and each["metadata"]["name"] == name
    )
    but = ""
    if name == "exempt" and resource == _LEVELS:
        fixed, but = {**fixed, "exempt": spec.get("exempt")}, " except the 'spec.exempt' field"
    if _given(spec) == _given(fixed):
        return []
    text = f"spec of '{name}'{but} must equal the fixed value"
    if resource == _LEVELS:
        return [invalid("spec", _printed(spec), text)]
    return [invalid_without_value("spec", text)]


def _printed(spec: Object) -> Object:
    """The spec of a priority level as Go prints it."""
    exempt, limited = spec.get("exempt"), spec.get("limited")
    shown: Object = {"Type": spec.get("type") or "", "Limited": None}
    if limited is not None:
        response = limited.get("limitResponse") or {}
        queuing = as_go(response.get("queuing"), "queues", "handSize", "queueLengthLimit")
        shown["Limited"] = {
            "NominalConcurrencyShares": limited.get("nominalConcurrencyShares") or 0,
            "LimitResponse": {"Type": response.get("type") or "", "Queuing": queuing},
            "LendablePercent": limited.get("lendablePercent"),
            "BorrowingLimitPercent": limited.get("borrowingLimitPercent"),
        }
    return {**shown, "Exempt": as_go(exempt, "nominalConcurrencyShares", "lendablePercent")}


def _given(value: Any) -> Any:
    """Without what is not set."""
    if isinstance(value, dict):
        return {key: _given(item) for key, item in value.items() if item not in (None, "", [])}
    return [_given(item) for item in value] if isinstance(value, list) else value


def _conditions(obj: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    seen: set[str] = set()
    for index, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        at, kind = f"status.conditions[{index}].type", condition.get("type") or ""
        if kind in seen:
            causes.append(duplicate(at, kind))
        seen.add(kind)
        if not kind:
            causes.append(required(at))
    return causes


def _flow_schema(obj: Object) -> list[FieldError]:
    name, spec = obj["metadata"].get("name"), obj.get("spec") or {}
    at, precedence = "spec.matchingPrecedence", spec.get("matchingPrecedence") or 0
    causes: list[FieldError] = []
    if precedence <= 0:
        causes.append(invalid(at, precedence, "must be a positive value"))
    if precedence > _LOWEST_PRECEDENCE:
        causes.append(invalid(at, precedence, f"must not be greater than {_LOWEST_PRECEDENCE}"))
    if precedence == 1 and name != "exempt":
        causes.append(invalid(at, precedence, "only the schema named 'exempt' may have matchingPrecedence 1"))
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in ("ByNamespace", "ByUser"):
        shown = {"Type": method.get("type") or ""}
        causes.append(unsupported("spec.distinguisherMethod.type", shown, ("ByNamespace", "ByUser")))
    at, level = "spec.priorityLevelConfiguration.name", (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
    missing = [required(at, "must reference a priority level")]
    causes += named(at, level, names.dns1123_subdomain) if level else missing
    for index, rule in enumerate(spec.get("rules") or ()):
        causes += _rule(f"spec.rules[{index}]", rule)
    return causes


def _rule(at: str, rule: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for index, subject in enumerate(rule.get("subjects") or ()):
        causes += _subject(f"{at}.subjects[{index}]", subject)
    if not rule.get("subjects"):
        causes.append(required(f"{at}.subjects", "subjects must contain at least one value"))
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        causes.append(required(at, "at least one of resourceRules and nonResourceRules has to be non-empty"))
    for index, each in enumerate(rule.get("resourceRules") or ()):
        causes += _resource_rule(f"{at}.resourceRules[{index}]", each)
    for index, each in enumerate(rule.get("nonResourceRules") or ()):
        here = f"{at}.nonResourceRules[{index}]"
        causes += _verbs(here, each)
        causes += _paths(f"{here}.nonResourceURLs", each.get("nonResourceURLs") or [])
    return causes


def _subject(at: str, subject: Object) -> list[FieldError]:
    kind = subject.get("kind") or ""
    if kind not in _ARTICLES:
        return [unsupported(f"{at}.kind", kind, sorted(_ARTICLES))]
    field = _ARTICLES[kind]
    who, here = subject.get(field), f"{at}.{field}"
    if who is None:
        causes = [required(here, f"{field} is required when subject kind is '{kind}'")]
    else:
        name = who.get("name") or ""
        causes = [] if name else [required(f"{here}.name")]
        if kind == "ServiceAccount":
            if name and name != "*":
                causes += named(f"{here}.name", name, names.dns1123_subdomain)
            missing = [required(f"{here}.namespace", "must specify namespace for service account")]
            space = who.get("namespace") or ""
            causes += named(f"{here}.namespace", space, names.dns1123_label) if space else missing
    for other, other_field in _ARTICLES.items():
        if other != kind and subject.get(other_field) is not None:
            text = f"{other_field} is forbidden when subject kind is not '{other}'"
            causes.append(forbidden(f"{at}.{other_field}", text))
    return causes


def _verbs(at: str, rule: Object) -> list[FieldError]:
    verbs = rule.get("verbs") or []
    if not verbs or "*" in verbs:
        return _some_or_all(f"{at}.verbs", verbs, "verbs must contain at least one value", "verbs")
    return [] if set(verbs) <= set(_VERBS) else [unsupported(f"{at}.verbs", verbs, _VERBS)]


def _some_or_all(at: str, values: list[str], missing: str, others: str) -> list[FieldError]:
    if not values:
        return [required(at, missing)]
    if "*" in values and len(values) > 1:
        return [invalid(at, values, f"if '*' is present, must not specify other {others}")]
    return []


def _paths(at: str, paths: list[str]) -> list[FieldError]:
    if not paths or "*" in paths:
        return _some_or_all(at, paths, "nonResourceURLs must contain at least one value", "non-resource URLs")
    causes: list[FieldError] = []
    for index, path in enumerate(paths):
        if complaint := _path_complaint(path):
            causes.append(invalid(f"{at}[{index}]", path, complaint))
    return causes


def _path_complaint(path: str) -> str:
    if not path:
        return "must not be empty"
    if not path.startswith("/"):
        return "must start with slash"
    if " " in path:
        return "must not contain white-space"
    if "//" in path:
        return "must not contain double slash"
    stars = path.count("*")
    return "wildcard can only do suffix matching" if stars > 1 or (stars and not path.endswith("/*")) else ""


def _resource_rule(at: str, rule: Object) -> list[FieldError]:
    causes = _verbs(at, rule)
    for field, one, others in (("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")):
        missing = f"resource rules must supply at least one {one}"
        causes += _some_or_all(f"{at}.{field}", rule.get(field) or [], missing, others)
    spaces = rule.get("namespaces") or []
    if not spaces and not rule.get("clusterScope"):
        text = "resource rules that are not cluster scoped must supply at least one namespace"
        causes.append(required(f"{at}.namespaces", text))
    elif "*" in spaces:
        causes += _some_or_all(f"{at}.namespaces", spaces, "", "namespaces")
    else:
        for index, space in enumerate(spaces):
            found = names.dns1123_label(space)
            causes += [invalid(f"{at}.namespaces[{index}]", space, _NAMESPACE_INTRO + text) for text in found]
    return causes


def _priority_level(obj: Object) -> list[FieldError]:
    spec, kind = obj.get("spec") or {}, (obj.get("spec") or {}).get("type") or ""
    exempt, limited = spec.get("exempt"), spec.get("limited")
    causes: list[FieldError] = []
    if (obj["metadata"].get("name") == "exempt") != (kind == "Exempt"):
        causes.append(invalid("spec.type", kind, "must be 'Exempt' if and only if `name` is 'exempt'"))
    if kind == "Exempt":
        if limited is not None:
            causes.append(forbidden("spec.limited", "must be nil if the type is not Limited"))
        if exempt is not None:
            causes += _shares("spec.exempt", exempt) + _percent("spec.exempt", exempt)
    elif kind == "Limited":
        if exempt is not None:
            causes.append(forbidden("spec.exempt", "must be nil if the type is Limited"))
        missing = [required("spec.limited", "must not be empty when type is Limited")]
        causes += _limited("spec.limited", limited) if limited is not None else missing
    else:
        causes.append(unsupported("spec.type", kind, ("Exempt", "Limited")))
    return causes


def _shares(at: str, level: Object) -> list[FieldError]:
    shares = level.get("nominalConcurrencyShares") or 0
    return [invalid(f"{at}.nominalConcurrencyShares", shares, "must be a non-negative integer")] if shares < 0 else []


def _percent(at: str, level: Object) -> list[FieldError]:
    percent = level.get("lendablePercent") or 0
    return [invalid(f"{at}.lendablePercent", percent, text) for text in names.in_range(percent, 0, 100)]


def _limited(at: str, level: Object) -> list[FieldError]:
    causes = _shares(at, level)
    response, here = level.get("limitResponse") or {}, f"{at}.limitResponse"
    kind, queuing = response.get("type") or "", response.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            text = "must be nil if limited.limitResponse.type is not Limited"
            causes.append(forbidden(f"{here}.queuing", text))
    elif kind == "Queue":
        missing = [required(f"{here}.queuing", "must not be empty if limited.limitResponse.type is Limited")]
        causes += _queuing(f"{here}.queuing", queuing) if queuing is not None else missing
    else:
        causes += one_of(f"{here}.type", kind, ("Queue", "Reject"))
    causes += _percent(at, level)
    borrowed = level.get("borrowingLimitPercent")
    if borrowed is not None and borrowed < 0:
        text = "if specified, must be a non-negative integer"
        causes.append(invalid(f"{at}.borrowingLimitPercent", borrowed, text))
    return causes


def _queuing(at: str, queuing: Object) -> list[FieldError]:
    length, queues, hand = (queuing.get(name) or 0 for name in ("queueLengthLimit", "queues", "handSize"))
    causes: list[FieldError] = []
    if length <= 0:
        causes.append(invalid(f"{at}.queueLengthLimit", length, "must be positive"))
    if queues <= 0:
        causes.append(invalid(f"{at}.queues", queues, "must be positive"))
    elif queues > _MAX_QUEUES:
        causes.append(invalid(f"{at}.queues", queues, f"must not be greater than {_MAX_QUEUES}"))
    if hand <= 0:
        causes.append(invalid(f"{at}.handSize", hand, "must be positive"))
    elif hand > queues:
        causes.append(invalid(f"{at}.handSize", hand, f"should not be greater than queues ({queues})"))
    elif math.ceil(math.log2(queues) * hand) > _HASH_BITS:
        sizes = f"deckSize {queues} and handSize {hand}"
        text = f"required entropy bits of {sizes} should not be greater than {_HASH_BITS}"
        causes.append(invalid(f"{at}.handSize", hand, text))
    return causes
