"""May a pod be on a node? Tolerations against taints, node selectors against labels, and what a pod asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shim.api import pod_sum, quantity
from shim.api.meta import Object

Amounts = dict[str, int]
"""Amounts by resource name: thousandths of a CPU for ``cpu``, whole units for everything else."""


def tolerates(tolerations: Iterable[Object], taint: Object) -> bool:
    """Whether one of the tolerations matches the taint."""
    return any(tolerates_one(toleration, taint) for toleration in tolerations)


def tolerates_one(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    operator = toleration.get("operator") or "Equal"
    if not toleration.get("key"):
        return bool(operator == "Exists")
    if toleration["key"] != taint.get("key"):
        return False
    value, other = toleration.get("value") or "", taint.get("value") or ""
    if operator == "Exists":
        return True
    if operator == "Equal":
        return bool(value == other)
    bound, number = _number(value), _number(other)
    if bound is None or number is None:
        return False
    return number > bound if operator == "Gt" else operator == "Lt" and number < bound


def untolerated(taints: Iterable[Object], tolerations: Iterable[Object], effects: tuple[str, ...]) -> list[Object]:
    """The taints of these effects that nothing tolerates."""
    known = list(tolerations)
    return [taint for taint in taints if taint.get("effect") in effects and not tolerates(known, taint)]


def selected(node: Object, pod_spec: Object) -> bool:
    """Whether the node has the labels of the node selector and satisfies the required node affinity."""
    labels = node["metadata"].get("labels") or {}
    if not (pod_spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or matches_node_selector(required, node)


def matches_node_selector(selector: Object, node: Object) -> bool:
    """A NodeSelector: one of its terms must match."""
    return any(matches_term(term, node) for term in selector.get("nodeSelectorTerms") or ())


def matches_term(term: Object, node: Object) -> bool:
    """A NodeSelectorTerm: everything in it must match; an empty one matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    labels = node["metadata"].get("labels") or {}
    name = {"metadata.name": node["metadata"]["name"]}
    return all(_requirement(each, labels) for each in expressions) and all(_requirement(each, name) for each in fields)


def _requirement(requirement: Object, labels: Mapping[str, str]) -> bool:
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


Port = tuple[str, str, int]
"""Protocol, host address, host port."""

_ANY_ADDRESS = ("", "0.0.0.0")


def host_ports(spec: Object) -> frozenset[Port]:
    """What a pod's containers take of its node's ports."""
    return frozenset(
        (port.get("protocol") or "TCP", port.get("hostIP") or "", port["hostPort"])
        for containers in (spec.get("containers"), spec.get("initContainers"))
        for container in containers or ()
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


def ports_collide(wanted: Iterable[Port], taken: Iterable[Port]) -> bool:
    """Whether one of the ports is taken: at the same address, or at all of them."""
    return any(
        (protocol, port) == (taken_protocol, taken_port)
        and (address == taken_address or address in _ANY_ADDRESS or taken_address in _ANY_ADDRESS)
        for protocol, address, port in wanted
        for taken_protocol, taken_address, taken_port in taken
    )


def amounts(quantities: Mapping[str, str] | None) -> Amounts:
    """A ResourceList in whole numbers."""
    return {
        name: quantity.parse(text).milli if name == "cpu" else quantity.parse(text).value
        for name, text in (quantities or {}).items()
    }


def pod_requests(spec: Object) -> Amounts:
    """What a pod needs of a node: its containers at once, or what the pod says of itself, and its overhead."""
    total = pod_sum.at_once(spec, _requests)
    total |= _requests(spec)  # of the pod as a whole, where they are given
    pod_sum.add(total, amounts(spec.get("overhead")))
    return total


def _requests(container: Object) -> Amounts:
    return amounts((container.get("resources") or {}).get("requests"))
