"""How long is the past kept? Long enough for watchers to come back, not for ever."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from shim.store.contract import Store, StoreError

INTERVAL = 300.0  # seconds, as upstream's --etcd-compaction-interval
KEEP = INTERVAL  # a client that was away for less than this need not list again; clients rely on an end after twice it

log = logging.getLogger(__name__)


class Compactor:
    """Remembers which revision was current when, and forgets what is older than ``keep`` seconds."""

    def __init__(self, store: Store, revision: Callable[[], int], keep: float = KEEP) -> None:
        self._store, self._revision, self._keep = store, revision, keep
        self._seen: deque[tuple[float, int]] = deque()

    async def tick(self, now: float) -> int:
        """Note the present; compact at the newest revision that is old enough. Returns it, or 0."""
        self._seen.append((now, self._revision()))
        due = 0
        while self._seen and self._seen[0][0] <= now - self._keep:
            due = self._seen.popleft()[1]
        if due:
            await self._store.compact(due)
        return due

    async def run(self, interval: float = INTERVAL) -> None:
        """Tick until cancelled. A failure (the disk is full) is tried again at the next tick."""
        clock = asyncio.get_running_loop().time
        while True:
            try:
                await self.tick(clock())
            except (StoreError, OSError) as error:
                log.warning("compaction failed: %s", error)
            await asyncio.sleep(interval)
