"""A store whose values are sealed on the way in and opened on the way out; keys and revisions stay as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing

from shim.api.keys import bucket_of
from shim.store.contract import Change, Page, Record, Store, Write
from shim.store.encryption import Sealer, seal, unseal

Choose = Callable[[str], tuple[Sealer, ...]]
"""The sealers for keys of a bucket (``/registry/secrets/``)."""


class Stale:
    """Keys whose value would be sealed otherwise today: writing them again changes them, though nothing in them does.

    When keys are replaced every value of a bucket is one, but for those that are written after.
    """

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._replaced: dict[str, set[str]] = {}  # by bucket: the keys that were written since

    def __contains__(self, key: object) -> bool:
        if key in self._keys:
            return True
        written = self._replaced.get(bucket_of(str(key))) if self._replaced else None
        return written is not None and key not in written

    def saw(self, key: str, stale: bool) -> None:
        """The newest value of a key was seen, sealed as it should not be, or as it should."""
        (self._keys.add if stale else self._keys.discard)(key)
        if (written := self._replaced.get(bucket_of(key)) if self._replaced else None) is not None:
            written.add(key)

    def replaced(self, bucket: str) -> None:
        """The values of a bucket are to be sealed otherwise from now on."""
        self._replaced[bucket] = set()


class EncryptedStore:
    """Keeps the contract of the store it wraps."""

    def __init__(self, store: Store, choose: Choose) -> None:
        self._store, self._choose = store, choose
        self._sealers: dict[str, tuple[Sealer, ...]] = {}
        self._own: dict[bytes, bytes] = {}  # writes under way, sealed: their values come back without being opened
        self.shared = store.shared
        self.stale = Stale()

    def choose(self, choose: Choose) -> None:
        """Seal otherwise from now on."""
        self._choose, before = choose, self._sealers
        self._sealers = {bucket: choose(bucket) for bucket in before}
        for bucket, sealers in self._sealers.items():
            if _writer(sealers) != _writer(before[bucket]):
                self.stale.replaced(bucket)

    @property
    def reachable(self) -> bool:
        return self._store.reachable

    @property
    def compacted(self) -> int:
        return self._store.compacted

    async def put(self, key: str, value: bytes, *, expected: int | None = None, ttl: float = 0) -> int:
        sealed = self._seal(key, value)
        try:
            return await self._store.put(key, sealed, expected=expected, ttl=ttl)
        finally:
            self._own.pop(sealed, None)

    async def write_all(self, writes: Sequence[Write]) -> int:
        sealed = [
            each if each.value is None else dataclasses.replace(each, value=self._seal(each.key, each.value))
            for each in writes
        ]
        try:
            return await self._store.write_all(sealed)
        finally:
            for each in sealed:
                if each.value is not None:
                    self._own.pop(each.value, None)

    async def delete(self, key: str, *, expected: int | None = None) -> int:
        return await self._store.delete(key, expected=expected)

    async def latest(self) -> int:
        return await self._store.latest()

    async def range(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> Page:
        page = await self._store.range(prefix, after=after, limit=limit, revision=revision)
        return Page([self._opened(record, revision == 0) for record in page.records], page.revision, page.more)

    async def count(self, prefix: str, *, after: str = "", revision: int = 0) -> int:
        return await self._store.count(prefix, after=after, revision=revision)

    def watch(self, since: int, *, previous: bool = False) -> AsyncIterator[list[Change]]:
        return self._opening(self._store.watch(since, previous=previous))

    async def _opening(self, batches: AsyncIterator[list[Change]]) -> AsyncIterator[list[Change]]:
        async with aclosing(batches):  # type: ignore[type-var]  # stores watch by generators
            async for batch in batches:
                yield [self._changed(change) for change in batch]

    async def compact(self, revision: int) -> None:
        await self._store.compact(revision)

    async def close(self) -> None:
        await self._store.close()

    def _of(self, key: str) -> tuple[Sealer, ...]:
        bucket = bucket_of(key)
        sealers = self._sealers.get(bucket)
        if sealers is None:
            sealers = self._sealers[bucket] = self._choose(bucket)
        return sealers

    def _seal(self, key: str, value: bytes) -> bytes:
        sealers = self._of(key)
        if not sealers:
            return value
        sealed = seal(sealers, key, value)
        if sealed is not value:
            self._own[sealed] = value
        return sealed

    def _open(self, key: str, stored: bytes, newest: bool) -> bytes:
        sealers = self._of(key)
        if not sealers:
            return stored
        if (own := self._own.get(stored)) is not None:
            self.stale.saw(key, False)
            return own
        value, stale = unseal(sealers, key, stored)
        if newest:
            self.stale.saw(key, stale)
        return value

    def _opened(self, record: Record, newest: bool) -> Record:
        return dataclasses.replace(record, value=self._open(record.key, record.value, newest))

    def _changed(self, change: Change) -> Change:
        if change.value is None:
            self.stale.saw(change.key, False)
        value = None if change.value is None else self._open(change.key, change.value, True)
        previous = self._opened(change.previous, False) if change.previous is not None else None
        if value is change.value and previous is change.previous:
            return change
        return dataclasses.replace(change, value=value, previous=previous)


def _writer(sealers: tuple[Sealer, ...]) -> bytes:
    return sealers[0].prefix if sealers else b""
