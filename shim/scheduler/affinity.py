"""Is a node near the pods a pod wants, and apart from those it does not? Required pod (anti-)affinity. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from shim.scheduler.snapshot import Node, Pod, Snapshot, Term

NOT_NEAR = "node(s) didn't match pod affinity rules"
NOT_APART = "node(s) didn't match pod anti-affinity rules"
UNWELCOME = "node(s) didn't satisfy existing pods anti-affinity rules"

Place = tuple[str, str]
"""A topology key and its value: nodes with it are near each other."""


class AffinityState:
    """Where the pods are that matter to one pod, counted once for all nodes."""

    def __init__(self, pod: Pod, nodes: Sequence[Node], snapshot: Snapshot) -> None:
        self._pod = pod
        self._wanted: Counter[Place] = Counter()
        self._avoided: Counter[Place] = Counter()
        self._closed: Counter[Place] = Counter()  # places that pods already there do not share with this one
        namespaces = snapshot.namespaces
        if pod.affinity or pod.anti_affinity or snapshot.repelling:
            for node in nodes:
                for other in node.pods.values():
                    # a pod is near only if all terms mean it: they describe one companion
                    if pod.affinity and all(term.means(other, namespaces) for term in pod.affinity):
                        _count(self._wanted, pod.affinity, node)
                    _count(self._avoided, [term for term in pod.anti_affinity if term.means(other, namespaces)], node)
                    _count(self._closed, [term for term in other.anti_affinity if term.means(pod, namespaces)], node)
        # The first of a group that wants to be together: it has nobody to be near but itself.
        self._first = not self._wanted and all(term.means(pod, namespaces) for term in pod.affinity)

    def refuse(self, node: Node) -> str | None:
        """Why not on this node."""
        labels = node.labels
        for term in self._pod.affinity:
            value = labels.get(term.topology_key)
            if value is None or not (self._first or self._wanted[term.topology_key, value]):
                return NOT_NEAR
        for term in self._pod.anti_affinity:
            if self._avoided[term.topology_key, labels.get(term.topology_key, "")]:
                return NOT_APART
        if any(labels.get(key) == value for key, value in self._closed):
            return UNWELCOME
        return None


def _count(places: Counter[Place], terms: Sequence[Term], node: Node) -> None:
    for term in terms:
        value = node.labels.get(term.topology_key)
        if value is not None:
            places[term.topology_key, value] += 1
