"""Which of the possible nodes is best? A table of scores from 0 to 100 with weights; the highest sum wins.

Scores are pure: each rates all the candidates at once, since most only mean something beside the others.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence

from shim.api import placement
from shim.api.meta import Object
from shim.scheduler.filters import Attempt
from shim.scheduler.snapshot import ASSUMED, Node, Pod, Term
from shim.scheduler.spread import siblings

Score = Callable[[Attempt, Sequence[Node]], list[float]]

SMALLEST_IMAGE, LARGEST_IMAGE = 23 * 1024**2, 1000 * 1024**2  # upstream's: less is nothing, more is no better


def by_allocation(rate: Callable[[float], float], weights: Mapping[str, int]) -> Score:
    """``rate`` makes a score of how much of a resource would be in use, from 0 to 1; resources have weights."""
    whole = sum(weights.values())

    def score(attempt: Attempt, nodes: Sequence[Node]) -> list[float]:
        totals = [0.0] * len(nodes)
        for name, weight in weights.items():
            for index, part in enumerate(_parts(attempt, nodes, name)):
                totals[index] += weight * rate(part)
        return [total / whole for total in totals]

    return score


def free(part: float) -> float:
    """The more is left free, the better."""
    return 100 * (1 - part)


def used(part: float) -> float:
    """The fuller, the better: so that other nodes stay empty."""
    return 100 * part


def balanced(resources: Sequence[str]) -> Score:
    """Use these resources alike, so that none is left over without the others: the standard deviation counts."""

    def score(attempt: Attempt, nodes: Sequence[Node]) -> list[float]:
        used_of = (_parts(attempt, nodes, name) for name in resources)
        return [100 * (1 - deviation(parts)) for parts in zip(*used_of, strict=True)]

    return score


def deviation(parts: Sequence[float]) -> float:
    """The standard deviation, in floats: ``statistics`` computes it exactly, and fifty times as long."""
    if len(parts) == 2:
        return abs(parts[0] - parts[1]) / 2
    mean = sum(parts) / len(parts)
    return math.sqrt(sum((part - mean) ** 2 for part in parts) / len(parts))


def _parts(attempt: Attempt, nodes: Sequence[Node], name: str) -> list[float]:
    """How much of a resource would be in use on each node with the pod, from 0 to 1."""
    own = attempt.pod.requests.get(name) or ASSUMED.get(name, 0)
    if name in ASSUMED:
        taken = [node.assumed[name] for node in nodes]
    else:
        taken = [node.requested.get(name, 0) for node in nodes]
    there = [node.allocatable.get(name) for node in nodes]
    return [min(1.0, (used + own) / most) if most else 1.0 for used, most in zip(taken, there, strict=True)]


def siblings_apart(attempt: Attempt, nodes: Sequence[Node]) -> list[float]:
    """The fewer like pods of soft spread constraints the better; without any, the fewer pods of the same owner."""
    if attempt.constraints or not attempt.pod.owner:
        return spread_only(attempt, nodes)
    crowding = siblings(attempt.pod.owner, attempt.nodes)
    return _fewest([crowding(node) for node in nodes])


def spread_only(attempt: Attempt, nodes: Sequence[Node]) -> list[float]:
    """The fewer like pods of spread constraints that only prefer, the better; being of one owner is no reason."""
    return _fewest([attempt.spread.crowding(node) for node in nodes]) if attempt.spread.prefers else [0.0] * len(nodes)


def taints_avoided(attempt: Attempt, nodes: Sequence[Node]) -> list[float]:
    """Stay off nodes that would rather be left alone."""
    tolerations = attempt.tolerations
    return _fewest(
        [
            len(placement.untolerated(node.taints, tolerations, ("PreferNoSchedule",))) if node.taints else 0
            for node in nodes
        ]
    )


def preferred_nodes_and(added: Sequence[Object]) -> Score:
    """Preferred node affinity, the pod's own and one that holds for all."""

    def score(attempt: Attempt, nodes: Sequence[Node]) -> list[float]:
        affinity = (attempt.pod.spec.get("affinity") or {}).get("nodeAffinity") or {}
        terms = (*(affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()), *added)
        if not terms:
            return [0.0] * len(nodes)

        def wish(node: Node) -> int:
            met = (term for term in terms if node.obj and placement.matches_term(term["preference"], node.obj))
            return sum(term["weight"] for term in met)

        return _most([wish(node) for node in nodes])

    return score


