"""Where does the time of one request go? Whoever takes long adds what it took, for the audit log to tell of.

What is gathered belongs to the task that answers the request, and to tasks that this one begins. Where nobody gathers,
adding costs a look-up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

AUTHENTICATION, AUTHORIZATION, IMPERSONATION = "authentication", "authorization", "impersonation"
QUEUE, STORE = "apf-queue-wait", "etcd"
MUTATING, VALIDATING = "mutating-webhook", "validating-webhook"
"""Upstream's names, whichever store there is."""

_spent: ContextVar[dict[str, float] | None] = ContextVar("spent", default=None)


def gather() -> dict[str, float]:
    """From now on this task's times, in seconds by name."""
    spent: dict[str, float] = {}
    _spent.set(spent)
    return spent


def add(what: str, seconds: float, *, side_by_side: bool = False) -> None:
    """This is how long something took; of what ran side by side, the longest counts."""
    spent = _spent.get()
    if spent is not None:
        before = spent.get(what, 0.0)
        spent[what] = max(before, seconds) if side_by_side else before + seconds


@contextmanager
def took(what: str, *, side_by_side: bool = False) -> Iterator[None]:
    """Add the time of the block."""
    began = perf_counter()
    try:
        yield
    finally:
        add(what, perf_counter() - began, side_by_side=side_by_side)
