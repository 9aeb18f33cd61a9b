"""May a pod run on a node, by its node selector, node affinity and tolerations? Pure."""

from __future__ import annotations

from collections.abc import Iterable

from shim.api.meta import Object


def tolerates(tolerations: Iterable[Object], taint: Object) -> bool:
    """Whether one of the tolerations matches the taint."""
    return any(_matches(toleration, taint) for toleration in tolerations)


def _matches(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    operator = toleration.get("operator") or "Equal"
    if not toleration.get("key"):
        return operator == "Exists"
    if toleration["key"] != taint.get("key"):
        return False
    value, other = toleration.get("value") or "", taint.get("value") or ""
    match operator:
        case "Exists":
            return True
        case "Equal":
            return bool(value == other)
        case "Gt" | "Lt" if _number(value) is not None and _number(other) is not None:
            return int(other) > int(value) if operator == "Gt" else int(other) < int(value)
    return False


def untolerated(node: Object, tolerations: Iterable[Object], effects: tuple[str, ...]) -> bool:
    """Whether the node has a taint of one of these effects that nothing tolerates."""
    known = list(tolerations)
    taints = node["spec"].get("taints") or ()
    return any(taint.get("effect") in effects and not tolerates(known, taint) for taint in taints)


def selected(node: Object, pod_spec: Object) -> bool:
    """Whether the node has the labels of the node selector and satisfies the required node affinity."""
    labels = node["metadata"].get("labels") or {}
    if not (pod_spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(_term(term, labels, fields) for term in required.get("nodeSelectorTerms") or ())


def _term(term: Object, labels: dict[str, str], fields: dict[str, str]) -> bool:
    expressions, on_fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not on_fields:
        return False  # an empty term selects nothing
    return all(_requirement(each, labels) for each in expressions) and all(
        _requirement(each, fields) for each in on_fields
    )


def _requirement(requirement: Object, labels: dict[str, str]) -> bool:
    found, values = labels.get(requirement["key"]), requirement.get("values") or ()
    match requirement["operator"]:
        case "In":
            return found in values
        case "NotIn":
            return found not in values
        case "Exists":
            return found is not None
        case "DoesNotExist":
            return found is None
        case "Gt" | "Lt" as operator:
            number, bound = _number(found), _number(values[0] if values else None)
            if number is None or bound is None:
                return False
            return number > bound if operator == "Gt" else number < bound
    return False


def _number(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
