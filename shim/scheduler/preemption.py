"""Whom must leave so that a more important pod fits? Chooses a node and the fewest, least important pods on it. Pure.

Nobody is removed in vain: a node is only looked at when a filter that depends on its pods refused it, and of its less
important pods everyone stays who may stay. Disruption budgets are respected as long as there is another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from shim.api import selectors
from shim.api.meta import Object
from shim.scheduler.filters import Attempt, Refusal, refuse, refuse_with_nominated
from shim.scheduler.snapshot import Node, Pod

NEVER = "not eligible due to preemptionPolicy=Never."
ALREADY = "not eligible due to a terminating pod on the nominated node."


@dataclass(frozen=True, slots=True)
class Budget:
    """A disruption budget: whom it protects, and how many of them may go. ``told``: pods already counted as gone."""

    namespace: str
    matches: Callable[[Mapping[str, str]], bool]
    allowed: int
    told: frozenset[str]

    @classmethod
    def of(cls, obj: Object) -> Budget:
        status = obj.get("status") or {}
        return cls(
            obj["metadata"]["namespace"],
            selectors.from_object(obj["spec"].get("selector")).matches,
            status.get("disruptionsAllowed") or 0,
            frozenset(status.get("disruptedPods") or ()),
        )

    def protects(self, pod: Pod) -> bool:
        told = pod.obj["metadata"]["name"] in self.told
        return pod.namespace == self.namespace and not told and bool(pod.labels) and self.matches(pod.labels)


@dataclass(frozen=True, slots=True)
class Preemption:
    """These pods must leave this node. The most important victim comes first."""

    node: Node
    victims: tuple[Pod, ...]
    violations: int


def not_eligible(attempt: Attempt) -> str | None:
    """Why the pod may not preempt anybody (again)."""
    pod = attempt.pod
    if pod.spec.get("preemptionPolicy") == "Never":
        return NEVER
    nominated = (pod.obj.get("status") or {}).get("nominatedNodeName")
    node = attempt.snapshot.node(nominated) if nominated else None
    if node is not None and any(other.terminating and other.priority < pod.priority for other in node.pods.values()):
        return ALREADY  # somebody is leaving for its sake
    return None


@dataclass(frozen=True, slots=True)
class Candidates:
    """How many ways to make room are worth comparing, by how many nodes there are: upstream's defaults."""

    percent: int = 10
    least: int = 100

    def of(self, nodes: int) -> int:
        return max(nodes * self.percent // 100, self.least, 1)


def preempt(
    attempt: Attempt, refusals: Mapping[str, Refusal], budgets: Sequence[Budget], candidates: Candidates | None = None
) -> Preemption | None:
    """The best way to make room, if there is one."""
    enough = (candidates or Candidates()).of(len(attempt.nodes))
    found = (
        victims_on(attempt, node, budgets)
        for node in attempt.nodes
        if node.name in refusals and not refusals[node.name].final
    )
    return min(islice((each for each in found if each is not None), enough), key=_price, default=None)


def victims_on(attempt: Attempt, node: Node, budgets: Sequence[Budget]) -> Preemption | None:
    """Who must leave the node; None when the pod would not even fit without all less important ones."""
    lesser = [pod for pod in node.pods.values() if pod.priority < attempt.pod.priority]
    if not lesser:
        return None
    emptied = node.copy()
    for pod in lesser:
        emptied.remove(pod.uid)
    if refuse_with_nominated(attempt.with_node(emptied), emptied) is not None:
        return None
    lesser.sort(key=_importance)
    violating, others = _by_budget(lesser, budgets)
    victims: list[Pod] = []
    violations = 0
    for pod in (*violating, *others):
        emptied.place(pod)
        if refuse(attempt.with_node(emptied), emptied) is not None:
            emptied.remove(pod.uid)
            victims.append(pod)
            violations += pod in violating
    victims.sort(key=_importance)
    return Preemption(node, tuple(victims), violations) if victims else None


def _by_budget(pods: Iterable[Pod], budgets: Sequence[Budget]) -> tuple[list[Pod], list[Pod]]:
    """Those whose going breaks a budget, and the others; the most important ones use the budgets up."""
    left = [budget.allowed for budget in budgets]
    violating: list[Pod] = []
    others: list[Pod] = []
    for pod in pods:
        broken = False
        for index, budget in enumerate(budgets):
            if budget.protects(pod):
                left[index] -= 1
                broken = broken or left[index] < 0
        (violating if broken else others).append(pod)
    return violating, others


def _importance(pod: Pod) -> tuple[int, str]:
    """The most important first; of equals the one that has run longest."""
    return -pod.priority, _started(pod)


def _started(pod: Pod) -> str:
    return str((pod.obj.get("status") or {}).get("startTime") or "9999")


def _price(found: Preemption) -> tuple[object, ...]:
    """What upstream compares, in its order: the lowest is the best."""
    highest = found.victims[0].priority
    earliest = min(_started(pod) for pod in found.victims if pod.priority == highest)
    latest_first = tuple(-ord(letter) for letter in earliest)
    total = sum(pod.priority + 2**31 for pod in found.victims)  # so that more pods never cost less
    return found.violations, highest, total, len(found.victims), latest_first, found.node.name
