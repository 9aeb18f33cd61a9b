"""What flow control has to tell at /metrics, under upstream's names.

Of requests that found a seat at once only their number is kept: that they did not wait, took one seat and stood alone
in their queue follows from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from time import perf_counter

from prometheus_client.core import Metric

from shim.api.timing import Histogram, Histograms
from shim.codec.exposition import Labels, counters, gauges, histograms
from shim.server.flowcontrol.gate import Gate
from shim.server.flowcontrol.levels import PriorityLevel, Tally

_PREFIX = "apiserver_flowcontrol_"
_LEVEL: Labels = ("priority_level",)
_BOTH: Labels = ("priority_level", "flow_schema")
_PHASED: Labels = ("phase", "priority_level")
_WIDTHS = (1, 2, 4, 8, 16, 32, 64, 100)
_AT_ONCE = 1e-6  # seconds: too short to be measured, but not 0
_OF_LEVELS: dict[str, tuple[str, Callable[[PriorityLevel], float]]] = {
    "nominal_limit_seats": ("Seats a level has by its shares.", lambda level: level.share.limits.nominal),
    "request_concurrency_limit": ("The same, under an older name.", lambda level: level.share.limits.nominal),
    "lower_limit_seats": ("Seats a level does not lend.", lambda level: level.share.limits.lower),
    "upper_limit_seats": ("Seats a level may have with what others lend.", lambda level: level.share.limits.upper),
    "current_limit_seats": ("Seats a level has for now.", lambda level: level.share.current),
    "demand_seats_high_watermark": ("Most seats that were wanted of late.", lambda level: level.share.demand.peak),
    "demand_seats_average": ("Seats that were wanted of late.", lambda level: level.share.demand.average),
    "demand_seats_stdev": ("How much that went up and down.", lambda level: level.share.demand.deviation),
    "demand_seats_smoothed": ("Seats that were wanted over a longer time.", lambda level: level.share.demand.smoothed),
    "target_seats": ("Seats a level would have, if there were enough.", lambda level: level.share.demand.target),
    "current_r": ("How far the clock of fair queuing is.", lambda level: level.queues.reached),
}


def families(gate: Gate) -> Iterator[Metric]:
    """All of them."""
    levels = gate.levels
    levels.fold(perf_counter())
    for name, (help, value) in _OF_LEVELS.items():
        yield gauges(f"{_PREFIX}{name}", help, _LEVEL, {(n,): value(level) for n, level in levels.levels.items()})
    help = "The part of its target that each level gets which can use it."
    yield gauges(f"{_PREFIX}seat_fair_frac", help, (), {(): levels.fair})
    yield from _dispatches(levels.levels.values())
    yield from _use(gate)
    yield from _present(levels.levels.values(), levels.tallies)
    yield from _past(levels.tallies)


def _dispatches(levels: Iterable[PriorityLevel]) -> Iterator[Metric]:
    """What the clocks read when a request last left its queue."""
    found = {level.name: level.queues.last for level in levels}
    last = {name: each for name, each in found.items() if each is not None}
    reached: dict[Labels, float] = {(name,): each.reached for name, each in last.items()}
    yield gauges(f"{_PREFIX}dispatch_r", "The clock at the last dispatch.", _LEVEL, reached)
    starts: dict[Labels, float] = {(name,): each.start for name, each in last.items()}
    yield gauges(f"{_PREFIX}latest_s", "When the request that was last dispatched was to start.", _LEVEL, starts)
    bounded: Labels = (*_LEVEL, "bound")
    nexts: dict[Labels, float] = {(name, "min"): each.first_start for name, each in last.items()}
    nexts |= {(name, "max"): each.last_start for name, each in last.items()}
    yield gauges(f"{_PREFIX}next_s_bounds", "When the first of each queue was to start.", bounded, nexts)
    discounted: dict[Labels, float] = {(name, "min"): each.first_discounted for name, each in last.items()}
    discounted |= {(name, "max"): each.last_discounted for name, each in last.items()}
    help = "The same, less what the queue has under way."
    yield gauges(f"{_PREFIX}next_discounted_s_bounds", help, bounded, discounted)


def _use(gate: Gate) -> Iterator[Metric]:
    """How much of what there is was in use, and for how long."""
    levels = gate.levels.levels
    seats: dict[Labels, Histogram] = {("executing", name): level.seats_use for name, level in levels.items()}
    help = "Part of a level's seats that was taken, for each nanosecond."
    yield histograms(f"{_PREFIX}priority_level_seat_utilization", help, _PHASED, seats)
    phases = ("executing", "waiting")
    requests: dict[Labels, Histogram] = {
        (phase, name): level.use[phase] for name, level in levels.items() for phase in phases
    }
    help = "Requests of a level by the most there may be, for each nanosecond."
    yield histograms(f"{_PREFIX}priority_level_request_utilization", help, _PHASED, requests)
    demand: dict[Labels, Histogram] = {(name,): level.demand for name, level in levels.items()}
    yield histograms(f"{_PREFIX}demand_seats", "Seats a level could use, for each nanosecond.", _LEVEL, demand)
    kinds: dict[Labels, Histogram] = {
        (phase, kind): crowd.use[phase] for kind, crowd in gate.by_kind().items() for phase in phases
    }
    help = "Requests that read or write by the most there may be, for each nanosecond."
    yield histograms(f"{_PREFIX}read_vs_write_current_requests", help, ("phase", "request_kind"), kinds)


def _present(levels: Iterable[PriorityLevel], tallies: Iterable[Labels]) -> Iterator[Metric]:
    """Who is executing and who waits: counted now, and 0 of those who have been there before."""
    executing, seats, waiting, wanted = (Counter[Labels](dict.fromkeys(tallies, 0)) for _ in range(4))
    for level in levels:
        for seat in level.queues.executing:
            executing[level.name, seat.flow.schema.name] += 1
        for seat in level.queues.executing | level.queues.lingering:
            seats[level.name, seat.flow.schema.name] += seat.work.seats
        for seat in level.queues.waiting_in_order():
            waiting[level.name, seat.flow.schema.name] += 1
            wanted[level.name, seat.flow.schema.name] += seat.work.seats
    for name, help, found in (
        ("current_executing_requests", "Requests that are executing.", executing),
        ("current_executing_seats", "Seats that are taken.", seats),
        ("request_concurrency_in_use", "The same, under an older name.", seats),
        ("current_inqueue_requests", "Requests that wait.", waiting),
        ("current_inqueue_seats", "Seats for which requests wait.", wanted),
    ):
        yield gauges(f"{_PREFIX}{name}", help, _BOTH, found)


def _past(tallies: Mapping[Labels, Tally]) -> Iterator[Metric]:
    """What has become of requests."""
    dispatched = {labels: each.at_once + each.called for labels, each in tallies.items()}
    yield counters(f"{_PREFIX}dispatched_requests", "Requests that were executed.", _BOTH, dispatched)
    rejected = {(*labels, why): n for labels, each in tallies.items() for why, n in each.refused.items() if n}
    yield counters(f"{_PREFIX}rejected_requests", "Requests that were turned away.", (*_BOTH, "reason"), rejected)
    passed_over = {labels: each.passed_over for labels, each in tallies.items() if each.passed_over}
    help = "Times the next request was too wide for the seats that were free."
    yield counters(f"{_PREFIX}request_dispatch_no_accommodation", help, _BOTH, passed_over)
    took = {(*labels, "regular"): each.regular for labels, each in tallies.items() if each.regular.count}
    took |= {(*labels, "watch"): each.watches for labels, each in tallies.items() if each.watches.count}
    help = "Time requests took; of watches, until they had begun."
    yield histograms(f"{_PREFIX}request_execution_seconds", help, (*_BOTH, "type"), took)
    limited = {labels: each for labels, each in tallies.items() if labels[0] != "exempt"}
    waited = {(*labels, *execute): n for labels, each in limited.items() for execute, n in _waits(each).items()}
    help = "Time requests waited."
    yield histograms(f"{_PREFIX}request_wait_duration_seconds", help, (*_BOTH, "execute"), waited)
    lengths = {labels: _more(each.lengths, 1, each.at_once) for labels, each in limited.items() if each.queued}
    help = "Requests in a queue, with the one that has just come."
    yield histograms(f"{_PREFIX}request_queue_length_after_enqueue", help, _BOTH, lengths)
    widths = {labels: _widths(each) for labels, each in tallies.items()}
    yield histograms(f"{_PREFIX}work_estimated_seats", "Seats that requests were believed to need.", _BOTH, widths)
    watchers = {labels: each.watchers for labels, each in tallies.items() if each.watchers.count}
    yield histograms(f"{_PREFIX}watch_count_samples", "How many watch what a request writes.", _BOTH, watchers)


def _waits(tally: Tally) -> Histograms:
    found = Histograms(tally.waited.bounds)
    found.update(tally.waited)
    if tally.at_once:
        found["true",] = _more(found["true",], _AT_ONCE, tally.at_once)
    return found


def _widths(tally: Tally) -> Histogram:
    found = Histogram(_WIDTHS)
    found.repeat(1, tally.came - tally.wide.total())
    for width, number in tally.wide.items():
        found.repeat(width, number)
    return found


def _more(histogram: Histogram, value: float, times: int) -> Histogram:
    """With the same value so many times more."""
    found = Histogram(histogram.bounds)
    found.take(histogram)
    found.repeat(value, times)
    return found
