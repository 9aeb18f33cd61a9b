"""What a store must do, so that the API server can be put on any: SQLite, etcd.

A store is a sorted map from key to bytes with one counter, as etcd's (https://etcd.io/docs/v3.5/learning/data_model/):

- Every successful write adds one to the revision; revisions never repeat and never run backwards. Keys that are
  written together may share one: etcd's do.
- A write is acknowledged (its coroutine returns) only when it is durable.
- A watcher sees each change after its start once, in the order of revisions.
- A write may have a ``ttl``, in seconds. Unless the key is written again, it is deleted some time after that (seconds
  later, not minutes), as if somebody had deleted it: with a revision, and shown to watchers. A restart keeps the time.
- An empty store is at revision 1: clients take a resourceVersion of "0" to mean "any".

The bytes are an object encoded once, without its ``resourceVersion``: the revision is not known before the write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

LARGEST = 3 << 19
"""Bytes of the largest value, 1.5 MiB, as etcd's --max-request-bytes: what one store takes, any other must take too."""
_MESSAGE = 2 << 20


class StoreError(Exception):
    """A store could not do what was asked."""


class Conflict(StoreError):
    """The key was not at the expected revision (0: it was expected to be absent)."""

    def __init__(self, key: str, expected: int, found: int) -> None:
        super().__init__(f"{key}: expected revision {expected}, found {found}")
        self.key, self.expected, self.found = key, expected, found


class Compacted(StoreError):
    """The asked revision is older than what history is kept for."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"revision {asked} is compacted; the oldest kept is {oldest}")
        self.asked, self.oldest = asked, oldest


class TooLarge(StoreError):
    """A value is larger than stores take. Its words are those of etcd and of Go's client for it, which sends less."""

    def __init__(self, size: int) -> None:
        why = "etcdserver: request is too large"
        if size > _MESSAGE:
            sent = f"trying to send message larger than max ({size} vs. {_MESSAGE})"
            why = f"rpc error: code = ResourceExhausted desc = {sent}"
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Record:
    """A key's value as of the revision that wrote it."""

    key: str
    value: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class Write:
    """A key to be written, or deleted (``value`` None), if it is at revision ``expected`` (0: absent)."""

    key: str
    value: bytes | None
    expected: int
    ttl: float = 0  # seconds; 0: for ever


@dataclass(frozen=True, slots=True)
class Change:
    """One write: ``value`` is None when the key was deleted; ``previous`` is what it replaced, if asked for."""

    key: str
    revision: int
    value: bytes | None
    previous: Record | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a range, read at ``revision``; ``more`` when keys remain after the last record."""

    records: list[Record]
    revision: int
    more: bool


class Store(Protocol):
    """The contract; ``shim/store/tests/contract_suite.py`` is its meaning in tests."""

    shared: bool
    """Whether others write to it too, so that what they have written may not have been handed out here yet."""

    @property
    def reachable(self) -> bool:
        """Whether it answers: False while the members of a cluster are away."""

    @property
    def compacted(self) -> int:
        """The oldest revision that can be read; 0 when nothing was compacted yet."""

    async def put(self, key: str, value: bytes, *, expected: int | None = None, ttl: float = 0) -> int:
        """Write; return the new revision. ``expected`` 0: create only; None: whatever is there. Raises Conflict."""

    async def write_all(self, writes: Sequence[Write]) -> int:
        """Write and delete several keys, all or none; return the last one's revision. Raises Conflict."""

    async def delete(self, key: str, *, expected: int | None = None) -> int:
        """Delete; return the revision of the deletion. Raises Conflict (found 0 when the key is absent)."""

    async def latest(self) -> int:
        """The revision of the newest acknowledged write, by anyone."""

    async def range(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> Page:
        """Records under a prefix in key order, past ``after``, as of ``revision`` (0: now). Raises Compacted."""

    async def count(self, prefix: str, *, after: str = "", revision: int = 0) -> int:
        """How many records :meth:`range` would find without a limit. Raises Compacted."""

    def watch(self, since: int, *, previous: bool = False) -> AsyncIterator[list[Change]]:
        """Every change after revision ``since``, in order, in batches. Raises Compacted, at once.

        A live batch is handed out before the writes in it return, so that a writer finds its write applied.
        """

    async def compact(self, revision: int) -> None:
        """Forget what was superseded or deleted at or before ``revision``; it stays the oldest that can be read.

        Where another process that shares the store has compacted since the last time, this does nothing."""

    async def close(self) -> None:
        """Finish what was begun and let go of files and threads."""
