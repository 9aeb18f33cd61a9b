"""What happened lately, and what was there before it? The last events, kept in memory.

Watchers that come back read on from here; a list that is continued is put together from what is there now and what
has been written since, so that neither asks the store as long as the past is short.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from shim.store.entry import Entry, Event

EVENTS = 8192  # what is older is read from the store: only clients that were away for long ask for it
BYTES = 16 << 20  # once and for all: why a server seems to need twice as much for its first few thousand pods
HOT = 64  # events whose encoded line is kept: the watchers that are on time share it


class History:
    """Every event after the revision ``start``, in order."""

    def __init__(self) -> None:
        self.start = 0
        self._events: deque[Event] = deque()
        self._bytes = 0

    def add(self, events: Sequence[Event]) -> None:
        """Remember these, and forget the oldest where there are too many."""
        kept = self._events
        for event in events:
            kept.append(event)
            self._bytes += len(event.entry.data)
            if len(kept) > HOT:
                kept[-1 - HOT].forget_lines()
        while len(kept) > EVENTS or self._bytes > BYTES:
            oldest = kept.popleft()
            self._bytes -= len(oldest.entry.data)
            self.start = oldest.revision

    def since(self, revision: int) -> list[Event]:
        """The events after ``revision``, which must not be before ``start``."""
        events: list[Event] = []
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            events.append(event)
        events.reverse()
        return events

    def undone(self, prefix: str, revision: int) -> dict[str, Entry | None]:
        """What was at ``revision`` under each key that has changed since; None where there was nothing."""
        before: dict[str, Entry | None] = {}
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            if event.entry.key.startswith(prefix):
                before[event.entry.key] = event.previous  # an earlier change of the same key comes later, and counts
        return before
