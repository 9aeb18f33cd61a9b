"""When shall those come back who were turned away? In a second; later, and later still, while there are many.

Doubled when three times as many were refused in that time as it has seconds, a second less when fewer than one a
second were: a level whose queues are full is seen to be overloaded, and not just busy.
"""

from __future__ import annotations

from collections import deque

MOST = 32  # seconds


class Drops:
    """Refusals of one level, by the second."""

    def __init__(self) -> None:
        self.retry_after = 1
        self._second = self._count = self._raised = 0
        self._history: deque[tuple[int, int]] = deque()

    def add(self, now: float) -> int:
        """One more is turned away; returns after how many seconds it shall come back."""
        second = int(now)
        if second != self._second:
            self._history.append((self._second, self._count))
            while second - self._history[0][0] > min(2 * self.retry_after, MOST):
                self._history.popleft()
                if not self._history:
                    break
            self._second, self._count = second, 0
            self._reconsider(second)
        self._count += 1
        return self.retry_after

    def _reconsider(self, second: int) -> None:
        wait = self.retry_after
        dropped = sum(count for then, count in self._history if second - then <= wait)
        if second - self._raised >= wait and dropped >= 3 * wait:
            self.retry_after, self._raised = min(2 * wait, MOST), second
        elif dropped < wait and wait > 1:
            self.retry_after -= 1
