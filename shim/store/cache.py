"""Who answers the readers? Memory does: the cache holds every object and the recent past, and follows the store.

    write ──> Store (durable) ──batch of changes──> apply: entries, history, fan-out ──> the writer goes on

Invariants: nothing is visible here that is not durable; a write that returned is visible; ``revision`` only grows,
and every reader of one revision sees the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from dataclasses import dataclass

import orjson

from shim.api import latency
from shim.api.keys import bucket_of
from shim.api.meta import Object
from shim.api.timing import Histograms
from shim.store.buckets import LAST, Buckets
from shim.store.contract import LARGEST, Change, Compacted, Record, Store, StoreError, TooLarge, Write
from shim.store.entry import Entry, Event, Staged, deletion, encode, splice
from shim.store.fanout import Fanout, Overflow, Watch
from shim.store.history import History

__all__ = ["Also", "Cache", "Entry", "Event", "Overflow", "Watch"]

Index = Callable[[str, Object], tuple[Mapping[str, str], Mapping[str, str]]]

_LOAD_PAGE = 1000
_SECONDS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
_WAITS = _SECONDS[:13]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Also:
    """What is written together with another object: this one, or (None) its deletion, if it is still at ``expected``.

    ``expected`` is the revision it was read at; 0 for one that is not there yet.
    """

    key: str
    obj: Object | None
    expected: int


class Cache(Buckets):
    """Memory serves every read; the Store makes writes durable before they are visible."""

    def __init__(
        self, store: Store, index: Index, stale: Container[str] = (), ttls: Mapping[str, float] | None = None
    ) -> None:
        """``stale`` are keys to be written again even when nothing in their objects changed. ``ttls`` are the seconds
        that objects under some prefixes (buckets) are kept after their last write."""
        super().__init__()
        self.revision = 0
        self.stale = stale
        self._store = store
        self._index = index
        self._ttls = ttls or {}
        self._staged: dict[int, Staged] = {}  # by the identity of the bytes given to the store
        self._staged_deletes: dict[tuple[str, int], Staged] = {}  # by key and the revision to be deleted
        self._history = History()
        self._fanout = Fanout()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._following: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._question: asyncio.Task[int] | None = None  # to a shared store, under way: how far is it?
        self._next_question: asyncio.Task[int] | None = None  # waits for that one
        self.timings = Histograms(_SECONDS)
        """How long writes took, by operation (create, update, delete) and the prefix of their resource."""
        self.lists: Counter[tuple[str, str]] = Counter()
        """What lists took, by what is counted (total, fetched, returned) and the prefix."""
        self.stored_lists: Counter[tuple[str, str]] = Counter()
        """The same of lists that memory could not answer: of what the store was asked, before selectors."""
        self.consistent: Counter[str] = Counter()
        """Lists of the newest there is, by prefix."""
        self.waits = Histograms(_WAITS)
        """How long readers waited until what they must see was applied, by prefix; only those that had to."""

    async def start(self) -> None:
        """Load everything, then follow the store."""
        after, revision, more = "", 0, True
        while more:
            page = await self._store.range("/", after=after, limit=_LOAD_PAGE, revision=revision)
            revision, more = page.revision, page.more
            for record in page.records:
                bucket = self._bucket(record.key)
                bucket.put(self._record_entry(record))
                bucket.changed = max(bucket.changed, record.revision)
            if page.records:
                after = page.records[-1].key
        self.revision = self._history.start = revision
        for bucket in self._buckets.values():
            bucket.changed = revision  # something of it may have been deleted since the last change that is known
        self._following = asyncio.create_task(self._follow(self._store.watch(revision)), name="store cache")

    # --- reading ------------------------------------------------------------------------------------------------------

    def reindex(self, prefix: str) -> None:
        """Ask the index again of everything under a prefix: selectors may ask of other fields now."""
        for bucket in self._under(prefix):
            for entry in bucket.shelf.between(prefix, prefix + LAST):
                labels, fields = self._index(entry.key, entry.decode())
                bucket.put(Entry(entry.key, entry.revision, entry.data, labels, fields))

    async def range_at(
        self, prefix: str, *, revision: int, after: str = "", limit: int = 0
    ) -> tuple[list[Entry], bool]:
        """Entries as they were at ``revision``, and whether more follow. Raises Compacted."""
        if self._remembers(prefix, revision):
            entries = self._range_before(prefix, after, revision, limit + 1 if limit else 0)
            return (entries[:limit], True) if limit and len(entries) > limit else (entries, False)
        page = await self._store.range(prefix, after=after, limit=limit, revision=revision)
        self.stored_lists["total", bucket_of(prefix)] += 1
        self.stored_lists["fetched", bucket_of(prefix)] += len(page.records)
        return [self._record_entry(record) for record in page.records], page.more

    async def count_at(self, prefix: str, *, revision: int, after: str = "") -> int:
        """How many entries were under a prefix at ``revision``, past the key ``after``. Raises Compacted."""
        if not self._remembers(prefix, revision):
            return await self._store.count(prefix, after=after, revision=revision)
        then = self._history.undone(prefix, revision)
        gained = sum((entry is not None) - (self.get(key) is not None) for key, entry in then.items() if key > after)
        return self.count(prefix, after) + gained

    def listed(self, prefix: str, fetched: int, returned: int) -> None:
        """Note a list: of so many entries that were looked at, so many were meant."""
        self.lists["total", prefix] += 1
        self.lists["fetched", prefix] += fetched
        self.lists["returned", prefix] += returned

    def _remembers(self, prefix: str, revision: int) -> bool:
        """Whether memory knows what was there. What is compacted is gone, even where memory has it still."""
        if revision < self._store.compacted:
            raise Compacted(revision, self._store.compacted)
        return revision >= self._history.start or all(bucket.changed <= revision for bucket in self._under(prefix))

    def _range_before(self, prefix: str, after: str, revision: int, limit: int) -> list[Entry]:
        """What is there now, with everything undone that was written after ``revision``."""
        then = self._history.undone(prefix, revision)
        if not then:
            return self.range(prefix, after=after, limit=limit)
        enough = limit + len(then) if limit else 0  # so many of what is there now may have to go
        entries = {entry.key: entry for entry in self.range(prefix, after=after, limit=enough)}
        whole = not limit or len(entries) < enough
        last = LAST if whole else next(reversed(entries))
        for key, entry in then.items():
            if entry is None:
                entries.pop(key, None)
            elif after < key <= last:
                entries[key] = entry
        found = [entries[key] for key in sorted(entries)]
        return found[:limit] if limit else found

    # --- writing ------------------------------------------------------------------------------------------------------

    async def create(self, key: str, obj: Object, also: Sequence[Also] = ()) -> Entry:
        """Raises Conflict (expected 0) when the key is taken, or when an object of ``also`` was changed; TooLarge."""
        return await self._put(key, obj, 0, also)

    async def update(self, key: str, obj: Object, *, expected: int, also: Sequence[Also] = ()) -> Entry:
        """Raises Conflict when the object was changed since revision ``expected``, or one of ``also``; TooLarge."""
        return await self._put(key, obj, expected, also)

    async def delete(self, key: str, obj: Object, *, expected: int, also: Sequence[Also] = ()) -> Entry:
        """Remove the key; ``obj`` is the final state that the DELETED event shows. Raises Conflict."""
        began = time.perf_counter()
        staged = self._stage(key, obj)
        mine = self._staged_deletes.setdefault((key, expected), staged) is staged
        try:
            revision = await self._write(Write(key, None, expected), also)
        finally:
            if mine:
                del self._staged_deletes[key, expected]
            self._time("delete", key, began)
        return staged.entry(key, revision)

    async def _put(self, key: str, obj: Object, expected: int, also: Sequence[Also]) -> Entry:
        began = time.perf_counter()
        staged = self._stage(key, obj)
        if len(staged.value) > LARGEST:
            raise TooLarge(len(staged.value))
        self._staged[id(staged.value)] = staged
        try:
            ttl = self._ttls.get(bucket_of(key), 0)
            revision = await self._write(Write(key, staged.value, expected, ttl), also)
        finally:
            del self._staged[id(staged.value)]
            self._time("update" if expected else "create", key, began)
        entry = self.get(key)
        if entry is None or entry.revision != revision:  # somebody wrote again, and that is applied already
            entry = staged.entry(key, revision)
        return entry

    async def _write(self, write: Write, also: Sequence[Also]) -> int:
        """Write a key and what belongs to it, and wait until that is visible; returns the key's revision."""
        staged = [(each, self._stage(each.key, each.obj)) for each in also if each.obj is not None]
        self._staged.update((id(other.value), other) for _, other in staged)
        try:
            if also:
                others = [Write(each.key, other.value, each.expected) for each, other in staged]
                gone = [Write(each.key, None, each.expected) for each in also if each.obj is None]
                revision = await self._store.write_all([*others, *gone, write])
            elif write.value is None:
                revision = await self._store.delete(write.key, expected=write.expected)
            else:
                revision = await self._store.put(write.key, write.value, expected=write.expected, ttl=write.ttl)
            await self.wait(revision)
        finally:
            for _, other in staged:
                del self._staged[id(other.value)]
        return revision

    def _time(self, operation: str, key: str, began: float) -> None:
        seconds = time.perf_counter() - began
        self.timings[operation, bucket_of(key)].add(seconds)
        latency.add(latency.STORE, seconds)

    def _stage(self, key: str, obj: Object) -> Staged:
        labels, fields = self._index(key, obj)
        return Staged(encode(obj), labels, fields)

    async def wait(self, revision: int, timeout: float = 3.0) -> None:
        """Until ``revision`` is applied. Raises TimeoutError."""
        if self.revision >= revision:
            return
        if self._failure is not None:
            raise StoreError("the cache lost the store") from self._failure
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((revision, waiter))
        try:
            await asyncio.wait_for(waiter, timeout)
        finally:
            self._waiters = [(at, other) for at, other in self._waiters if other is not waiter]

    @property
    def reachable(self) -> bool:
        """Whether the store answers."""
        return self._failure is None and self._store.reachable

    async def lost(self) -> None:
        """Wait for the day when the store can no longer be followed, which never comes by itself. Raises StoreError.

        Whoever serves from a cache ends then: only a new one knows again what is true.
        """
        assert self._following is not None
        await asyncio.wait({self._following})
        raise StoreError("the store can no longer be followed") from self._failure

    @property
    def shared(self) -> bool:
        """Whether other servers write to the store as well."""
        return self._store.shared

    async def probe(self) -> None:
        """Ask the store whether it is there. Raises StoreError."""
        if self._failure is not None:
            raise StoreError("the cache lost the store") from self._failure
        await self._store.latest()

    async def fresh(self) -> None:
        """Wait until all that anyone's client has been told is done is applied here. Raises TimeoutError, StoreError.

        Costs nothing with a store of one's own. With a shared one it is a question to the store, which all who come
        while one is under way share: its answer may be older than they are.
        """
        if not self._store.shared:
            return
        if self._next_question is None:
            self._next_question = asyncio.create_task(self._ask(self._question), name="latest revision")
        await self.wait(await asyncio.shield(self._next_question))

    async def _ask(self, before: asyncio.Task[int] | None) -> int:
        if before is not None:
            await asyncio.wait({before})
        self._question, self._next_question = self._next_question, None
        return await self._store.latest()

    # --- following ----------------------------------------------------------------------------------------------------

    async def _follow(self, batches: AsyncIterator[list[Change]]) -> None:
        try:
            async for changes in batches:
                self._apply(changes)
        except asyncio.CancelledError:
            self._end(StopAsyncIteration())
            raise
        except Exception as error:
            log.exception("the store can no longer be followed")
            self._failure = error
            self._end(error)

    def _apply(self, changes: Sequence[Change]) -> None:
        events = [self._apply_one(change) for change in changes]
        self.revision = changes[-1].revision
        self._history.add(events)
        self._fanout.publish(events)
        if self._waiters:
            for revision, waiter in self._waiters:
                if revision <= self.revision and not waiter.done():
                    waiter.set_result(None)

    def _apply_one(self, change: Change) -> Event:
        key, revision = change.key, change.revision
        bucket = self._bucket(key)
        bucket.changed = revision
        bucket.received += 1
        previous = bucket.entries.get(key)
        if change.value is not None:
            entry = self._entry(key, revision, change.value, self._staged.get(id(change.value)), previous)
            bucket.put(entry)
            return Event("ADDED" if previous is None else "MODIFIED", entry, previous, revision)
        if previous is None:
            raise StoreError(f"the store deleted {key}, which is not there")
        bucket.remove(previous)
        return deletion(previous, revision, self._staged_deletes.get((key, previous.revision)))

    def _entry(
        self, key: str, revision: int, value: bytes, staged: Staged | None = None, previous: Entry | None = None
    ) -> Entry:
        if staged is not None and staged.value is value:
            labels, fields = staged.labels, staged.fields
        else:
            labels, fields = self._index(key, orjson.loads(value))
        if previous is not None:  # most updates change neither: keep one copy
            labels = previous.labels if previous.labels == labels else labels
            fields = previous.fields if previous.fields == fields else fields
        return Entry(key, revision, splice(value, revision), labels, fields)

    # --- watching -----------------------------------------------------------------------------------------------------

    def watch(self, prefix: str, *, since: int) -> Watch:
        """Every event after ``since`` on keys under ``prefix``. Raises Compacted at once when that is too long ago."""
        since = max(since, 1)  # nothing happened before: an empty store is at revision 1
        past: AsyncIterator[list[Event]] | None = None
        missed: list[Event] = []
        if since < self._history.start:
            past = self._past(self._store.watch(since, previous=True), prefix, self.revision)
        elif since < self.revision:
            missed = [event for event in self._history.since(since) if event.entry.key.startswith(prefix)]
        watch = Watch(prefix, since, past, lambda: self.revision, self._fanout.remove)
        if self._failure is not None:
            watch.end(self._failure)
            return watch
        self._fanout.add(watch)
        if missed:
            watch.push(missed)
        return watch

    async def _past(self, batches: AsyncIterator[list[Change]], prefix: str, until: int) -> AsyncIterator[list[Event]]:
        """What the store remembers up to ``until``; what came after is with the watch already."""
        async for changes in batches:
            events = [
                self._past_event(change)
                for change in changes
                if change.revision <= until and change.key.startswith(prefix)
            ]
            if events:
                yield events
            if changes[-1].revision >= until:
                return

    def _past_event(self, change: Change) -> Event:
        before = self._record_entry(change.previous) if change.previous else None
        if change.value is not None:
            entry = self._entry(change.key, change.revision, change.value)
            return Event("MODIFIED" if before else "ADDED", entry, before, change.revision)
        if before is None:
            raise StoreError(f"the store does not remember what {change.key} was before {change.revision}")
        return deletion(before, change.revision, None)

    def _record_entry(self, record: Record) -> Entry:
        return self._entry(record.key, record.revision, record.value)

    async def close(self) -> None:
        """End every watch and close the store."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        self._end(StopAsyncIteration())
        await self._store.close()

    def _end(self, reason: BaseException) -> None:
        self._fanout.end_all(reason)
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(StoreError("the store is closed"))
