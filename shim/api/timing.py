"""How long does something take, as a histogram? Cheap to add to, and only put together when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

USUAL = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Bounds in seconds that Prometheus' libraries take where none are given."""


class Histogram:
    """Counts of values by bucket; each bucket holds what is up to its bound, the last what is above all."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def repeat(self, value: float, times: int) -> None:
        """Add the same value so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def take(self, other: Histogram) -> None:
        """Add all values of another one with the same bounds."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def coarser(self, bounds: Sequence[float]) -> Histogram:
        """The same values in fewer buckets: ``bounds`` are some of this one's."""
        found = Histogram(bounds)
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            found.counts[bisect_left(bounds, bound)] += count
        found.total = self.total
        return found

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has them: each with all that are below it."""
        names = [*(f"{bound:g}" for bound in self.bounds), "+Inf"]  # as Go prints them: 1, 0.005, 1e+06
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


class Histograms(dict[tuple[str, ...], Histogram]):
    """Histograms by their labels, each made when its labels first appear."""

    def __init__(self, bounds: Sequence[float]) -> None:
        super().__init__()
        self.bounds = bounds

    def __missing__(self, labels: tuple[str, ...]) -> Histogram:
        found = self[labels] = Histogram(self.bounds)
        return found
