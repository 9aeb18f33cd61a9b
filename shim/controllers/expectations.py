"""Has a controller seen everything it did itself?

A watch runs behind the writes. A controller that has created three pods and looks again before the watch has shown
them would create three more; so it notes what it did, and waits until the copy has come that far.
Invariant: after ``satisfied(key)`` the informer shows at least what this controller last did for ``key``.

What was created counts as seen when the copy is as new as the answer to the create: an object that somebody deleted
while no watch was there will never be shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from shim.api.meta import Object
from shim.client import Informer
from shim.controllers.written import revision

TIMEOUT = 300.0  # a lost event must not stop an owner for ever; upstream waits as long


@dataclass(slots=True)
class _Pending:
    created: int = 0  # the newest revision of what was created
    deletions: set[str] = field(default_factory=set)
    since: float = field(default_factory=time.monotonic)


class Expectations:
    """What each owner still waits to see of these children."""

    def __init__(self, children: Informer, wake: Callable[[str], object]) -> None:
        """``wake`` is called with the key of an owner who need not wait any longer, and was told of it by no event."""
        self._children, self._wake = children, wake
        self._pending: dict[str, _Pending] = {}
        children.on_replace(self._relisted)

    def expect(self, key: str, *, deletions: list[str] | None = None) -> None:
        """About to delete the children with these keys, and perhaps to create some."""
        self._pending[key] = _Pending(deletions=set(deletions or ()))

    def created(self, key: str, child: Object) -> None:
        """This is what a create answered."""
        pending = self._pending.setdefault(key, _Pending())
        pending.created = max(pending.created, revision(child))

    def deleted(self, key: str, child: str) -> None:
        """This child's deletion was seen, or will never be."""
        pending = self._pending.get(key)
        if pending is not None:
            pending.deletions.discard(child)

    def satisfied(self, key: str) -> bool:
        pending = self._pending.get(key)
        if pending is None or (pending.created <= self._children.revision and not pending.deletions):
            return True
        return time.monotonic() - pending.since > TIMEOUT

    def forget(self, key: str) -> None:
        """The owner is gone."""
        self._pending.pop(key, None)

    def _relisted(self) -> None:
        """The children were listed anew: who waited for creations may go on, which no event tells of."""
        for key, pending in self._pending.items():
            if 0 < pending.created <= self._children.revision:
                self._wake(key)
