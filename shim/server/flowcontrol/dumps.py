"""What is going on right now, for people: /debug/api_priority_and_fairness/dump_priority_levels, _queues, _requests.

The tables are upstream's: columns of text with commas, padded so that they stand below each other. Who may read them
is for the roles to say, as of any path.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from shim.api.duration import go_duration
from shim.api.gotext import go_text
from shim.server.flowcontrol.gate import Gate, Seat
from shim.server.flowcontrol.levels import Levels, PriorityLevel
from shim.server.options import Query, first

ROOT = "/debug/api_priority_and_fairness/"
_NARROWEST, _BETWEEN = 8, 1  # characters of a column, and of what is between two

Row = Sequence[object]

_LEVELS = (
    *("PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests"),
    *("DispatchedRequests", "RejectedRequests", "TimedoutRequests", "CancelledRequests"),
)
_QUEUES = (
    *("PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR"),
    *("InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum"),
)
_REQUESTS = (
    *("PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "FlowDistingsher", "ArriveTime"),
    *("InitialSeats", "FinalSeats", "AdditionalLatency", "StartTime"),
)  # with upstream's spelling
_DETAILS = ("UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource")
_NEVER = "0001-01-01T00:00:00Z"


def dump(gate: Gate, path: str, query: Query) -> str | None:
    """The text at a path; None where there is none."""
    levels = gate.levels
    levels.settle()
    if path == f"{ROOT}dump_priority_levels":
        return _table(_LEVELS, _levels(levels))
    if path == f"{ROOT}dump_queues":
        return _table(_QUEUES, _queues(levels.levels.values()))
    if path == f"{ROOT}dump_requests":
        detailed = bool(first(query, "includeRequestDetails"))
        return _table((*_REQUESTS, *(_DETAILS if detailed else ())), _requests(levels.levels.values(), detailed))
    return None


def _levels(levels: Levels) -> Iterator[Row]:
    for name, level in sorted(levels.levels.items()):
        queues = level.queues
        done = sum(each.at_once + each.called for (of, _), each in levels.tallies.items() if of == name)
        backlog = sum(bool(queue.waiting) for queue in queues.all_queues())
        now = (queues.idle, level.going, queues.waiting, len(queues.executing))
        yield name, backlog, *now, done, queues.rejected, 0, queues.cancelled  # upstream counts no time-outs either


def _queues(levels: Iterable[PriorityLevel]) -> Iterator[Row]:
    for level in levels:
        for index, queue in enumerate(level.queues.all_queues()):
            initial = sum(ticket.work.initial for ticket in queue.waiting)
            most = sum(ticket.work.seats for ticket in queue.waiting)
            now = (len(queue.waiting), queue.executing, queue.seats, _work(queue.start))
            yield level.name, index, *now, initial, most, _work(queue.work)


def _requests(levels: Iterable[PriorityLevel], detailed: bool) -> Iterator[Row]:
    at = _clock()
    for level in levels:
        queues = level.queues
        for index, queue in enumerate(queues.all_queues()):
            for position, seat in enumerate(queue.waiting):
                yield _request(seat, index, position, detailed, at)
            for seat in queues.executing:
                if seat.queue is queue:
                    yield _request(seat, index, -1, detailed, at)
        for seat in queues.executing:
            if seat.queue is None:
                yield _request(seat, -1, -1, detailed, at)


def _request(seat: Seat, queue: int, position: int, detailed: bool, at: Callable[[float], str]) -> Row:
    flow, work, info = seat.flow, seat.work, seat.info
    began = _NEVER if seat.waits else at(seat.began)
    took = (work.initial, work.final, go_duration(work.latency))
    row = (flow.level.name, flow.schema.name, queue, position, flow.distinguisher, at(seat.arrived), *took, began)
    if not detailed:
        return row
    version = f"{info.group}/{info.version}" if info.group else info.version
    where = (info.path, info.namespace, info.name, version, info.resource, info.subresource)
    return *row, seat.user.name, info.verb, *where


def _clock() -> Callable[[float], str]:
    """The monotonic clock's readings as dates, as Go writes them."""
    apart = time.time_ns() - time.perf_counter_ns()

    def at(reading: float) -> str:
        seconds, fraction = divmod(apart + int(reading * 1e9), 1_000_000_000)
        digits = f".{fraction:09}".rstrip("0").rstrip(".")
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}{digits}Z"

    return at


def _work(seat_seconds: float) -> str:
    return f"{seat_seconds:.8f}ss"


def _table(headers: Row, rows: Iterable[Row]) -> str:
    """Cells end with a comma, and begin below each other; those at the end of lines are as long as they are."""
    lines = [[go_text(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(_NARROWEST, max(len(cell) for cell in column) + 1 + _BETWEEN) for column in zip(*lines, strict=True)]
    return "".join(
        "".join(f"{cell},".ljust(width) for cell, width in zip(line[:-1], widths, strict=False)) + line[-1] + "\n"
        for line in lines
    )
