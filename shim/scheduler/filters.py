"""On which nodes can a pod run at all? A table of filters; each answers for one node, with upstream's words.

Filters are pure: what they need of the cluster is in the attempt. The first one that refuses speaks for the node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from shim.api import placement
from shim.api.meta import Object
from shim.scheduler.affinity import AffinityState
from shim.scheduler.snapshot import Node, Pod, Snapshot
from shim.scheduler.spread import SpreadState
from shim.scheduler.volumes import IN_USE, WRONG_ZONE, NotYet, PodVolumes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not: one or several reasons. ``final`` when removing other pods from the node would not help."""

    reasons: tuple[str, ...]
    final: bool = False
    by: str = ""  # the filter


class Attempt:
    """One pod looking for a node by some filters, with what is worth computing once for all nodes.

    ``defaults``: the topology spread constraints of pods of owners that have none of their own.
    """

    def __init__(
        self,
        pod: Pod,
        snapshot: Snapshot,
        nodes: Sequence[Node] | None = None,
        filters: Mapping[str, Filter] | None = None,
        defaults: Sequence[Object] = (),
    ) -> None:
        self.pod = pod
        self.snapshot = snapshot
        self.nodes = snapshot.nodes() if nodes is None else nodes
        self.tolerations = pod.spec.get("tolerations") or ()
        self.defaults = defaults
        self.constraints = pod.spec.get("topologySpreadConstraints") or (defaults if pod.owner else ())
        known = FILTERS if filters is None else filters
        self.filters = {name: check for name, check in known.items() if not _accepts_all(check, self)}

    @cached_property
    def affinity(self) -> AffinityState:
        return AffinityState(self.pod, self.nodes, self.snapshot)

    @cached_property
    def spread(self) -> SpreadState:
        return SpreadState(self.pod, self.nodes, self.constraints)

    @cached_property
    def volumes(self) -> PodVolumes:
        """Raises NotYet."""
        return PodVolumes.of(self.pod, self.snapshot)

    def with_node(self, node: Node) -> Attempt:
        """The same attempt in a cluster where this node is another."""
        nodes = [node if each.name == node.name else each for each in self.nodes]
        return Attempt(self.pod, self.snapshot, nodes, self.filters, self.defaults)


Filter = Callable[[Attempt, Node], Refusal | None]

UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def unschedulable(attempt: Attempt, node: Node) -> Refusal | None:
    assert node.obj is not None
    if not node.obj["spec"].get("unschedulable") or placement.tolerates(attempt.tolerations, UNSCHEDULABLE):
        return None
    return Refusal(("node(s) were unschedulable",), final=True)


def tainted(attempt: Attempt, node: Node) -> Refusal | None:
    if not node.taints or not placement.untolerated(node.taints, attempt.tolerations, ("NoSchedule", "NoExecute")):
        return None
    return Refusal(("node(s) had untolerated taint(s)",), final=True)


def selected(attempt: Attempt, node: Node) -> Refusal | None:
    assert node.obj is not None
    if placement.selected(node.obj, attempt.pod.spec):
        return None
    return Refusal(("node(s) didn't match Pod's node affinity/selector",), final=True)


def selected_and(required: Object) -> Filter:
    """``selected``, and by a NodeSelector that holds for all pods."""

    def check(attempt: Attempt, node: Node) -> Refusal | None:
        assert node.obj is not None
        if not placement.matches_node_selector(required, node.obj):
            return Refusal(("node(s) didn't match scheduler-enforced node affinity",), final=True)
        return selected(attempt, node)

    return check


def ports_free(attempt: Attempt, node: Node) -> Refusal | None:
    wanted = attempt.pod.ports
    if not wanted or not any(placement.ports_collide(wanted, other.ports) for other in node.pods.values()):
        return None
    return Refusal(("node(s) didn't have free ports for the requested pod ports",))


def resources_fit_but(ignored: Callable[[str], bool] | None) -> Filter:
    """Requests against what is left; extended resources for which ``ignored`` holds are somebody else's to count."""

    def check(attempt: Attempt, node: Node) -> Refusal | None:
        reasons = []
        final = False
        if len(node.pods) + 1 > node.allocatable.get("pods", 0):
            reasons.append("Too many pods")
        for name, amount in attempt.pod.requests.items():
            allocatable = node.allocatable.get(name, 0)
            if amount and amount > allocatable - node.requested.get(name, 0):
                if ignored is not None and ignored(name):
                    continue
                reasons.append(f"Insufficient {name}")
                final = final or amount > allocatable
        return Refusal(tuple(reasons), final) if reasons else None

    return check


resources_fit = resources_fit_but(None)


def volumes_free(attempt: Attempt, node: Node) -> Refusal | None:
    return Refusal((IN_USE,)) if attempt.pod.claims and attempt.volumes.in_use(attempt.pod) else None


