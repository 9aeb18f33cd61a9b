"""How does one change reach a hundred watchers cheaply, and none of them hold up the others?

Watchers are kept by the resource they watch (the beginning of a key: ``/registry/pods/``), then by their
whole prefix. A batch of changes is filtered once per prefix and the same list is handed to all its watchers.
A watcher that does not take what it is given is dropped, not waited for: it starts over from a list.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Self

from shim.api.keys import bucket_of
from shim.store.contract import StoreError
from shim.store.entry import Event

MAX_WAITING = 10_000  # events a watcher may be behind; they are shared, so that this bounds the oldest one's age


class Overflow(StoreError):
    """This watcher was too slow and has lost its place."""


class Watch:
    """Async iterator over batches of events; ``past`` are batches to hand out before what comes live."""

    def __init__(
        self,
        prefix: str,
        since: int,
        past: AsyncIterator[list[Event]] | None,
        newest: Callable[[], int],
        dropped: Callable[[Watch], None],
    ) -> None:
        self.prefix = prefix
        self._since = since
        self._past = past
        self._newest = newest
        self._dropped = dropped
        self._batches: deque[Sequence[Event]] = deque()
        self._waiting = 0
        self._waiter: asyncio.Future[None] | None = None
        self._ended: BaseException | None = None

    @property
    def revision(self) -> int:
        """Everything up to this revision has been handed out: what a bookmark may say."""
        return self._since if self._past is not None or self._batches else max(self._since, self._newest())

    def push(self, events: Sequence[Event]) -> None:
        """Called by the fan-out, which never waits."""
        if self._ended is not None:
            return
        self._waiting += len(events)
        if self._waiting > MAX_WAITING:
            self.end(Overflow(f"a watcher of {self.prefix} is {self._waiting} events behind"))
            return
        self._batches.append(events)
        self._wake()

    def end(self, reason: BaseException) -> None:
        """Make the iterator raise ``reason``, at once."""
        if self._ended is None:
            self._ended = reason
            self._batches.clear()
            self._dropped(self)
            self._wake()

    def close(self) -> None:
        """No more events; the iterator stops."""
        self.end(StopAsyncIteration())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[Event]:
        """All events that are there, in order; waits for the first."""
        if self._past is not None and self._ended is None:
            try:
                events = await anext(self._past)
            except StopAsyncIteration:
                self._past = None
            else:
                self._since = events[-1].revision
                return events
        while not self._batches:
            if self._ended is not None:
                raise StopAsyncIteration if isinstance(self._ended, StopAsyncIteration) else self._ended
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        batch: Sequence[Event] = self._batches.popleft()
        if self._batches:
            batch = [*batch, *(event for later in self._batches for event in later)]
            self._batches.clear()
        self._waiting = 0
        self._since = batch[-1].revision
        return batch


class Fanout:
    """Every live watcher, by bucket and prefix."""

    def __init__(self) -> None:
        self._watches: dict[str, dict[str, dict[Watch, None]]] = {}

    def add(self, watch: Watch) -> None:
        self._watches.setdefault(bucket_of(watch.prefix), {}).setdefault(watch.prefix, {})[watch] = None

    def remove(self, watch: Watch) -> None:
        bucket = self._watches.get(bucket_of(watch.prefix), {})
        watches = bucket.get(watch.prefix, {})
        watches.pop(watch, None)
        if not watches:
            bucket.pop(watch.prefix, None)
        if not bucket:
            self._watches.pop(bucket_of(watch.prefix), None)

    def publish(self, events: Sequence[Event]) -> None:
        """Hand the events to all whom they concern."""
        by_bucket: dict[str, list[Event]] = {}
        for event in events:
            by_bucket.setdefault(bucket_of(event.entry.key), []).append(event)
        for bucket, among in by_bucket.items():
            self._publish(bucket, bucket, among)
        if "" in self._watches:
            self._publish("", "", events)

    def _publish(self, bucket: str, common: str, events: Sequence[Event]) -> None:
        for prefix, watches in list(self._watches.get(bucket, {}).items()):
            if prefix != common:
                chosen: Sequence[Event] = [event for event in events if event.entry.key.startswith(prefix)]
            else:
                chosen = events
            if chosen:
                for watch in list(watches):
                    watch.push(chosen)

    def end_all(self, reason: BaseException) -> None:
        for bucket in list(self._watches.values()):
            for watches in list(bucket.values()):
                for watch in list(watches):
                    watch.end(reason)

    def __len__(self) -> int:
        return sum(len(watches) for bucket in self._watches.values() for watches in bucket.values())
