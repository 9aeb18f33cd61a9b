"""Where a pod may run: affinity, tolerations, spreading."""

from __future__ import annotations

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import (
    duplicate,
    forbidden,
    invalid,
    label_selector,
    named,
    one_of,
    required,
    selector_requirement,
    unsupported,
)

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED, _PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def tolerations(at: str, found: list[Object]) -> list[FieldError]:
    causes: list[FieldError] = []
    for index, each in enumerate(found):
        here = f"{at}[{index}]"
        key, operator, value = each.get("key") or "", each.get("operator") or "", each.get("value") or ""
        effect = each.get("effect") or ""
        if key:
            causes += named(f"{here}.key", key, names.label_key)
        elif operator != "Exists":
            text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            causes.append(invalid(f"{here}.operator", operator, text))
        if each.get("tolerationSeconds") is not None and effect != "NoExecute":
            text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            causes.append(invalid(f"{here}.effect", effect, text))
        if operator in ("", "Equal"):
            complaints = names.label_value(value)
            if complaints:
                causes.append(invalid(f"{here}.operator", value, ";".join(complaints)))
        elif operator == "Exists":
            if value:
                causes.append(invalid(f"{here}.operator", value, "value must be empty when `operator` is 'Exists'"))
        else:
            causes.append(unsupported(f"{here}.operator", operator, ("Equal", "Exists")))
        if effect:
            causes += one_of(f"{here}.effect", effect, EFFECTS)
    return causes


def topology(at: str, found: list[Object]) -> list[FieldError]:
    """``topologySpreadConstraints``."""
    causes: list[FieldError] = []
    for index, each in enumerate(found):
        here = f"{at}[{index}]"
        skew, key, when = each.get("maxSkew") or 0, each.get("topologyKey") or "", each.get("whenUnsatisfiable") or ""
        if skew <= 0:
            causes.append(invalid(f"{here}.maxSkew", skew, "must be greater than zero"))
        if not key:
            causes.append(required(f"{here}.topologyKey", "can not be empty"))
        causes += one_of(f"{here}.whenUnsatisfiable", when, ("DoNotSchedule", "ScheduleAnyway"))
        later = [(other.get("topologyKey") or "", other.get("whenUnsatisfiable") or "") for other in found[index + 1 :]]
        if (key, when) in later:
            causes.append(duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {when}}}"))
        domains = each.get("minDomains")
        if domains is not None:
            if domains <= 0:
                causes.append(invalid(f"{here}.minDomains", domains, "must be greater than zero"))
            if when != "DoNotSchedule":
                text = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"
                causes.append(invalid(f"{here}.minDomains", domains, text))
        causes += _label_keys(f"{here}.matchLabelKeys", each, "matchLabelKeys")
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if each.get(field) is not None:
                causes += one_of(f"{here}.{field}", each[field], ("Honor", "Ignore"))
        causes += label_selector(f"{here}.labelSelector", each.get("labelSelector"))
    return causes


def _label_keys(at: str, of: Object, field: str) -> list[FieldError]:
    """Keys whose values are taken from the pod's own labels, and added to its selector."""
    found = of.get(field) or []
    if found and of.get("labelSelector") is None:
        return [forbidden(at, "must not be specified when labelSelector is not set")]
    return [cause for index, key in enumerate(found) for cause in named(f"{at}[{index}]", key, names.label_key)]


def affinity(at: str, found: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    node = found.get("nodeAffinity")
    if node:
        here = f"{at}.nodeAffinity"
        if node.get(_REQUIRED) is not None:
            causes += node_selector(f"{here}.{_REQUIRED}", node[_REQUIRED])
        for index, each in enumerate(node.get(_PREFERRED) or ()):
            term = f"{here}.{_PREFERRED}[{index}]"
            causes += _weight(term, each)
            causes += _node_term(f"{term}.preference", each.get("preference") or {}, checks_values=False)
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = found.get(kind) or {}
        for index, each in enumerate(pods.get(_REQUIRED) or ()):
            causes += _pod_term(f"{at}.{kind}.{_REQUIRED}[{index}]", each)
        for index, each in enumerate(pods.get(_PREFERRED) or ()):
            term = f"{at}.{kind}.{_PREFERRED}[{index}]"
            causes += _weight(term, each)
            causes += _pod_term(f"{term}.podAffinityTerm", each.get("podAffinityTerm") or {})
    return causes


def _weight(at: str, term: Object) -> list[FieldError]:
    weight = term.get("weight") or 0
    return [] if 1 <= weight <= 100 else [invalid(f"{at}.weight", weight, "must be in the range 1-100")]


def node_selector(at: str, selector: Object) -> list[FieldError]:
    """Terms of which one must hold."""
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        return [required(f"{at}.nodeSelectorTerms", "must have at least one node selector term")]
    causes: list[FieldError] = []
    for index, term in enumerate(terms):
        causes += _node_term(f"{at}.nodeSelectorTerms[{index}]", term)
    return causes


def _node_term(at: str, term: Object, checks_values: bool = True) -> list[FieldError]:
    """``checks_values``: what is only preferred may be a value that no label can have."""
    causes: list[FieldError] = []
    for index, each in enumerate(term.get("matchExpressions") or ()):
        found = selector_requirement(f"{at}.matchExpressions[{index}]", each, numbers=True)
        causes += found if checks_values else [cause for cause in found if not cause.field.endswith("]")]
    for index, each in enumerate(term.get("matchFields") or ()):
        here = f"{at}.matchFields[{index}]"
        if each.get("operator") not in ("In", "NotIn"):
            causes.append(invalid(f"{here}.operator", each.get("operator") or "", "not a valid selector operator"))
        elif len(each.get("values") or ()) != 1:
            text = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            causes.append(required(f"{here}.values", text))
        if each.get("key") == "metadata.name":
            for place, value in enumerate(each.get("values") or ()):
                causes += named(f"{here}.values[{place}]", value, names.dns1123_subdomain)
        else:
            causes.append(invalid(f"{here}.key", each.get("key") or "", "not a valid field selector key"))
    return causes


def _pod_term(at: str, term: Object) -> list[FieldError]:
    causes = label_selector(f"{at}.labelSelector", term.get("labelSelector"))
    causes += label_selector(f"{at}.namespaceSelector", term.get("namespaceSelector"))
    for namespace in term.get("namespaces") or ():
        causes += named(f"{at}.namespace", namespace, names.dns1123_label)
    for field in ("matchLabelKeys", "mismatchLabelKeys"):
        causes += _label_keys(f"{at}.{field}", term, field)
    key = term.get("topologyKey") or ""
    if not key:
        causes.append(required(f"{at}.topologyKey", "can not be empty"))
    return causes + named(f"{at}.topologyKey", key, names.label_key)