def volumes_bound(attempt: Attempt, node: Node) -> Refusal | None:
    assert node.obj is not None
    reasons = attempt.volumes.refuse(node.obj) if attempt.pod.claims else ()
    return Refusal(reasons, final=True) if reasons else None


def volumes_in_zone(attempt: Attempt, node: Node) -> Refusal | None:
    assert node.obj is not None
    wrong = attempt.pod.claims and attempt.volumes.wrong_zone(node.obj)
    return Refusal((WRONG_ZONE,), final=True) if wrong else None


def spread(attempt: Attempt, node: Node) -> Refusal | None:
    reason = attempt.spread.refuse(node)
    return Refusal((reason,), final=reason.endswith("(missing required label)")) if reason else None


def near_and_apart(attempt: Attempt, node: Node) -> Refusal | None:
    reason = attempt.affinity.refuse(node)
    return Refusal((reason,), final=reason == "node(s) didn't match pod affinity rules") if reason else None


FILTERS: dict[str, Filter] = {
    "NodeUnschedulable": unschedulable,
    "TaintToleration": tainted,
    "NodeAffinity": selected,
    "NodePorts": ports_free,
    "NodeResourcesFit": resources_fit,
    "VolumeRestrictions": volumes_free,
    "VolumeBinding": volumes_bound,
    "VolumeZone": volumes_in_zone,
    "PodTopologySpread": spread,
    "InterPodAffinity": near_and_apart,
}
"""In upstream's order, under upstream's names. (NodeName: a pod that names a node needs no scheduler.)"""

IDLE: dict[Filter, Callable[[Attempt], bool]] = {
    selected: lambda attempt: not attempt.pod.spec.get("nodeSelector") and not attempt.pod.spec.get("affinity"),
    ports_free: lambda attempt: not attempt.pod.ports,
    volumes_free: lambda attempt: not attempt.pod.claims,
    volumes_bound: lambda attempt: not attempt.pod.claims,
    volumes_in_zone: lambda attempt: not attempt.pod.claims,
    spread: lambda attempt: not attempt.constraints,
    near_and_apart: lambda attempt: (
        not (attempt.pod.affinity or attempt.pod.anti_affinity or attempt.snapshot.repelling)
    ),
}
"""When a filter accepts every node, whatever it is, and so need not be asked of each."""


def _accepts_all(check: Filter, attempt: Attempt) -> bool:
    idle = IDLE.get(check)
    return idle is not None and idle(attempt)


def feasible(attempt: Attempt, start: int = 0, percent: int = 0) -> tuple[list[Node], dict[str, Refusal]]:
    """Nodes that every filter accepts, and why others were refused.

    In a large cluster a part of them is enough. Whoever begins each time where the last time ended gives all a chance.
    """
    accepted: list[Node] = []
    refusals: dict[str, Refusal] = {}
    enough, count = enough_of(len(attempt.nodes), percent), len(attempt.nodes)
    for index in range(count):
        node = attempt.nodes[(start + index) % count]
        refusal = refuse_with_nominated(attempt, node)
        if refusal is not None:
            refusals[node.name] = refusal
            continue
        accepted.append(node)
        if len(accepted) == enough:
            break
    return accepted, refusals


def enough_of(nodes: int, percent: int = 0) -> int:
    """How many of so many nodes are worth comparing: ``percent`` of them, but 100 at least.

    0: as upstream decides by itself, about half of 300, and 5 of a hundred at last.
    """
    percent = percent or max(50 - nodes // 125, 5)
    return nodes if nodes <= 100 else max(nodes * percent // 100, 100)


def refuse_with_nominated(attempt: Attempt, node: Node) -> Refusal | None:
    """The first refusal; room that is being made for more important pods is theirs.

    The pod must also fit without them: they may never come, and it may not count on their company.
    """
    if not attempt.snapshot.promised:
        return refuse(attempt, node)
    waiting = [
        pod
        for pod in attempt.snapshot.nominated(node.name)
        if pod.priority >= attempt.pod.priority and pod.uid != attempt.pod.uid
    ]
    if waiting:
        crowded = node.copy()
        for pod in waiting:
            crowded.place(pod)
        refusal = refuse(attempt.with_node(crowded), crowded)
        if refusal is not None:
            return refusal
    return refuse(attempt, node)


def refuse(attempt: Attempt, node: Node) -> Refusal | None:
    """The first refusal, if there is one."""
    for name, check in attempt.filters.items():
        refusal = check(attempt, node)
        if refusal is not None:
            return replace(refusal, by=name)
    return None


def refuse_everywhere(attempt: Attempt) -> str | None:
    """Why the pod can run on no node whatsoever (yet): its volumes are not there."""
    try:
        _ = attempt.pod.claims and attempt.volumes
    except NotYet as error:
        return str(error)
    return None
