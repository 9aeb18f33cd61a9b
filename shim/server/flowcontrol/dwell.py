"""For how long was it so? Time by state, from which averages and histograms are made when somebody asks.

Upstream samples its gauges at the end of every nanosecond, so to speak: a histogram of a number over time counts the
nanoseconds that it spent in each bucket. Here every change costs one addition, whatever is made of it later.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from operator import add

from shim.api.timing import Histogram

State = tuple[int, ...]
_NANOSECONDS = 1e9


class Dwell:
    """How many there are of some things, and how long there have been how many."""

    __slots__ = ("_one_more", "_since", "_spent", "brief", "state")

    def __init__(self, one_more: State, now: float) -> None:
        self.state: State = (0,) * len(one_more)
        self.brief = 0.0
        """Of the time in this state: seconds with one more, those of ``one_more``, of whom nothing else was told."""
        self._one_more, self._since = one_more, now
        self._spent: defaultdict[State, float] = defaultdict(float)

    def move(self, state: State, now: float) -> None:
        self._spent[self.state] += now - self._since - self.brief
        if self.brief:
            self._spent[tuple(map(add, self.state, self._one_more))] += self.brief
            self.brief = 0.0
        self.state, self._since = state, now

    def take(self, now: float) -> Mapping[State, float]:
        """Seconds by state since the last time, also those too short to be measured."""
        self.move(self.state, now)
        spent, self._spent = self._spent, defaultdict(float)
        return spent


class Moments:
    """Average, deviation and peak of a number over time."""

    __slots__ = ("_seconds", "_squares", "_sum", "peak")

    def __init__(self, value: float) -> None:
        self.peak = value
        self._seconds = self._sum = self._squares = 0.0

    def add(self, value: float, seconds: float) -> None:
        self.peak = max(self.peak, value)
        self._seconds += seconds
        self._sum += value * seconds
        self._squares += value * value * seconds

    @property
    def average(self) -> float:
        return self._sum / self._seconds if self._seconds else 0.0

    @property
    def deviation(self) -> float:
        return math.sqrt(max(0.0, self._squares / self._seconds - self.average**2)) if self._seconds else 0.0


def sample(histogram: Histogram, value: float, seconds: float) -> None:
    """A number was this for so long: one observation a nanosecond."""
    histogram.repeat(value, round(seconds * _NANOSECONDS))
