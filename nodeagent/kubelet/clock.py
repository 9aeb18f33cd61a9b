"""What time is it, for whoever waits or measures? Seconds since the epoch that never jump.

What is told to users is told by the machine's clock, and what comes with a time (the end of a container, the start of a
pod) comes by it too: such a time is taken over to this clock once, when it is learned, by how long ago it was then.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """As the machine's clock was when this one began, and how long ago that is."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._ahead = wall() - steady()

    def now(self) -> float:
        return self._steady() + self._ahead

    def at(self, told: float) -> float:
        """What this clock showed when the machine's clock, as it is set now, showed ``told``; never in the future."""
        return self.now() - max(0.0, self._wall() - told)