def preferred_company(hard: int, *, theirs: bool = True) -> Score:
    """Preferred pod affinity and anti-affinity: a pod's wishes, and those of the pods that are there about it.

    ``hard``: what the required affinity of those weighs; ``theirs``: whether what those prefer counts for pods that
    prefer nothing themselves.
    """

    def score(attempt: Attempt, nodes: Sequence[Node]) -> list[float]:
        totals: dict[tuple[str, str], int] = {}
        namespaces = attempt.snapshot.namespaces
        me = attempt.pod

        def wish(terms: Sequence[Term], about: Pod, node: Node, weight: int = 0) -> None:
            for term in terms:
                value = node.labels.get(term.topology_key)
                if value is not None and term.means(about, namespaces):
                    place = (term.topology_key, value)
                    totals[place] = totals.get(place, 0) + (weight or term.weight)

        if me.near or (theirs and attempt.snapshot.attracting):
            for node in attempt.nodes:
                for other in node.pods.values():
                    wish(me.near, other, node)
                    wish(other.near, me, node)
                    if hard:
                        wish(other.affinity, me, node, hard)
        if not totals:
            return [0.0] * len(nodes)
        return _most(
            [sum(weight for (key, value), weight in totals.items() if node.labels.get(key) == value) for node in nodes]
        )

    return score


def images_there(attempt: Attempt, nodes: Sequence[Node]) -> list[float]:
    """Nodes that have large images of the pod already; an image that few nodes have counts less."""
    spec, everywhere = attempt.pod.spec, attempt.nodes
    asked = [each.get("image") for kind in ("initContainers", "containers") for each in spec.get(kind) or ()]
    names = {_full_name(image) for image in asked}
    wanted = {name: sum(name in node.images for node in everywhere) / len(everywhere) for name in names}
    if not any(wanted.values()):
        return [0.0] * len(nodes)
    smallest, largest = SMALLEST_IMAGE, LARGEST_IMAGE * len(spec["containers"])
    scores = []
    for node in nodes:
        size = sum(share * node.images.get(name, 0) for name, share in wanted.items())
        scores.append(100 * (min(max(size, smallest), largest) - smallest) / (largest - smallest))
    return scores


def _full_name(image: str | None) -> str:
    """An image without a tag is the latest one."""
    if not image:
        return ""
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"


def _fewest(counts: Sequence[float]) -> list[float]:
    least, most = min(counts), max(counts)
    if most == least:
        return [100.0] * len(counts)
    return [100 * (most - count) / (most - least) for count in counts]


def _most(counts: Sequence[int]) -> list[float]:
    least, most = min(counts), max(counts)
    if most == least:
        return [0.0] * len(counts)
    return [100 * (count - least) / (most - least) for count in counts]


SCORES: dict[str, tuple[int, Score]] = {
    "TaintToleration": (3, taints_avoided),
    "NodeAffinity": (2, preferred_nodes_and(())),
    "PodTopologySpread": (2, siblings_apart),
    "InterPodAffinity": (2, preferred_company(hard=1)),
    "NodeResourcesFit": (1, by_allocation(free, dict.fromkeys(ASSUMED, 1))),
    "NodeResourcesBalancedAllocation": (1, balanced(tuple(ASSUMED))),
    "ImageLocality": (1, images_there),
}
"""Upstream's names and weights."""


def best(attempt: Attempt, nodes: Sequence[Node], scores: Mapping[str, tuple[int, Score]] = SCORES) -> Node:
    """The node with the highest weighted sum; one of them at random when several have it."""
    if len(nodes) == 1:
        return nodes[0]
    sums = [0.0] * len(nodes)
    for weight, score in scores.values():
        sums = [total + weight * points for total, points in zip(sums, score(attempt, nodes), strict=True)]
    highest = max(sums)
    return random.choice([node for node, total in zip(nodes, sums, strict=True) if total >= highest - 1e-9])
