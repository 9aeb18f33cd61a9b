"""How many seats does a level have? A share by weight, of which it lends what it does not use.

``nominal`` is what the weights say, ``lower`` what a level keeps in any case, ``upper`` what it may have with what
others lend. Every ten seconds ``current`` moves between these by how many seats each could have used of late.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shim.server.flowcontrol.dwell import Moments

PERIOD = 10.0  # seconds between adjustments
_DECAY = 0.977  # of demand that is over: half of it is forgotten in five minutes
_LEAST = 0.001  # a target of which there is a multiple


@dataclass(frozen=True, slots=True)
class Terms:
    """What the object of a level says; ``borrowing`` None: no limit."""

    shares: int
    lendable: int = 0
    borrowing: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Seats."""

    nominal: int
    lower: int
    upper: int

    @property
    def at_first(self) -> int:
        """Before there is any demand to go by: half of what may be lent is kept."""
        return self.nominal - (self.nominal - self.lower) // 2


def limits_of(total: int, levels: Mapping[str, Terms]) -> dict[str, Limits]:
    """All seats by weight; rounded up, so that they may come to a few more than there are."""
    shares = sum(terms.shares for terms in levels.values())
    found = {}
    for name, terms in levels.items():
        nominal = math.ceil(total * terms.shares / shares) if shares else 0
        lendable = _rounded(nominal * terms.lendable / 100)
        borrowing = total if terms.borrowing is None else _rounded(nominal * terms.borrowing / 100)
        found[name] = Limits(nominal, nominal - lendable, nominal + borrowing)
    return found


@dataclass(slots=True)
class Demand:
    """How many seats a level could have used: of the last period, and over a longer time."""

    peak: int = 0
    average: float = 0.0
    deviation: float = 0.0
    smoothed: float = 0.0
    target: float = 0.0

    def learn(self, seen: Moments) -> None:
        """More is believed at once, less by and by."""
        self.peak, self.average, self.deviation = _rounded(seen.peak), seen.average, seen.deviation
        envelope = self.average + self.deviation
        self.smoothed = max(envelope, _DECAY * self.smoothed + (1 - _DECAY) * envelope)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a level is to have at least and at most, and would like."""

    lower: float
    upper: float
    target: float


@dataclass(slots=True)
class Level:
    """What the adjustment knows of a level."""

    limits: Limits
    exempt: bool
    demand: Demand = field(default_factory=Demand)
    current: int = 0

    @property
    def floor(self) -> int:
        """What it may not be left without: what it has just used, as far as that is its own."""
        used = self.demand.peak
        return max(self.limits.lower, used if self.exempt else min(self.limits.nominal, used))


def adjust(levels: Sequence[Level]) -> float:
    """Set what every level has from now on. Returns the fair share: of its target, what each gets that can use it.

    What exempt levels use comes first. Where too little is left for the floors of the others, these get in proportion
    what is above their least.
    """
    rest = sum(level.limits.nominal for level in levels)
    total, limited = rest, [level for level in levels if not level.exempt]
    for level in levels:
        level.demand.target = max(level.floor, level.demand.smoothed)
        if level.exempt:
            level.current = level.floor
            rest -= level.current
    least, floors = sum(each.limits.lower for each in limited), sum(each.floor for each in limited)
    if rest <= floors:
        part = max(0.0, (rest - least) / (floors - least)) if floors > least else 0.0
        for each in limited:
            each.current = each.limits.lower + _rounded((each.floor - each.limits.lower) * part)
        return 0.0
    claims = [Claim(each.floor, each.limits.upper, each.demand.target) for each in limited]
    try:
        given, fair = share(total, claims)
    except ValueError:
        return 0.0  # everything stays as it is
    for each, seats in zip(limited, given, strict=True):
        each.current = _rounded(seats)
    return fair


def share(total: float, claims: Sequence[Claim]) -> tuple[list[float], float]:
    """Divide a total so that all get the same part of their targets, but nobody less or more than their bounds.

    Returns what each gets, and the part. What all get together grows with the part, straight between the parts at
    which somebody reaches a bound: so these are looked at first. Raises ValueError where the bounds do not allow it.
    """
    if not sum(claim.lower for claim in claims) <= total <= sum(claim.upper for claim in claims):
        raise ValueError("the bounds do not allow this total")
    targets = [max(claim.target, _LEAST) for claim in claims]

    def given(part: float) -> list[float]:
        pairs = zip(claims, targets, strict=True)
        return [min(max(claim.lower, part * target), claim.upper) for claim, target in pairs]

    edges = sorted(
        {bound / target for claim, target in zip(claims, targets, strict=True) for bound in (claim.lower, claim.upper)}
    )
    at = bisect_left(edges, total, key=lambda part: sum(given(part)))
    if at == 0:
        return given(edges[0]), edges[0]
    low, high = edges[at - 1], edges[min(at, len(edges) - 1)]
    before, after = sum(given(low)), sum(given(high))
    part = low + (high - low) * (total - before) / (after - before) if after > before else high
    return given(part), part


def _rounded(value: float) -> int:
    """Halves up, as Go's math.Round for what is not negative."""
    return math.floor(value + 0.5)
