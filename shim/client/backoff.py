"""How long to wait before the next attempt? Longer each time, never long, and never all at the same moment."""

from __future__ import annotations

import asyncio
import random

FIRST = 0.02  # a connection refused while the server execs costs nothing on the same machine
LONGEST = 0.5  # a restarted API server is found again well within a second


class Backoff:
    """Doubling waits with jitter, from ``first`` to ``longest`` seconds."""

    def __init__(self, first: float = FIRST, longest: float = LONGEST) -> None:
        self._first, self._longest = first, longest
        self._next = first

    def reset(self) -> None:
        self._next = self._first

    async def wait(self) -> None:
        """Sleep for the present step and take the next."""
        delay = self._next
        self._next = min(self._longest, delay * 2)
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))
