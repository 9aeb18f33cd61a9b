"""How much work is a request? So many seats while it is answered, and maybe some for a while after that.

A list takes more memory the more it returns; a write makes work after its answer for everybody who watches. All
numbers are upstream's, from measurements of its own
(https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#seats-occupied-by-a-request).
"""

from __future__ import annotations

import math
from collections import Counter

from shim.server.routes import RequestInfo

BYTES_PER_SEAT = 100_000
AT_ONCE = 1_000_000  # bytes of a list that are in memory together: what follows is made as the client reads
MOST_OF_LIST, MOST_OF_WRITE = 100, 10  # seats
WATCHERS_PER_SEAT = 10
AFTERMATH = 0.005  # seconds that telling one seat's worth of watchers takes
SERVICE = 0.003  # seconds a request is believed to take until it is known how long it did
_SHARE_OF_LEVEL = 0.15


class Work:
    """``initial`` seats while a request is answered, then ``final`` ones for ``latency`` seconds.

    ``seats`` are occupied for all of that; ``total`` is the work in seat-seconds, as far as it can be foreseen.
    """

    __slots__ = ("final", "initial", "latency", "seats", "total")

    def __init__(self, initial: int, final: int = 0, latency: float = 0.0) -> None:
        self.initial, self.final, self.latency = initial, final, latency
        self.seats = max(initial, final)
        self.total = initial * SERVICE + final * latency

    def within(self, seats: int) -> Work:
        """The same work after the answer by not more seats than there are, for longer."""
        return Work(self.initial, seats, self.final * self.latency / seats) if self.final > seats > 0 else self


ONE = Work(1)


def most_seats(limit: int, hand: int) -> int:
    """How many seats one request may have of a level with queues: no more than a flow is dealt queues for."""
    return int(max(1, min(math.ceil(limit * _SHARE_OF_LEVEL), limit // hand)))


def of_list(objects: int, average: int, most: int, limit: int, *, single: bool) -> Work:
    """A list, or what a watch begins with: of so many ``objects`` of this ``average`` size, not more than ``limit``.

    ``most``: :func:`most_seats`, or 0; ``single``: one object is asked for by its name; ``limit`` 0: all.
    """
    loaded = 1 if single else min(objects, limit or objects)
    seats = math.ceil(min(loaded * average, AT_ONCE) / BYTES_PER_SEAT)
    return _seats(min(max(seats, 1), most or MOST_OF_LIST, MOST_OF_LIST))


def of_write(watchers: int, most: int) -> Work:
    """A write that so many watchers are told of."""
    if watchers < WATCHERS_PER_SEAT:
        return ONE  # upstream charges nothing for what is hardly anything
    seats = math.ceil(watchers / WATCHERS_PER_SEAT)
    final = min(seats, most or MOST_OF_WRITE, MOST_OF_WRITE)
    return Work(1, final, seats * AFTERMATH / final)  # narrower and longer: wide ones keep all others waiting


def _seats(number: int) -> Work:
    return ONE if number == 1 else Work(number)


class Watchers:
    """How many watch what, so that it is known how many a write is told to."""

    def __init__(self) -> None:
        self._watching: Counter[tuple[str, str, str, str]] = Counter()

    def begin(self, info: RequestInfo, name: str) -> None:
        self._watching[info.group, info.resource, info.namespace, name] += 1

    def end(self, info: RequestInfo, name: str) -> None:
        of = (info.group, info.resource, info.namespace, name)
        self._watching[of] -= 1
        if not self._watching[of]:
            del self._watching[of]

    def of(self, info: RequestInfo) -> int:
        """Of everything of the kind, of all in the namespace, and of the object."""
        if not self._watching or (info.resource, info.subresource) == ("serviceaccounts", "token"):
            return 0  # a token is no object: nobody is told
        places = {("", ""), (info.namespace, ""), (info.namespace, info.name)}
        return sum(self._watching[info.group, info.resource, *place] for place in places)
