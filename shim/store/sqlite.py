"""How is an acknowledged write made durable, and what is remembered of the past? The store on SQLite.

The file is that of :mod:`shim.store.sqlite_file`. The use of threads:

    event loop: accept (check the expected revision, give out the next one) ──queue──> writer thread
    event loop: acknowledge, hand to watchers      <──call_soon_threadsafe── one transaction for all that is queued

A write is checked against the newest *accepted* state, so that writers to one key need not wait for the disk in
turn, and is acknowledged when it is *committed*. When a commit fails (the disk is full), it and all that was
accepted after it fail together, and the accepted state goes back to the committed one.

What expires is deleted by the store itself, which looks when the first deadline has passed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from shim.store import sqlite_file
from shim.store.contract import Change, Compacted, Conflict, Page, Record, StoreError, Write
from shim.store.expiries import Expiries

log = logging.getLogger(__name__)

T = TypeVar("T")

_BATCH = 1000  # writes in one transaction at most: the first of them waits for all
_HISTORY_BATCH = 500  # changes read from the past at a time
_COMPACTION_STEP = 2000  # revisions compacted in one transaction: writers wait for it
_MAX_KEY = "\U0010ffff"  # sorts after every character a key can have
_LOOK = 1.0  # seconds between looks for what has expired, so that what expires together goes together


@dataclass(slots=True, eq=False)
class _Write:
    """A write that was accepted. ``epoch`` counts failures: what was accepted before one is void.

    ``joined``: it and the next write are in one transaction.
    """

    key: str
    value: bytes | None
    revision: int
    previous: int
    epoch: int
    done: asyncio.Future[int]
    joined: bool = False
    expires: float | None = None


@dataclass(slots=True, eq=False)
class _Job:
    """Other work for the writer thread, in turn with the writes."""

    run: Callable[[sqlite3.Connection], Any]
    done: asyncio.Future[Any] | None


_END = _Job(lambda _: None, None)


@dataclass(slots=True, eq=False)
class _Subscriber:
    """A watcher's live changes, committed but not yet taken."""

    batches: deque[list[Change]] = field(default_factory=deque)
    waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class SQLiteStore:
    """A Store (see contract) in one SQLite file. Made by :func:`open_sqlite`; used from one event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = sqlite_file.lock(path)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection = sqlite_file.connect(path)
        sqlite_file.prepare(self._connection)
        self._compacted: int = self._connection.execute("SELECT revision FROM compaction").fetchone()[0]
        self._forgotten = self._compacted  # rows are deleted up to here; less than what is refused, during a compaction
        (newest,) = self._connection.execute("SELECT coalesce(max(revision), 0) FROM log").fetchone()
        # compaction may have removed the newest row, a deletion: its revision is not to be used again
        self._committed: int = max(newest, self._compacted, 1)
        self._accepted = self._committed
        self._current: dict[str, int] = {}
        self._expiries = Expiries()
        self._looking: asyncio.TimerHandle | None = None
        for key, revision, expires in sqlite_file.current(self._connection):
            self._current[key] = revision
            if expires is not None:
                self._expiries.add(expires, revision, key)
        self._inflight: deque[_Write] = deque()
        self._epoch = 0
        self._subscribers: list[_Subscriber] = []
        self._queue: queue.SimpleQueue[_Write | _Job] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_forever, name="store-writer", daemon=True)
        self._writer.start()
        self._reading = ThreadPoolExecutor(1, "store-reader")
        self._reader = sqlite_file.connect(path)
        self._closed = False

    shared = False
    reachable = True

    async def latest(self) -> int:
        return self._committed

    @property
    def revision(self) -> int:
        """Of the newest acknowledged write."""
        return self._committed

    @property
    def compacted(self) -> int:
        """The oldest revision that can be read."""
        return self._compacted

    # --- writing, on the event loop ----------------------------------------------------------------------------------

    async def put(self, key: str, value: bytes, *, expected: int | None = None, ttl: float = 0) -> int:
        return await self._accept(key, value, expected, ttl=ttl)

    async def write_all(self, writes: Sequence[Write]) -> int:
        for each in writes:  # nothing is accepted before everything can be: there is no await in between
            found = self._current.get(each.key, 0)
            if found != each.expected:
                raise Conflict(each.key, each.expected, found)
        accepted = [
            self._accept(each.key, each.value, each.expected, joined=index < len(writes), ttl=each.ttl)
            for index, each in enumerate(writes, 1)
        ]
        return (await asyncio.gather(*accepted))[-1]

    async def delete(self, key: str, *, expected: int | None = None) -> int:
        if key not in self._current:
            raise Conflict(key, expected or 0, 0)
        return await self._accept(key, None, expected)

    def _accept(
        self, key: str, value: bytes | None, expected: int | None, *, joined: bool = False, ttl: float = 0
    ) -> asyncio.Future[int]:
        self._check_open()
        found = self._current.get(key, 0)
        if expected is not None and found != expected:
            raise Conflict(key, expected, found)
        loop = self._running_loop()
        self._accepted += 1
        write = _Write(key, value, self._accepted, found, self._epoch, loop.create_future(), joined)
        if ttl:
            write.expires = time.time() + ttl
        if value is None:
            del self._current[key]
        else:
            self._current[key] = write.revision
        self._inflight.append(write)
        self._queue.put(write)
        return write.done

    def _acknowledge(self, writes: list[_Write]) -> None:
        """The writes are durable: hand them to watchers, then let the writers go on."""
        for _ in writes:
            self._inflight.popleft()
        self._committed = writes[-1].revision
        if self._subscribers:
            changes = [Change(write.key, write.revision, write.value) for write in writes]
            for subscriber in self._subscribers:
                subscriber.batches.append(changes)
                subscriber.wake()
        for write in writes:
            if write.expires is not None:
                self._expiries.add(write.expires, write.revision, write.key)
            if not write.done.done():
                write.done.set_result(write.revision)
        self._look_later(self._running_loop())

    def _fail(self, error: Exception) -> None:
        """A commit failed: it and every later accepted write are void."""
        self._epoch += 1
        self._accepted = self._committed
        failed = StoreError(f"{self._path}: {error}")
        while self._inflight:
            write = self._inflight.pop()
            if write.previous:
                self._current[write.key] = write.previous
            else:
                self._current.pop(write.key, None)
            if not write.done.done():
                write.done.set_exception(failed)

    # --- expiring, on the event loop ---------------------------------------------------------------------------------

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look for what has expired when something has."""
        if self._looking is None and (deadline := self._expiries.next) is not None:
            self._looking = loop.call_later(max(deadline - time.time(), _LOOK), self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looking = None
        if self._closed:
            return
        for key, revision in self._expiries.due(time.time()):
            if self._current.get(key) == revision:  # otherwise it was written again, or is gone
                self._accept(key, None, revision).add_done_callback(partial(self._expired, key, revision))
        self._look_later(loop)

    def _expired(self, key: str, revision: int, done: asyncio.Future[int]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            log.warning("%s has expired but is not deleted: %s", key, error)
            self._expiries.add(time.time() + _LOOK, revision, key)

    # --- writing, in the writer thread --------------------------------------------------------------------------------

    def _write_forever(self) -> None:
        failed_epoch = -1
        while True:
            writes, other = self._take()
            writes = [write for write in writes if write.epoch > failed_epoch]
            if writes:
                try:
                    rows = [(each.revision, each.key, each.value, each.previous, each.expires) for each in writes]
                    sqlite_file.append(self._connection, rows)
                except sqlite3.Error as error:
                    failed_epoch = writes[-1].epoch
                    self._on_loop(self._fail, error)
                else:
                    self._on_loop(self._acknowledge, writes)
            if other is _END:
                return
            if other is not None:
                self._do(other)

    def _take(self) -> tuple[list[_Write], _Job | None]:
        """Wait for work; return all writes that are queued by now, and what came after them."""
        writes: list[_Write] = []
        item = self._queue.get()
        while isinstance(item, _Write):
            writes.append(item)
            if not item.joined and (len(writes) >= _BATCH or self._queue.empty()):
                return writes, None  # only this thread takes: what is there stays
            item = self._queue.get()
        return writes, item

    def _do(self, job: _Job) -> None:
        try:
            result = job.run(self._connection)
        except Exception as error:
            self._on_loop(_settle, job.done, None, error)
        else:
            self._on_loop(_settle, job.done, result, None)

    def _on_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed: nobody waits for an answer any more
            return

    # --- reading -----------------------------------------------------------------------------------------------------

    async def range(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> Page:
        self._check_open()
        at = revision or self._committed
        self._check_kept(at)
        low, high = max(prefix, after), prefix + _MAX_KEY

        def read() -> Page:
            rows = self._reader.execute(
                "SELECT key, value, revision FROM"
                " (SELECT key, value, max(revision) AS revision FROM log"
                "  WHERE key >= ? AND key < ? AND key > ? AND revision <= ? GROUP BY key)"
                " WHERE value IS NOT NULL LIMIT ?",
                (low, high, after, at, limit + 1 if limit else -1),
            ).fetchall()
            more = bool(limit) and len(rows) > limit
            return Page([Record(*row) for row in (rows[:limit] if more else rows)], at, more)

        page = await self._read(read)
        self._check_kept(at)  # it may have been compacted in the meantime
        return page

    async def count(self, prefix: str, *, after: str = "", revision: int = 0) -> int:
        self._check_open()
        at = revision or self._committed
        self._check_kept(at)

        def read() -> int:
            found: tuple[int] = self._reader.execute(
                "SELECT count(*) FROM"
                " (SELECT value IS NULL AS gone, max(revision) FROM log"
                "  WHERE key >= ? AND key < ? AND key > ? AND revision <= ? GROUP BY key)"
                " WHERE NOT gone",
                (max(prefix, after), prefix + _MAX_KEY, after, at),
            ).fetchone()
            return found[0]

        found = await self._read(read)
        self._check_kept(at)
        return found

    def watch(self, since: int, *, previous: bool = False) -> AsyncIterator[list[Change]]:
        self._check_open()
        self._check_kept(since)
        subscriber = _Subscriber()
        self._subscribers.append(subscriber)
        return self._follow(subscriber, since, self._committed, previous)

    async def _follow(
        self, subscriber: _Subscriber, since: int, until: int, previous: bool
    ) -> AsyncIterator[list[Change]]:
        """The past (``since``, ``until``] from the table, then what is committed from now on."""
        try:
            while since < until:
                self._check_kept(since)
                changes = await self._read(partial(self._history, since, until))
                self._check_kept(since)
                if not changes:
                    break
                since = changes[-1].revision
                yield changes
            while True:
                while subscriber.batches:
                    batch = [change for change in subscriber.batches.popleft() if change.revision > since]
                    if batch:
                        yield await self._with_previous(batch) if previous else batch
                self._check_open()
                subscriber.waiter = self._running_loop().create_future()
                await subscriber.waiter
        finally:
            self._subscribers.remove(subscriber)

    def _history(self, since: int, until: int) -> list[Change]:
        rows = self._reader.execute(
            "SELECT new.key, new.revision, new.value, new.previous, old.value FROM log AS new"
            " LEFT JOIN log AS old ON old.revision = new.previous"
            " WHERE new.revision > ? AND new.revision <= ? ORDER BY new.revision LIMIT ?",
            (since, until, _HISTORY_BATCH),
        )
        return [
            Change(key, revision, value, Record(key, old, before) if before else None)
            for key, revision, value, before, old in rows
        ]

    async def _with_previous(self, changes: list[Change]) -> list[Change]:
        first, last = changes[0].revision, changes[-1].revision
        return await self._read(lambda: self._history(first - 1, last))

    async def _read(self, function: Callable[[], T]) -> T:
        return await self._running_loop().run_in_executor(self._reading, function)

    # --- forgetting --------------------------------------------------------------------------------------------------

    async def compact(self, revision: int) -> None:
        self._check_open()
        if revision > self._committed:
            raise ValueError(f"cannot compact at {revision}: the newest revision is {self._committed}")
        self._compacted = max(self._compacted, revision)  # refuse readers of the past before it goes
        while self._forgotten < revision:
            start, end = self._forgotten, min(self._forgotten + _COMPACTION_STEP, revision)
            done: asyncio.Future[None] = self._running_loop().create_future()
            self._queue.put(_Job(partial(sqlite_file.forget, start=start, end=end), done))
            await done
            self._forgotten = end

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
        self._queue.put(_END)
        await asyncio.get_running_loop().run_in_executor(None, self._writer.join)
        await asyncio.sleep(0)  # lets the last acknowledgements through
        for subscriber in self._subscribers:
            subscriber.wake()
        await self._read(self._reader.close)
        self._reading.shutdown(wait=False)
        self._connection.close()
        os.close(self._lock)

    # --- checks ------------------------------------------------------------------------------------------------------

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._look_later(self._loop)
        return self._loop

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"{self._path} is closed")

    def _check_kept(self, revision: int) -> None:
        if revision < self._compacted:
            raise Compacted(revision, self._compacted)


def open_sqlite(path: str | Path) -> SQLiteStore:
    """Open the store in this file, made if it is not there.

    Raises StoreError when another process has it open, when the disk is full, and when the file is no store.
    """
    try:
        return SQLiteStore(Path(path))
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error


def _settle(done: asyncio.Future[Any] | None, result: Any, error: BaseException | None) -> None:
    if done is None or done.done():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
