"""May a pod run on this node at all? Asked once, before anything is made for it. Pure.

The scheduler asks the same before it binds a pod; but pods may name their node themselves, and a node may have changed
since. Names and texts are those of the scheduler's filters. What is not admitted has failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nodeagent.kubelet import resources
from nodeagent.kubelet.resources import Amounts
from nodeagent.kubelet.status import Verdict
from shim.api import placement, pod_sum, quantity
from shim.api.meta import Object

OF_THE_NODE = ("NodeAffinity", "TaintToleration")  # an older copy of the Node may be what is wrong
SHORT_OF = "OutOf"
_FIRST = ("cpu", "memory", "ephemeral-storage")  # then all others, as upstream
_NATIVE = (*_FIRST, "pods")


def refusal(pod: Object, node: Object, others: Sequence[Object], requested: Iterable[Amounts]) -> Verdict | None:
    """Why the pod may not run beside the others that are here, for whom so much is reserved."""
    if (short := next(_shortages(pod, node, len(others), requested), None)) is not None:
        return short.verdict
    return misfit(pod, node, others)


def misfit(pod: Object, node: Object, others: Sequence[Object]) -> Verdict | None:
    """Why it may not, whatever room there is."""
    spec = pod["spec"]
    if not placement.selected(node, spec):
        return _failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    ports = placement.host_ports(spec)
    if ports and any(placement.ports_collide(ports, placement.host_ports(other["spec"])) for other in others):
        return _failed("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    if placement.untolerated(node["spec"].get("taints") or (), spec.get("tolerations") or (), ("NoExecute",)):
        return _failed("TaintToleration", "node(s) had taints that the pod didn't tolerate")
    return None


def _failed(name: str, why: str) -> Verdict:
    return Verdict(name, f"Predicate {name} failed: {why}")


@dataclass(frozen=True, slots=True)
class _Shortage:
    name: str
    wanted: int
    used: int
    room: int

    @property
    def verdict(self) -> Verdict:
        numbers = f"requested: {self.wanted}, used: {self.used}, capacity: {self.room}"
        return Verdict(SHORT_OF + self.name, f"Node didn't have enough resource: {self.name}, {numbers}")


def missing(pod: Object, node: Object, count: int, requested: Iterable[Amounts]) -> dict[str, int]:
    """How much of which resources the node has too little."""
    found = _shortages(pod, node, count, requested)
    return {short.name: short.wanted + short.used - short.room for short in found}


def _shortages(pod: Object, node: Object, count: int, requested: Iterable[Amounts]) -> Iterator[_Shortage]:
    """The resources of which there is too little."""
    room: Mapping[str, str] = (node.get("status") or {}).get("allocatable") or {}
    if "pods" in room and count >= int(room["pods"]):
        yield _Shortage("pods", 1, count, int(room["pods"]))
    needs = resources.pod_totals(pod, "requests")
    used: Amounts = {}
    for amounts in requested:
        pod_sum.add(used, amounts)
    for name in sorted(needs, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)):
        if name not in room and name not in _NATIVE:
            continue  # known to the cluster only
        wanted, taken, whole = (
            resources.whole_number(name, each)
            for each in (needs[name], used.get(name, quantity.Quantity(0)), quantity.parse(room.get(name, "0")))
        )
        if wanted > whole - taken:
            yield _Shortage(name, wanted, taken, whole)
