"""Which writes expire, and when? Kept by a store that has to do it by itself. No clock, no I/O."""

from __future__ import annotations

import heapq
from collections.abc import Iterator


class Expiries:
    """Deadlines of writes, the next one first. A write that was followed by another of its key is told all the same:
    whoever asks compares revisions."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, str]] = []

    def add(self, deadline: float, revision: int, key: str) -> None:
        heapq.heappush(self._waiting, (deadline, revision, key))

    @property
    def next(self) -> float | None:
        """The first deadline."""
        return self._waiting[0][0] if self._waiting else None

    def due(self, now: float) -> Iterator[tuple[str, int]]:
        """Key and revision of every write whose deadline has passed; each is told once."""
        while self._waiting and self._waiting[0][0] <= now:
            _, revision, key = heapq.heappop(self._waiting)
            yield key, revision
