"""The Store on etcd's transactions, ranges and watches.

    put, delete   one transaction: compare the key's revision, then write; otherwise read what is there
    range         pages of etcd's own, at one revision
    watch         one stream for all (the pump) hands out what is new; who begins in the past reads that first
    expiring      by etcd's leases

Several API servers may use one cluster: each sees the others' writes through its pump. Keys that are written together
have the same revision here. Others may keep keys there too, which do not begin with ``/``; streams bring changes of
those as well, because every revision has one: so what a stream has shown is known exactly.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from shim.store.contract import Change, Compacted, Conflict, Page, Record, StoreError, Write
from shim.store.etcd.leases import Leases
from shim.store.etcd.members import Access, Members, OutcomeUnknown
from shim.store.etcd.messages import DELETE, EQUAL, GREATER, MOD, VERSION, message

log = logging.getLogger(__name__)

ROOT, _ROOT = "/", b"/"  # all that is ours: etcd may hold other keys
REOPEN = 0.2  # seconds until a lost stream is opened again
ATTEMPTS = 5  # times a write is sent whose outcome is unknown
CATCH_UP = 10.0  # seconds a write that is done waits until watchers have seen it
COMPACT_KEY = b"compact_rev_key"
"""Where whoever compacts writes at which revision, as upstream's API servers do: of several one does it each time."""
_EVERYTHING = {"key": b"\0", "range_end": b"\0"}
_COMPACTED = "etcdserver: mvcc: required revision has been compacted"
_NO_LEASE = "etcdserver: requested lease not found"


@dataclass(slots=True, eq=False)
class _Subscriber:
    """A watcher's live changes, not yet taken."""

    batches: deque[list[Change]] = field(default_factory=deque)
    news: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class _Write:
    """One key's part of a transaction; a ``value`` of None deletes."""

    key: str
    value: bytes | None
    expected: int | None
    ttl: float = 0

    @property
    def condition(self) -> Any:
        """What must be so; a deletion needs something to delete."""
        if self.expected is not None:
            return message["Compare"](result=EQUAL, target=MOD, key=self.key.encode(), mod_revision=self.expected)
        if self.value is None:
            return message["Compare"](result=GREATER, target=MOD, key=self.key.encode(), mod_revision=0)
        return None

    def operation(self, leases: Mapping[float, int]) -> Any:
        """``leases`` has the number of one for each ttl; a key without a lease stays."""
        if self.value is None:
            return message["RequestOp"](request_delete_range=message["DeleteRangeRequest"](key=self.key.encode()))
        put = message["PutRequest"](key=self.key.encode(), value=self.value, lease=leases[self.ttl])
        return message["RequestOp"](request_put=put)


