"""Has a controller seen everything it did itself?

A watch runs behind the writes. A controller that has asked for three pods and looks again before the watch has shown
them would ask for three more; so it notes what it asked for, and waits until each create and delete has been seen.
Invariant: after ``satisfied(key)`` the informer shows at least what this controller last did for ``key``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

TIMEOUT = 300.0  # a lost event must not stop an owner for ever; upstream waits as long


@dataclass(slots=True)
class _Pending:
    creations: int = 0
    deletions: set[str] = field(default_factory=set)
    since: float = field(default_factory=time.monotonic)


class Expectations:
    """What each owner still waits to see."""

    def __init__(self) -> None:
        self._pending: dict[str, _Pending] = {}

    def expect(self, key: str, *, creations: int = 0, deletions: list[str] | None = None) -> None:
        """About to create so many, and to delete those with these keys."""
        self._pending[key] = _Pending(creations, set(deletions or ()))

    def created(self, key: str) -> None:
        """One creation was seen, or will never be."""
        pending = self._pending.get(key)
        if pending is not None and pending.creations > 0:
            pending.creations -= 1

    def deleted(self, key: str, child: str) -> None:
        """This child's deletion was seen, or will never be."""
        pending = self._pending.get(key)
        if pending is not None:
            pending.deletions.discard(child)

    def satisfied(self, key: str) -> bool:
        pending = self._pending.get(key)
        if pending is None or (pending.creations <= 0 and not pending.deletions):
            return True
        return time.monotonic() - pending.since > TIMEOUT

    def forget(self, key: str) -> None:
        """The owner is gone."""
        self._pending.pop(key, None)
