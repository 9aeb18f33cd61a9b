"""How many requests may be under way at once? So many that read, so many that write; the rest wait their turn.

This is what there is with ``--enable-priority-and-fairness=false``; see :mod:`shim.server.flowcontrol` for the other.

Watches, logs, exec and the like are not counted: they last for as long as they like. Administrators and probes are
never held up, so that a flooded server can still be looked at and repaired; upstream's priority and fairness exempts
the same (https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#exempt).
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AbstractAsyncContextManager, nullcontext
from time import perf_counter

from aiohttp import web

from shim.server.errors import PlainError, too_many_requests
from shim.server.options import Query
from shim.server.routes import RequestInfo
from shim.server.users import MASTERS, User

READ_ONLY, MUTATING = "readOnly", "mutating"
WAITING = 1000  # requests of one class that may wait; they cost little but memory
PATIENCE = 15.0  # seconds to wait: a quarter of the time a request may take, as upstream

_READING = ("get", "list", "head")
_LONG = ("watch", "proxy")
_LONG_SUBRESOURCES = ("attach", "exec", "log", "portforward", "proxy")


def is_long_running(info: RequestInfo) -> bool:
    """Whether a request lasts for as long as its client likes."""
    return info.verb in _LONG or info.subresource in _LONG_SUBRESOURCES


class Seats:
    """The places of one class of requests. Whoever took one gives it back to whoever has waited longest."""

    def __init__(self, limit: int) -> None:
        self.used = 0
        self.rejected = 0
        self._limit = limit
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def take(self, user: User) -> bool:
        """Take a place if there is one: True; to be followed by :meth:`wait` if not."""
        if self.used < self._limit or MASTERS in user.groups:
            self.used += 1
            return True
        return False

    async def wait(self) -> None:
        """Wait for a place, and take it. Raises 429."""
        if len(self._waiting) >= WAITING:
            raise self._reject()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(PATIENCE):
                await turn
        except TimeoutError:
            raise self._reject() from None
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def leave(self) -> None:
        """Give the place to the next who waits."""
        while self._waiting and self.used <= self._limit:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # it is theirs: ``used`` stays as it is
                return
        self.used -= 1

    def _reject(self) -> PlainError:
        self.rejected += 1
        return too_many_requests()


class Place:
    """One request's place in its class."""

    __slots__ = ("_seats", "waits")

    def __init__(self, seats: Seats, user: User) -> None:
        self._seats = seats
        self.waits = not seats.take(user)

    async def wait(self, http: web.BaseRequest, limit: float) -> float:
        """Returns how much of its time the request has left. Raises 429."""
        began = perf_counter()
        await self._seats.wait()
        return limit - (perf_counter() - began)

    def leave(self) -> None:
        self._seats.leave()


class Inflight:
    """Both classes."""

    def __init__(self, read_only: int, mutating: int) -> None:
        self.classes = {READ_ONLY: Seats(read_only), MUTATING: Seats(mutating)}
        self._read_only, self._mutating = self.classes[READ_ONLY], self.classes[MUTATING]

    def take(self, http: web.BaseRequest, user: User, info: RequestInfo, query: Query) -> Place:
        """A place, or one to wait for."""
        return Place(self.of(info), user)

    def watching(
        self, http: web.BaseRequest, user: User, info: RequestInfo, query: Query, limit: float
    ) -> AbstractAsyncContextManager[None]:
        """Around a watch, which is not counted."""
        return nullcontext()

    def crowds(self) -> dict[str, tuple[int, int]]:
        """How many are executing and waiting, by class."""
        return {name: (seats.used, seats.waiting) for name, seats in self.classes.items()}

    def of(self, info: RequestInfo) -> Seats:
        return self._read_only if info.verb in _READING else self._mutating
