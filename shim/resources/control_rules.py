"""What must hold of roles and bindings, and of disruption budgets."""

from __future__ import annotations

from shim.api import names, selectors
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import invalid, label_selector, named, one_of, required, unsupported
from shim.resources.metadata import path_segment
from shim.resources.workloads.validation import at_most_all, int_or_percent

GROUP = "rbac.authorization.k8s.io"


def role(obj: Object) -> list[FieldError]:
    namespaced = obj.get("kind") == "Role" or bool(obj["metadata"].get("namespace"))
    causes: list[FieldError] = []
    for index, rule in enumerate(obj.get("rules") or ()):
        causes += _rule(f"rules[{index}]", rule, namespaced)
    aggregation = obj.get("aggregationRule")
    if aggregation is not None:
        at, wanted = "aggregationRule.clusterRoleSelectors", aggregation.get("clusterRoleSelectors") or ()
        if not wanted:
            causes.append(required(at, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
        for index, selector in enumerate(wanted):
            causes += label_selector(f"{at}[{index}]", selector)
            try:
                selectors.from_object(selector)
            except selectors.SelectorError:
                causes.append(invalid(f"{at}[{index}]", None, "invalid label selector."))
    return causes


def _rule(at: str, rule: Object, namespaced: bool) -> list[FieldError]:
    causes = [] if rule.get("verbs") else [required(f"{at}.verbs", "verbs must contain at least one value")]
    urls = rule.get("nonResourceURLs")
    if urls:
        if namespaced:
            text = "namespaced rules cannot apply to non-resource URLs"
            causes.append(invalid(f"{at}.nonResourceURLs", urls, text))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            text = "rules cannot apply to both regular resources and non-resource URLs"
            causes.append(invalid(f"{at}.nonResourceURLs", urls, text))
        return causes
    if not rule.get("apiGroups"):
        causes.append(required(f"{at}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        causes.append(required(f"{at}.resources", "resource rules must supply at least one resource"))
    return causes


def binding(obj: Object) -> list[FieldError]:
    namespaced = bool(obj["metadata"].get("namespace"))
    reference = obj.get("roleRef") or {}
    causes = one_of("roleRef.apiGroup", reference.get("apiGroup") or "", (GROUP,))
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    causes += one_of("roleRef.kind", reference.get("kind") or "", kinds)
    name = reference.get("name") or ""
    causes += named("roleRef.name", name, path_segment) if name else [required("roleRef.name")]
    for index, subject in enumerate(obj.get("subjects") or ()):
        causes += _subject(f"subjects[{index}]", subject, namespaced)
    return causes


def _subject(at: str, subject: Object, namespaced: bool) -> list[FieldError]:
    kind, name, group = subject.get("kind") or "", subject.get("name") or "", subject.get("apiGroup") or ""
    causes = [] if name else [required(f"{at}.name")]
    if kind == "ServiceAccount":
        if name:
            causes += named(f"{at}.name", name, names.dns1123_subdomain)
        if group:
            causes.append(unsupported(f"{at}.apiGroup", group, ("",)))
        if not namespaced and not subject.get("namespace"):
            causes.append(required(f"{at}.namespace"))
    elif kind in ("User", "Group"):
        causes += one_of(f"{at}.apiGroup", group, (GROUP,))
    else:
        causes.append(unsupported(f"{at}.kind", kind, ("ServiceAccount", "User", "Group")))
    return causes


def binding_change(new: Object, old: Object) -> list[FieldError]:
    if new.get("roleRef") == old.get("roleRef"):
        return []
    reference = new.get("roleRef") or {}
    shown = {
        go: reference.get(field) or "" for field, go in (("apiGroup", "APIGroup"), ("kind", "Kind"), ("name", "Name"))
    }
    return [invalid("roleRef", shown, "cannot change roleRef")]


def disruption_budget(obj: Object) -> list[FieldError]:
    spec = obj.get("spec") or {}
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    causes: list[FieldError] = []
    if least is not None and most is not None:
        shown = {
            "MinAvailable": least,
            "Selector": spec.get("selector"),
            "MaxUnavailable": most,
            "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
        }
        causes.append(invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    for field, value in (("minAvailable", least), ("maxUnavailable", most)):
        if value is not None:
            causes += int_or_percent(f"spec.{field}", value) + at_most_all(f"spec.{field}", value)
    causes += label_selector("spec.selector", spec.get("selector"))
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None:
        causes += one_of("spec.unhealthyPodEvictionPolicy", policy, ("AlwaysAllow", "IfHealthyBudget"))
    return causes
