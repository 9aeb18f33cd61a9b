"""How far may a proposal be followed? Recent proposals steady it, and rules say how fast the number may change. Pure.

Without ``spec.behavior`` upstream's older rules hold: down only to the highest proposal of five minutes, up at most to
twice as many, or four.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from shim.api.meta import Object

DOWN_WINDOW = 300  # seconds of recent proposals that hold a shrinking back
UP_FACTOR, UP_LEAST = 2.0, 4.0

WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
UP_LIMIT = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
DOWN_LIMIT = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
READY = ("ReadyForNewScale", "recommended size matches current size")
UP_STEADIED = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
DOWN_STEADIED = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)

Reason = tuple[str, str]
"""Reason and message of a condition."""


class Limited(NamedTuple):
    """The number that is allowed. ``able`` and ``why`` belong into the conditions AbleToScale and ScalingLimited."""

    replicas: int
    able: Reason
    limited: bool
    why: Reason


@dataclass(slots=True)
class History:
    """What was proposed and done for one autoscaler, with the seconds when."""

    proposals: list[tuple[float, int]] = field(default_factory=list)
    ups: list[tuple[float, int]] = field(default_factory=list)
    downs: list[tuple[float, int]] = field(default_factory=list)

    def propose(self, at: float, replicas: int, keep: float) -> None:
        self.proposals = [each for each in self.proposals if each[0] > at - keep] + [(at, replicas)]

    def scaled(self, at: float, before: int, after: int, keep: float) -> None:
        changes = self.ups if after > before else self.downs
        changes[:] = [each for each in changes if each[0] > at - keep] + [(at, abs(after - before))]


def limit(spec: Object, history: History, current: int, desired: int, at: float) -> Limited:
    """Apply windows, rates and bounds, and remember the proposal."""
    least, most = int(spec.get("minReplicas") or 1), int(spec["maxReplicas"])
    behavior = spec.get("behavior")
    if not behavior:
        steady = max([desired, *_since(history.proposals, at - DOWN_WINDOW)])
        history.propose(at, desired, DOWN_WINDOW)
        fast = int(max(UP_FACTOR * current, UP_LEAST))
        replicas, why = _bounded(steady, least, min(most, fast), UP_LIMIT if most > fast else TOO_MANY, TOO_FEW)
        return Limited(replicas, READY if steady == desired else DOWN_STEADIED, replicas != steady, why)
    up, down = behavior.get("scaleUp") or {}, behavior.get("scaleDown") or {}
    steady = _steadied(history, up, down, current, desired, at)
    able = READY if steady == desired else UP_STEADIED if desired >= current else DOWN_STEADIED
    replicas, why = steady, WITHIN
    if steady > current:
        fast = max(current, _rate(up, history, current, at, grows=True))
        replicas, why = _bounded(steady, 0, min(most, fast), UP_LIMIT if most > fast else TOO_MANY, TOO_FEW)
    elif steady < current:
        slow = min(current, _rate(down, history, current, at, grows=False))
        replicas, why = _bounded(steady, max(least, slow), current, TOO_MANY, DOWN_LIMIT if least < slow else TOO_FEW)
    return Limited(replicas, able, replicas != steady, why)


def longest_period(rules: Object) -> float:
    """How long a change matters to these rules."""
    return max((float(policy["periodSeconds"]) for policy in rules.get("policies") or ()), default=0.0)


def _bounded(wanted: int, least: int, most: int, above: Reason, below: Reason) -> tuple[int, Reason]:
    if wanted < least:
        return least, below
    return (most, above) if wanted > most else (wanted, WITHIN)


def _since(changes: list[tuple[float, int]], cutoff: float) -> list[int]:
    return [number for at, number in changes if at > cutoff]


def _steadied(history: History, up: Object, down: Object, current: int, desired: int, at: float) -> int:
    """Up only to the lowest proposal of its window, down only to the highest of its own."""
    up_window = float(up.get("stabilizationWindowSeconds") or 0)
    asked = down.get("stabilizationWindowSeconds")
    down_window = float(DOWN_WINDOW if asked is None else asked)
    lowest = min([desired, *_since(history.proposals, at - up_window)])
    highest = max([desired, *_since(history.proposals, at - down_window)])
    history.propose(at, desired, max(up_window, down_window))
    return min(max(current, lowest), highest)


def _rate(rules: Object, history: History, current: int, at: float, *, grows: bool) -> int:
    """The number the policies allow at most (or least): each counts from where its period began."""
    if rules.get("selectPolicy") == "Disabled":
        return current
    allowed = []
    for policy in rules.get("policies") or ():
        cutoff = at - float(policy["periodSeconds"])
        began = current - sum(_since(history.ups, cutoff)) + sum(_since(history.downs, cutoff))
        value = int(policy["value"])
        if policy["type"] == "Pods":
            allowed.append(began + value if grows else began - value)
        elif grows:
            allowed.append(math.ceil(began * (1 + value / 100)))
        else:
            allowed.append(int(began * (1 - value / 100)))
    widest: Callable[[list[int]], int] = max if grows else min
    narrowest: Callable[[list[int]], int] = min if grows else max
    if not allowed:
        return current
    return narrowest(allowed) if rules.get("selectPolicy") == "Min" else widest(allowed)
