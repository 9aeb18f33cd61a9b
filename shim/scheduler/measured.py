"""What has the scheduler decided, and how fast? Counted as it goes, told as metrics under upstream's names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import perf_counter

from prometheus_client.core import Metric

from shim.api.timing import Histogram, Histograms
from shim.codec.exposition import Labels, counters, gauges, histograms

SCHEDULED, UNSCHEDULABLE, ERROR = "scheduled", "unschedulable", "error"
_SECONDS = tuple(0.001 * 2**power for power in range(15))
_VICTIMS = tuple(2.0**power for power in range(7))
_ATTEMPT = ("profile", "result")


class Measured:
    """Attempts to place pods, and what room was made for them."""

    def __init__(self) -> None:
        self._attempts = Histograms(_SECONDS)
        self._preemptions = 0
        self._sizes = Histogram(_VICTIMS)

    def attempt(self, profile: str, result: str, began: float) -> None:
        """One pod was tried; ``began`` by ``perf_counter``."""
        self._attempts[profile, result].add(perf_counter() - began)

    def preemption(self, victims: int | None) -> None:
        """It was looked whether others can make room; None: they cannot."""
        self._preemptions += 1
        if victims is not None:
            self._sizes.add(victims)

    def families(self, pending: Mapping[str, int]) -> Iterator[Metric]:
        """``pending``: pods that wait, by what they wait for."""
        counts: dict[Labels, float] = {labels: found.count for labels, found in self._attempts.items()}
        yield counters("scheduler_schedule_attempts", "Attempts to place pods, by their result.", _ATTEMPT, counts)
        help = "Time an attempt to place a pod took, until its binding was written."
        yield histograms("scheduler_scheduling_attempt_duration_seconds", help, _ATTEMPT, self._attempts)
        waiting: dict[Labels, float] = {(queue,): number for queue, number in pending.items()}
        yield gauges("scheduler_pending_pods", "Pods that wait for a place.", ("queue",), waiting)
        help = "Times it was looked whether lesser pods can make room."
        yield counters("scheduler_preemption_attempts", help, (), {(): self._preemptions})
        help = "Pods that had to make room for one."
        yield histograms("scheduler_preemption_victims", help, (), {(): self._sizes})
