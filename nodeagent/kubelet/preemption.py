"""Whom does a critical pod send away when its node has no room for it? Pure.

As few pods as will do, those that were promised least first: BestEffort before Burstable before Guaranteed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nodeagent.kubelet import resources
from nodeagent.kubelet.resources import is_critical
from shim.api.meta import Object
from shim.api.quantity import Quantity

REASON = "Preempting"
MESSAGE = "Preempted in order to admit critical pod"
DISRUPTION = "Pod was preempted by Kubelet to accommodate a critical pod."
_CLASSES = ("BestEffort", "Burstable", "Guaranteed")
Missing = Mapping[str, int]  # resource -> how much too little there is, in whole units (of a CPU: thousandths)


class NoVictims(Exception):
    """Not even all that may be sent away would be enough."""

    def __init__(self, missing: Missing) -> None:
        listed = "".join(f"(res: {name}, q: {amount}), " for name, amount in missing.items())
        super().__init__(f"no set of running pods found to reclaim resources: [{listed}]")


def victims(pod: Object, others: Sequence[Object], missing: Missing) -> list[Object]:
    """Who has to go, in order. Raises NoVictims."""
    weaker: dict[str, list[Object]] = {name: [] for name in _CLASSES}
    for other in others:
        if _may_send_away(pod, other):
            weaker[resources.qos_class(other)].append(other)
    if left := _without(missing, [each for name in _CLASSES for each in weaker[name]]):
        raise NoVictims(left)
    gone: dict[str, list[Object]] = {}
    for name in reversed(_CLASSES):  # of each class what is needed even if all of the lesser ones go
        lesser = [each for other in _CLASSES[: _CLASSES.index(name)] for each in weaker[other]]
        chosen = [each for known in gone.values() for each in known]
        gone[name] = _fewest(weaker[name], _without(missing, lesser + chosen))
    return [each for name in _CLASSES for each in gone[name]]


def _may_send_away(pod: Object, other: Object) -> bool:
    if is_critical(pod) and not is_critical(other):
        return True
    mine, its = pod["spec"].get("priority"), other["spec"].get("priority")
    return mine is not None and its is not None and int(mine) > int(its)


def _request(pod: Object, name: str) -> int:
    if name == "pods":
        return 1
    return resources.whole_number(name, resources.pod_totals(pod, "requests").get(name, Quantity(0)))


def _without(missing: Missing, gone: Sequence[Object]) -> dict[str, int]:
    """What is still missing when these are gone."""
    left = {name: amount - sum(_request(pod, name) for pod in gone) for name, amount in missing.items()}
    return {name: amount for name, amount in left.items() if amount > 0}


def _fewest(pods: Sequence[Object], missing: Missing) -> list[Object]:
    """Again and again the one that brings the end nearest; of two alike the one that asked for less."""

    def distance(pod: Object) -> tuple[float, int, int]:
        rest = (max(0, amount - _request(pod, name)) / amount for name, amount in missing.items())
        return sum(part**2 for part in rest), _request(pod, "memory"), _request(pod, "cpu")

    left, chosen = list(pods), []
    while missing:
        if not left:
            raise NoVictims(missing)
        best = min(left, key=distance)
        left.remove(best)
        chosen.append(best)
        missing = _without(missing, [best])
    return chosen
