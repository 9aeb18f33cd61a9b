"""What there is now: every entry, by the resource it is of, in the order of keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from shim.api.keys import bucket_of
from shim.store.entry import Entry
from shim.store.shelf import Shelf

LAST = "\U0010ffff"
"""After a prefix: behind all keys that begin with that."""


@dataclass(slots=True)
class Bucket:
    """The entries of one resource. ``changed`` is the revision of its last change, ``received`` how many there were,
    ``size`` the bytes of all entries."""

    entries: dict[str, Entry] = field(default_factory=dict)
    shelf: Shelf = field(default_factory=Shelf)
    changed: int = 0
    received: int = 0
    size: int = 0

    def put(self, entry: Entry) -> None:
        """Keep it, in the place of another one with its key."""
        previous = self.entries.get(entry.key)
        self.entries[entry.key] = entry
        self.shelf.put(entry)
        self.size += len(entry.data) - (len(previous.data) if previous is not None else 0)

    def remove(self, entry: Entry) -> None:
        del self.entries[entry.key]
        self.shelf.remove(entry.key)
        self.size -= len(entry.data)


class Buckets:
    """Entries by key and by prefix. What is asked of a resource costs nothing of the others."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}

    def get(self, key: str) -> Entry | None:
        bucket = self._buckets.get(bucket_of(key))
        return bucket.entries.get(key) if bucket else None

    def range(self, prefix: str, *, after: str = "", limit: int = 0) -> list[Entry]:
        """Entries under a prefix past the key ``after``, sorted by key."""
        low, found = _past(after, prefix), list[Entry]()
        for bucket in self._under(prefix):
            found += bucket.shelf.between(low, prefix + LAST, limit - len(found) if limit else 0)
            if len(found) == limit != 0:
                break
        return found

    def count(self, prefix: str, after: str = "") -> int:
        """How many entries are under a prefix, past the key ``after``."""
        low, buckets = _past(after, prefix), self._under(prefix)
        if not after and bucket_of(prefix) == prefix:
            return sum(len(bucket.entries) for bucket in buckets)
        return sum(bucket.shelf.before(prefix + LAST) - bucket.shelf.before(low) for bucket in buckets)

    def changed(self, prefix: str) -> int:
        """The revision of the last change of a resource, by its prefix; 0 before there was one."""
        bucket = self._buckets.get(prefix)
        return bucket.changed if bucket else 0

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Of each resource's prefix: the bytes of all its objects."""
        for prefix, bucket in self._buckets.items():
            yield prefix, bucket.size

    def received(self) -> Iterator[tuple[str, int, int]]:
        """Of each resource's prefix: how many changes came since the start, and the revision of the last."""
        for prefix, bucket in self._buckets.items():
            yield prefix, bucket.received, bucket.changed

    def _under(self, prefix: str) -> list[Bucket]:
        name = bucket_of(prefix)
        if name:
            return [self._buckets[name]] if name in self._buckets else []
        return [self._buckets[found] for found in sorted(self._buckets) if found.startswith(prefix)]

    def _bucket(self, key: str) -> Bucket:
        name = bucket_of(key)
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket()
        return bucket


def _past(after: str, prefix: str) -> str:
    """The least of all keys that are under a prefix and past another one."""
    return after + "\0" if after >= prefix else prefix
