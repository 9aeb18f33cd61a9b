"""Whose turn is it when several pods wait for room to grow? Those that matter more come first (KEP-1287)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from nodeagent.kubelet import resources
from shim.api.meta import Object


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pod that was told to wait. ``look`` makes it ask again."""

    wanted: Object
    since: float
    look: Callable[[], None]

    @property
    def rank(self) -> tuple[int, bool, float]:
        """The smallest comes first: by priority, then guaranteed pods, then who waits longest."""
        return rank(self.wanted, self.since)


def rank(pod: Object, since: float) -> tuple[int, bool, float]:
    return -int(pod["spec"].get("priority") or 0), resources.qos_class(pod) != "Guaranteed", since


class ResizeQueue:
    """The pods of a node whose resize was deferred, by uid."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._clock = clock

    def defer(self, uid: str, wanted: Object, look: Callable[[], None]) -> None:
        """It has to wait; if it does so already, from when it began."""
        known = self._waiting.get(uid)
        self._waiting[uid] = Waiting(wanted, known.since if known else self._clock(), look)

    def leave(self, uid: str) -> None:
        self._waiting.pop(uid, None)

    def ahead(self, uid: str, wanted: Object, fits: Callable[[str, Object], bool]) -> Waiting | None:
        """Who comes before this pod and could grow right now; None when it is its turn."""
        known = self._waiting.get(uid)
        mine = rank(wanted, known.since if known else self._clock())
        earlier = sorted(
            (each.rank, other) for other, each in self._waiting.items() if other != uid and each.rank < mine
        )
        return next((self._waiting[other] for _, other in earlier if fits(other, self._waiting[other].wanted)), None)

    def room(self) -> None:
        """Somebody has left, or takes less: the first who waits asks again, then all others."""
        for _, uid in sorted((each.rank, uid) for uid, each in self._waiting.items()):
            self._waiting[uid].look()
