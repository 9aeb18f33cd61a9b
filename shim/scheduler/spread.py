"""Are like pods spread evenly over zones and nodes? Topology spread constraints. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shim.api import placement, selectors
from shim.api.meta import Object
from shim.scheduler.snapshot import Node, Pod

ZONE = "topology.kubernetes.io/zone"
UNEVEN = "node(s) didn't match pod topology spread constraints"
NO_LABEL = f"{UNEVEN} (missing required label)"


@dataclass(slots=True)
class Constraint:
    """One constraint with the number of matching pods in each of its domains."""

    key: str
    max_skew: int
    likes_itself: bool
    min_domains: int
    domains: Counter[str]

    def least(self) -> int:
        """The fewest matching pods of any domain; 0 while there are fewer domains than asked for."""
        if len(self.domains) < self.min_domains:
            return 0
        return min(self.domains.values(), default=0)


class SpreadState:
    """A pod's constraints, counted over all nodes once."""

    def __init__(self, pod: Pod, nodes: Sequence[Node], constraints: Sequence[Object]) -> None:
        self._pod = pod
        self._hard = _count(pod, nodes, [each for each in constraints if each["whenUnsatisfiable"] == "DoNotSchedule"])
        self._soft = _count(pod, nodes, [each for each in constraints if each["whenUnsatisfiable"] != "DoNotSchedule"])

    @property
    def prefers(self) -> bool:
        """Whether any constraint only prefers."""
        return bool(self._soft)

    def refuse(self, node: Node) -> str | None:
        """Why not on this node."""
        for constraint in self._hard:
            domain = node.labels.get(constraint.key)
            if domain is None:
                return NO_LABEL
            if constraint.domains[domain] + constraint.likes_itself - constraint.least() > constraint.max_skew:
                return UNEVEN
        return None

    def crowding(self, node: Node) -> float:
        """How many like pods share the node's domains, by the constraints that only prefer."""
        return sum(
            each.domains[node.labels[each.key]] * weight_of(len(each.domains))
            for each in self._soft
            if each.key in node.labels
        )


def weight_of(domains: int) -> float:
    """A pod in one of many domains counts more than in one of few, or only the few would decide: upstream's weight."""
    return math.log(domains + 2)


def siblings(owner: str, nodes: Sequence[Node]) -> Callable[[Node], float]:
    """How crowded a node and its zone are with pods of an owner: what spreads pods that say nothing of it."""
    zones: Counter[str] = Counter()
    for node in nodes:
        if ZONE in node.labels:
            zones[node.labels[ZONE]] += node.owners.get(owner, 0)
    if not zones:
        return lambda node: node.owners.get(owner, 0)
    of_node, of_zone = weight_of(len(nodes)), weight_of(len(zones))
    return lambda node: node.owners.get(owner, 0) * of_node + zones[node.labels.get(ZONE, "")] * of_zone


def _count(pod: Pod, nodes: Sequence[Node], constraints: Sequence[Object]) -> list[Constraint]:
    keys = [each["topologyKey"] for each in constraints]
    counted = []
    for each in constraints:
        alike = _alike(pod, each)
        constraint = Constraint(
            each["topologyKey"], each["maxSkew"], alike(pod), each.get("minDomains") or 1, Counter()
        )
        for node in nodes:
            if all(key in node.labels for key in keys) and _counts(pod, node, each):
                like = sum(not other.terminating and alike(other) for other in node.pods.values())
                constraint.domains[node.labels[constraint.key]] += like
        counted.append(constraint)
    return counted


def _alike(pod: Pod, constraint: Object) -> Callable[[Pod], bool]:
    """Which pods are like the pod: those the constraint selects; its siblings by a profile's own, which select none."""
    if not pod.spec.get("topologySpreadConstraints"):
        return lambda other: other.owner == pod.owner
    if "labelSelector" not in constraint:
        return lambda _: False
    selector = dict(constraint["labelSelector"] or {})
    for key in constraint.get("matchLabelKeys") or ():  # e.g. pod-template-hash: one rollout is spread by itself
        if key in pod.labels:
            selector["matchLabels"] = {**(selector.get("matchLabels") or {}), key: pod.labels[key]}
    matches = selectors.from_object(selector).matches
    return lambda other: other.namespace == pod.namespace and matches(other.labels)


def _counts(pod: Pod, node: Node, constraint: Object) -> bool:
    """Whether the node is one the pod could be on, as far as the constraint asks."""
    assert node.obj is not None
    if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and not placement.selected(node.obj, pod.spec):
        return False
    tolerations = pod.spec.get("tolerations") or ()
    return constraint.get("nodeTaintsPolicy", "Ignore") == "Ignore" or not placement.untolerated(
        node.taints, tolerations, ("NoSchedule", "NoExecute")
    )
