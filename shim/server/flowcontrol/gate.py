"""Where requests wait for their turn: classified, estimated, seated; or turned away with 429.

A request that finds a seat passes without waiting for anything, and costs a microsecond (see ``Levels.passing``). A
watch has a seat only until it has told what was there when it began; logs, exec and the like have none, for they last
as long as they like.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter, time

from aiohttp import web

from shim.server.connection import ApiRequest, Connection
from shim.server.errors import PlainError, too_many_requests
from shim.server.flowcontrol import width
from shim.server.flowcontrol.levels import Crowd, Flow, Levels
from shim.server.flowcontrol.queues import NOT_YET, Refused, Ticket
from shim.server.flowcontrol.width import ONE, Work
from shim.server.inflight import MUTATING, READ_ONLY
from shim.server.options import Query, boolean, first
from shim.server.routes import RequestInfo, Routes
from shim.server.selection import equalities
from shim.server.users import User
from shim.store.cache import Cache

PATIENCE = 0.25  # of the time a request has: what it may wait, as upstream
LONGEST = 60.0  # seconds, whatever time it has
_WRITING = ("create", "update", "patch", "delete")
_SAMPLE = 20  # objects, by which the size of all is estimated
_SIZES_KEPT = 30.0  # seconds


class Seat(Ticket):
    """The ticket of a request that somebody waits for."""

    _turn: asyncio.Future[None] | None = None

    def __init__(self, gate: Gate, flow: Flow, user: User, info: RequestInfo, work: Work, arrived: float) -> None:
        self.work, self.arrived = work, arrived  # without the call that super() would be: every request has one
        self.gate, self.flow, self.user, self.info = gate, flow, user, info

    @property
    def waits(self) -> bool:
        """Whether there is none yet: to be followed by :meth:`wait`."""
        return self.began == NOT_YET

    def call(self) -> bool:
        if self._turn is None:
            return True
        if self._turn.done():
            return False
        self._turn.set_result(None)
        return True

    def passed_over(self) -> None:
        self.flow.tally.passed_over += 1

    async def wait(self, http: web.BaseRequest, limit: float) -> float:
        """Wait for it; ``limit`` is how many seconds the request may take, and so many are left then.

        Raises 429, and ConnectionError when the client leaves.
        """
        flow, gone = self.flow, self._gone
        self._turn = asyncio.get_running_loop().create_future()
        connection = http.protocol
        assert isinstance(connection, Connection)
        connection.on_lost.add(gone)
        flow.crowd.change(0, 1, self.arrived)
        try:
            async with asyncio.timeout(min(limit * PATIENCE, LONGEST)):
                await self._turn
        except TimeoutError:
            if self.waits:  # and was not called at the last moment
                raise self._refused("time-out") from None
        except BaseException:
            if self.waits:
                flow.tally.refused["time-out"] += 1
            else:
                self._sit()
                self.leave()
            raise
        finally:
            self.gate.levels.settle()
            now = perf_counter()
            connection.on_lost.discard(gone)
            flow.crowd.change(0, -1, now)
            if self.waits:
                flow.level.queues.withdraw(self, now)
            flow.tally.waited["true",].add(now - self.arrived)
        self._sit()
        return limit - (self.began - self.arrived)

    def leave(self) -> None:
        """Give it back. Who has left already may leave again: a watch does so when it has begun."""
        if self.ended != NOT_YET:
            return
        flow, now, levels = self.flow, perf_counter(), self.gate.levels
        seconds = now - self.began
        (flow.tally.watches if self.info.verb == "watch" else flow.tally.regular).add(seconds)
        if levels.passing is self:
            levels.passing = None
            self.ended = now
            flow.crowd.dwell.brief += seconds
            flow.level.queues.dwell.brief += seconds
            return
        levels.settle()
        flow.crowd.change(-1, 0, now)
        if latency := flow.level.queues.leave(self, now):
            asyncio.get_running_loop().call_later(latency, self._release)
        elif flow.level.going:
            levels.reap(now)

    def _sit(self) -> None:
        self.flow.tally.called += 1
        self.flow.crowd.change(1, 0, perf_counter())

    def _gone(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_exception(ConnectionResetError("the client left while it waited"))

    def _release(self) -> None:
        self.gate.levels.settle()
        now = perf_counter()
        self.flow.level.queues.release(self, now)
        if self.flow.level.going:
            self.gate.levels.reap(now)

    def _refused(self, reason: str) -> PlainError:
        self.flow.tally.refused[reason] += 1
        return too_many_requests(self.flow.level.drops.add(time()))


SEAT: web.RequestKey[Seat] = web.RequestKey("seat")
"""Of a watch, until it has begun."""


class Gate:
    """Lets requests pass."""

    def __init__(self, levels: Levels, cache: Cache, routes: Routes) -> None:
        self.levels = levels
        self._cache, self._routes = cache, routes
        self._watchers = width.Watchers()
        self._sizes: dict[str, tuple[float, int]] = {}

    def take(self, http: web.BaseRequest, user: User, info: RequestInfo, query: Query) -> Seat:
        """A seat, or a place to wait for one. Raises 429."""
        flow = self.levels.flow_of(user, info)
        if isinstance(http, ApiRequest):
            http.classified = flow.classified
        tally = flow.tally
        tally.came += 1
        work = ONE if info.verb == "get" else self._work(flow, info, query)
        levels, queues, now = self.levels, flow.level.queues, perf_counter()
        seat = Seat(self, flow, user, info, work, now)
        if levels.passing is not None:
            levels.settle()
        if work is ONE and queues.free:
            levels.passing = seat
            seat.began = now
            return seat
        if work is not ONE:
            tally.wide[work.seats] += 1
        try:
            queues.enter(seat, flow.hand, now)
        except Refused as refused:
            tally.waited["false",].add(0.0)
            raise seat._refused(str(refused)) from None
        if seat.began != NOT_YET:
            flow.crowd.change(1, 0, now)
        elif seat.queue is not None:
            tally.delayed += 1
            tally.lengths.add(len(seat.queue.waiting))
        return seat

    @asynccontextmanager
    async def watching(
        self, http: web.BaseRequest, user: User, info: RequestInfo, query: Query, limit: float
    ) -> AsyncIterator[None]:
        """Around a watch: it has a seat while it begins, and counts as a watch until it ends. Raises 429."""
        seat = self.take(http, user, info, query)
        if seat.waits:
            await seat.wait(http, limit)
        http[SEAT] = seat
        name, counted = _name(info, query), _counts(info, query)
        if counted:
            self._watchers.begin(info, name)
        try:
            yield
        finally:
            seat.leave()
            if counted:
                self._watchers.end(info, name)

    def by_kind(self) -> dict[str, Crowd]:
        """Those that read, and those that write."""
        return {READ_ONLY: self.levels.reading, MUTATING: self.levels.writing}

    def crowds(self) -> dict[str, tuple[int, int]]:
        """How many are executing and waiting, by kind."""
        self.levels.settle()
        return {name: (crowd.executing, crowd.waiting) for name, crowd in self.by_kind().items()}

    def _work(self, flow: Flow, info: RequestInfo, query: Query) -> Work:
        if info.verb in _WRITING:
            watchers = self._watchers.of(info)
            flow.tally.watchers.add(watchers)
            return width.of_write(watchers, flow.level.most_seats)
        if info.verb == "list" or (info.verb == "watch" and _begins_with_list(query)):
            row = self._routes.get(info.group, info.version, info.resource)
            if row is not None and "list" in row.verbs:
                count, limit = self._cache.count(row.prefix), first(query, "limit")
                return width.of_list(
                    count,
                    self._size(row.prefix) if count else 0,
                    flow.level.most_seats,
                    int(limit) if limit.isdecimal() and len(limit) < 19 else 0,
                    single=bool(_name(info, query)),
                )
        return ONE

    def _size(self, prefix: str) -> int:
        """The average size of what is stored there; the first few are as good as any, and looked at now and then."""
        until, size = self._sizes.get(prefix, (0.0, 0))
        now = perf_counter()
        if now > until:
            some = self._cache.range(prefix, limit=_SAMPLE)
            size = sum(len(entry.data) for entry in some) // len(some) if some else 0
            self._sizes[prefix] = (now + _SIZES_KEPT, size)
        return size


def _begins_with_list(query: Query) -> bool:
    """Whether a watch first tells what is there."""
    return bool(boolean(query, "sendInitialEvents")) or first(query, "resourceVersion") in ("", "0")


def _name(info: RequestInfo, query: Query) -> str:
    """Of the one object that is meant, by its path or by a field selector."""
    return info.name or _field(query, "metadata.name")


def _counts(info: RequestInfo, query: Query) -> bool:
    """Watches of the pods of one node are told of hardly any write, and there is one on every node."""
    return info.resource != "pods" or not _field(query, "spec.nodeName")


def _field(query: Query, field: str) -> str:
    selector = first(query, "fieldSelector") if query else ""
    return dict(equalities(selector)).get(field, "") if selector else ""
