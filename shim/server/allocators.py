"""What must be unique among all objects of one resource, and how it is handed out: by whom, in general.

Nothing is remembered between requests. What is taken is an object of its own in the store; it is written in the
same transaction as the object that it is for, and deleted with it. So a number is taken exactly as long as its owner
is there, whatever becomes of the request or of the server, and of several servers on one store only one can take it:
the others find it taken when they write, and begin anew with what is there by then.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

from shim.api.meta import Object
from shim.store.cache import Also

_GUESSES = 16  # quick while less than nine tenths are taken


class Unavailable(Exception):
    """Why something cannot be had."""


STATIC, DYNAMIC = "static", "dynamic"
"""Named by who wants it, or left to the server: as upstream's metrics call that."""


class Allocation:
    """What one write takes and gives back. ``also`` is to be written together with the object."""

    __slots__ = ("_filled", "also")

    def __init__(self) -> None:
        self.also: list[Also] = []
        self._filled: list[tuple[Object, str]] = []

    def fill(self, holder: Object, field: str, value: Any) -> None:
        """Set a field of the object that its author left to the server."""
        holder[field] = value
        self._filled.append((holder, field))

    def undo(self) -> None:
        """Take the server's choices out of the object again: it will be asked anew."""
        for holder, field in self._filled:
            holder.pop(field, None)


class Allocator(Protocol):
    """Hands out what must be unique among all objects of one resource."""

    def allocate(self, new: Object, old: Object | None, *, dry_run: bool = False) -> Allocation:
        """Carry over what ``old`` has, and fill in what is missing; before the object is prepared and validated.

        Raises ApiError when something is taken, or nothing is left.
        """

    def release(self, old: Object) -> list[Also]:
        """What is to be given back together with the deletion of the object."""


class Span:
    """The numbers from ``first`` to ``last``, of which the lowest ``kept`` are for those who name one.

    Those who leave it to the server get one of the others as long as there is one, so the two seldom collide
    (https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/).
    """

    def __init__(self, first: int, last: int, kept: int) -> None:
        self.first, self.last = first, last
        self._dynamic = first + kept

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last

    def __len__(self) -> int:
        return self.last - self.first + 1

    def pick(self, is_taken: Callable[[int], bool]) -> int | None:
        """A free number; None when all are taken."""
        for low, high in ((self._dynamic, self.last), (self.first, self._dynamic - 1)):
            if high < low:
                continue
            for _ in range(_GUESSES):
                number: int = random.randint(low, high)
                if not is_taken(number):
                    return number
            start = random.randint(low, high)
            for number in (*range(start, high + 1), *range(low, start)):
                if not is_taken(number):
                    return number
        return None


def kept_for_the_asking(size: int, divisor: int, least: int, most: int) -> int:
    """How many numbers of a range are kept for those who name one (KEP-3070, KEP-3668)."""
    return 0 if size <= least else min(max(least, size // divisor), most)
