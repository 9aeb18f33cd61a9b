"""Does the proxy keep up? Pure."""

from __future__ import annotations

import time
from collections.abc import Callable

LATE = 60.0  # seconds a change may wait to be written: kube-proxy's, twice its sync period


class Liveness:
    """Healthy while no change has waited for longer than ``LATE``; so too while there was none yet."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting_since: float | None = None

    def queued(self) -> None:
        """There is something to write."""
        if self._waiting_since is None:
            self._waiting_since = self._clock()

    def written(self) -> None:
        """The rules are as they should be."""
        self._waiting_since = None

    @property
    def healthy(self) -> bool:
        return self._waiting_since is None or self._clock() - self._waiting_since < LATE
