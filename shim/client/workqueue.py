"""Which object needs work next? A queue of keys with the three promises controllers rely on.

- A key is in the queue at most once, however often it is added.
- A key is never handed out twice at once: one added while it is worked on comes back after ``done``.
- A key that fails comes back later each time, until it is forgotten.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from shim.api.timing import Histogram

_SECONDS = tuple(1e-8 * 10**power for power in range(10))


class WorkQueue:
    """A queue for one event loop; ``base_delay`` doubles with each failure of a key up to ``max_delay``."""

    def __init__(self, base_delay: float = 0.005, max_delay: float = 1000.0) -> None:
        self._base, self._max = base_delay, max_delay
        self._ready: deque[str] = deque()
        self._dirty: set[str] = set()  # wants work: is in _ready, or will be once it is done
        self._working: dict[str, float] = {}  # since when
        self._since: dict[str, float] = {}  # keys in _ready: since when they wait
        self.adds = self.retries = 0
        self.waited, self.worked = Histogram(_SECONDS), Histogram(_SECONDS)
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: str) -> None:
        """Ask for work on ``key`` now."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        self.adds += 1
        if key not in self._working:
            self._push(key)

    def add_after(self, key: str, seconds: float) -> None:
        """Ask for work on ``key`` in a while; of several such the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        waiting = self._timers.get(key)
        if waiting is not None:
            if waiting.when() <= when:
                return
            waiting.cancel()
        self._timers[key] = loop.call_at(when, self._due, key)

    def add_rate_limited(self, key: str) -> None:
        """Ask for work on a key that failed, later than the last time it did."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.retries += 1
        self.add_after(key, min(self._max, self._base * 2 ** min(failures, 60)))

    def failures(self, key: str) -> int:
        """How often the key failed since it was last forgotten."""
        return self._failures.get(key, 0)

    def forget(self, key: str) -> None:
        """The key succeeded: its next failure is a first one."""
        self._failures.pop(key, None)

    async def get(self) -> str:
        """The next key; the caller must say ``done`` for it."""
        while not self._ready:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                elif self._ready:
                    self._wake()  # the wake-up was ours; somebody else must have it
                raise
        key = self._ready.popleft()
        self._dirty.discard(key)
        began = self._working[key] = time.perf_counter()
        self.waited.add(began - self._since.pop(key))
        return key

    def done(self, key: str) -> None:
        """Work on the key has ended, well or not."""
        began = self._working.pop(key, None)
        if began is not None:
            self.worked.add(time.perf_counter() - began)
        if key in self._dirty:
            self._push(key)

    def under_way(self) -> list[float]:
        """How many seconds each key is being worked on by now."""
        now = time.perf_counter()
        return [now - began for began in self._working.values()]

    def close(self) -> None:
        """Forget every timer, so that none fires after the loop's work has ended."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _due(self, key: str) -> None:
        del self._timers[key]
        self.add(key)

    def _push(self, key: str) -> None:
        self._ready.append(key)
        self._since[key] = time.perf_counter()
        self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