class EtcdStore:
    """A Store (see contract) on etcd. Made by :func:`open_etcd`; used from one event loop."""

    shared = True

    def __init__(self, members: Members) -> None:
        self.reachable = True
        self._members = members
        self._leases = Leases(members)
        self._revision = 0  # up to here the pump has handed out everything
        self._newest = 0  # of what it has handed out: the last revision that is a change of ours
        self._compacted = 0
        self._compactions = 0  # versions of COMPACT_KEY that we know of
        self._subscribers: list[_Subscriber] = []
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._pumping: asyncio.Task[None] | None = None
        self._failure: StoreError | None = None

    async def start(self) -> None:
        """Find out where the cluster is, and follow it from there. Raises StoreError."""
        self._revision = self._newest = await self._current()
        self._compacted = await self._oldest()
        self._pumping = asyncio.create_task(self._pump(), name="etcd watch")

    # --- writing -----------------------------------------------------------------------------------------------------

    async def put(self, key: str, value: bytes, *, expected: int | None = None, ttl: float = 0) -> int:
        return await self._write([_Write(key, value, expected, ttl)])

    async def write_all(self, writes: Sequence[Write]) -> int:
        return await self._write([_Write(each.key, each.value, each.expected, each.ttl) for each in writes])

    async def delete(self, key: str, *, expected: int | None = None) -> int:
        return await self._write([_Write(key, None, expected)])

    async def _write(self, writes: Sequence[_Write]) -> int:
        """Write all if each key is as expected; otherwise read what is there.

        Sent again when nobody knows whether it was done: only one of several can find the keys as expected, and
        when it was an earlier one, the keys hold our values by now.
        """
        request = await self._transaction(writes)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = await self._members.write("KV/Txn", request)
            except OutcomeUnknown:
                if len(request.compare) < len(writes) or attempt == ATTEMPTS:
                    raise
                continue
            except grpc.aio.AioRpcError as error:
                if error.details() == _NO_LEASE and attempt < ATTEMPTS:
                    self._leases.forget()  # it was revoked, or etcd was restored from a copy
                    request = await self._transaction(writes)
                    continue
                raise StoreError(f"etcd: {error.details()}") from error
            now = int(answer.header.revision)
            if not answer.succeeded:
                there = [next(iter(each.response_range.kvs), None) for each in answer.responses]
                done = attempt > 1 and all(
                    (pair.value if pair else None) == write.value for write, pair in zip(writes, there, strict=True)
                )
                if not done:
                    raise _conflict(writes, there)
                now = int(there[-1].mod_revision) if there[-1] else now
            if not await self._handed_out(now):
                log.warning("etcd: revision %d is written, but no watch shows it after %g s", now, CATCH_UP)
            return now
        raise AssertionError("the last attempt returns or raises")

    async def _transaction(self, writes: Sequence[_Write]) -> Any:
        try:
            leases = {ttl: await self._leases.of(ttl) if ttl else 0 for ttl in {write.ttl for write in writes}}
        except grpc.aio.AioRpcError as error:
            raise StoreError(f"etcd: {error.details()}") from error
        return message["TxnRequest"](
            compare=[found for write in writes if (found := write.condition) is not None],
            success=[write.operation(leases) for write in writes],
            failure=[
                message["RequestOp"](request_range=message["RangeRequest"](key=write.key.encode())) for write in writes
            ],
        )

    async def _handed_out(self, revision: int) -> bool:
        """Wait until watchers have all up to a revision; a writer finds its write applied. False: they had to be
        given up."""
        if self._revision >= revision:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((revision, waiter))
        try:
            await asyncio.wait_for(waiter, CATCH_UP)
        except TimeoutError:
            return False
        finally:
            self._waiters = [(at, other) for at, other in self._waiters if other is not waiter]
        return True

    async def compact(self, revision: int) -> None:
        condition = message["Compare"](result=EQUAL, target=VERSION, key=COMPACT_KEY, version=self._compactions)
        note = message["PutRequest"](key=COMPACT_KEY, value=b"%d" % revision)
        request = message["TxnRequest"](
            compare=[condition],
            success=[message["RequestOp"](request_put=note)],
            failure=[message["RequestOp"](request_range=message["RangeRequest"](key=COMPACT_KEY))],
        )
        try:
            answer = await self._members.write("KV/Txn", request)
            if answer.succeeded:
                self._compactions += 1
                await self._members.write("KV/Compact", message["CompactionRequest"](revision=revision))
            else:  # another API server has compacted since our last time
                found = next(iter(answer.responses[0].response_range.kvs), None)
                self._compactions, revision = (found.version, int(found.value)) if found else (0, 0)
        except grpc.aio.AioRpcError as error:
            if error.details() != _COMPACTED:  # somebody else has, without a note
                raise StoreError(f"etcd: {error.details()}") from error
        self._compacted = max(self._compacted, revision)

    # --- reading -----------------------------------------------------------------------------------------------------

    @property
    def compacted(self) -> int:
        return self._compacted

    async def range(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> Page:
        answer = await self._range(prefix, after, revision, limit=limit)
        records = [Record(each.key.decode(), each.value, each.mod_revision) for each in answer.kvs]
        return Page(records, revision or answer.header.revision, answer.more)

    async def count(self, prefix: str, *, after: str = "", revision: int = 0) -> int:
        return int((await self._range(prefix, after, revision, count_only=True)).count)

    async def _range(self, prefix: str, after: str, revision: int, **how: int) -> Any:
        first = f"{after}\0" if after >= prefix else prefix
        request = message["RangeRequest"](key=first.encode(), range_end=_end(prefix), revision=revision, **how)
        try:
            return await self._members.read("KV/Range", request)
        except grpc.aio.AioRpcError as error:
            if error.details() == _COMPACTED:
                self._compacted = await self._oldest()
                raise Compacted(revision, self._compacted) from error
            raise StoreError(f"etcd: {error.details()}") from error

    async def latest(self) -> int:
        """The revision of the newest write by anyone: whoever has read up to it has missed nothing acknowledged."""
        current = await self._current()
        if not await self._handed_out(current):
            raise StoreError(f"etcd is at revision {current}, but no watch shows it after {CATCH_UP:g} s")
        return self._newest

    async def _current(self) -> int:
        """The revision of etcd, which may be that of a write that is none of ours."""
        request = message["RangeRequest"](key=ROOT.encode(), count_only=True)
        try:
            return int((await self._members.read("KV/Range", request)).header.revision)
        except grpc.aio.AioRpcError as error:
            raise StoreError(f"etcd: {error.details()}") from error

    async def _oldest(self) -> int:
        """The revision up to which history is compacted, 0 when it is whole.

        A range only says that it is; a watch that asks for what is gone is told where it begins.
        """
        try:
            await self._members.read("KV/Range", message["RangeRequest"](key=ROOT.encode(), revision=1))
            return 0
        except grpc.aio.AioRpcError as error:
            if error.details() != _COMPACTED:
                raise StoreError(f"etcd: {error.details()}") from error
        create = message["WatchCreateRequest"](key=ROOT.encode(), start_revision=1)
        async with aclosing(self._members.watch(create)) as answers:
            async for answer in answers:
                if answer.compact_revision:
                    return int(answer.compact_revision)
        raise StoreError("etcd: a watch of compacted history ended without a word")

    # --- watching ----------------------------------------------------------------------------------------------------

    def watch(self, since: int, *, previous: bool = False) -> AsyncIterator[list[Change]]:
        if self._failure is not None:
            raise self._failure
        if since < self._compacted:
            raise Compacted(since, self._compacted)
        subscriber = _Subscriber()
        self._subscribers.append(subscriber)
        return self._follow(subscriber, since, self._revision, previous)

    async def _follow(
        self, subscriber: _Subscriber, since: int, until: int, previous: bool
    ) -> AsyncIterator[list[Change]]:
        """The past (``since``, ``until``] by a stream of its own, then what the pump brings."""
        try:
            if since < until:
                async with aclosing(self._changes(since, previous=previous)) as past:
                    async for revision, changes in past:
                        kept = [change for change in changes if change.revision <= until]
                        if kept:
                            yield kept
                        if revision >= until:
                            break
                since = until
            while True:
                while subscriber.batches:
                    batch = [change for change in subscriber.batches.popleft() if change.revision > since]
                    if batch:
                        yield batch if previous else [_without_previous(change) for change in batch]
                if self._failure is not None:
                    raise self._failure
                subscriber.news.clear()
                await subscriber.news.wait()
        finally:
            self._subscribers.remove(subscriber)

    async def _pump(self) -> None:
        """Hand out every change, for as long as the store is open."""
        try:
            changes_of_all = self._changes(self._revision, previous=True, heard=self._heard)
            async with aclosing(changes_of_all) as everything:
                async for revision, changes in everything:
                    self._hand_out(revision, changes)
        except StoreError as error:
            log.error("etcd can no longer be followed: %s", error)
            self._failure = error
        except Exception as error:
            log.exception("etcd can no longer be followed")
            self._failure = StoreError(f"etcd can no longer be followed: {error!r}")
        finally:
            self._failure = self._failure or StoreError("the store is closed")
            for subscriber in self._subscribers:
                subscriber.news.set()

    def _hand_out(self, revision: int, changes: list[Change]) -> None:
        self._revision = revision
        if changes:
            self._newest = changes[-1].revision
        for subscriber in self._subscribers if changes else ():
            subscriber.batches.append(changes)
            subscriber.news.set()
        for at, waiter in self._waiters:
            if at <= revision and not waiter.done():
                waiter.set_result(None)

    def _heard(self, reachable: bool) -> None:
        self.reachable = reachable

    async def _changes(
        self, since: int, *, previous: bool, heard: Callable[[bool], None] = lambda _: None
    ) -> AsyncGenerator[tuple[int, list[Change]], None]:
        """(revision reached, changes up to it): all after ``since``, each once and in order, over however many streams.

        Those of others' keys are left out, so that there may be none up to a revision.

        Raises Compacted when a stream was lost for longer than history is kept.
        """
        while True:
            create = message["WatchCreateRequest"](**_EVERYTHING, start_revision=since + 1, prev_kv=previous)
            try:
                async with aclosing(self._members.watch(create)) as answers:
                    async for answer in answers:
                        heard(True)
                        if answer.compact_revision:
                            self._compacted = max(self._compacted, int(answer.compact_revision))
                            raise Compacted(since, self._compacted)
                        if answer.canceled:
                            raise StoreError(f"etcd: {answer.cancel_reason}")
                        if not answer.events:
                            continue  # it is made, or alive: its revision is the cluster's, not what it has shown
                        since = answer.events[-1].kv.mod_revision
                        yield since, [_change(event) for event in answer.events if event.kv.key.startswith(_ROOT)]
            except Compacted:
                raise
            except StoreError as error:
                heard(False)
                log.warning("%s; opening it again", error)
                await asyncio.sleep(REOPEN)

    async def close(self) -> None:
        if self._pumping is not None:
            self._pumping.cancel()
            await asyncio.gather(self._pumping, return_exceptions=True)
        for _, waiter in self._waiters:
            waiter.cancel()
        await self._members.close()


async def open_etcd(access: Access) -> EtcdStore:
    """Connect to a cluster. Raises StoreError when none of its members can be reached."""
    store = EtcdStore(Members(access))
    try:
        await store.start()
    except BaseException:
        await store.close()
        raise
    return store


def _conflict(writes: Sequence[_Write], there: Sequence[Any]) -> Conflict:
    """Names the first key that is not as expected."""
    found = [int(pair.mod_revision) if pair else 0 for pair in there]
    for write, revision in zip(writes, found, strict=True):
        if revision != (write.expected or 0):
            return Conflict(write.key, write.expected or 0, revision)
    return Conflict(writes[0].key, writes[0].expected or 0, found[0])


def _change(event: Any) -> Change:
    pair = event.kv
    before = event.prev_kv if event.prev_kv.mod_revision else None
    replaced = Record(before.key.decode(), before.value, before.mod_revision) if before else None
    value = None if event.type == DELETE else pair.value
    return Change(pair.key.decode(), pair.mod_revision, value, replaced)


def _without_previous(change: Change) -> Change:
    return Change(change.key, change.revision, change.value)


def _end(prefix: str) -> bytes:
    """Past the last key with this prefix: its last byte, plus one."""
    raw = prefix.encode()
    return raw[:-1] + bytes((raw[-1] + 1,))
