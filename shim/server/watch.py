"""Tell me what changes: the events of a collection as lines of JSON, until time is up or the client leaves.

The promise to a watcher: every change after the revision it names, once, in order. Who cannot keep up is cut off and
begins anew; nobody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from shim.api.status import ApiError, bad_request, expired
from shim.api.timing import Histogram, Histograms
from shim.server import sockets
from shim.server.connection import Connection
from shim.server.flowcontrol.gate import SEAT
from shim.server.negotiation import JSON
from shim.server.options import ListOptions
from shim.server.pages import TEST_AT_ONCE, catch_up
from shim.server.parts import Call
from shim.server.render import EventWriter
from shim.server.selection import Test, equalities, reads_objects, test_of
from shim.store.cache import Cache, Entry, Event, Watch
from shim.store.contract import Compacted, StoreError
from shim.store.entry import EventType, resplice

log = logging.getLogger(__name__)

BOOKMARK_EVERY = 60.0  # upstream: about once a minute
_EMPTY = 1  # the revision of a store before a server writes what every cluster has, and then answers
LAST_BOOKMARK = 2.0  # seconds before a watch's time is up, as upstream's
LEAST_TIMEOUT = 1800.0  # where the client names none; upstream picks between this and twice this, so do we
PATIENCE = 30.0  # seconds for a client to take what was written; by then its queue has long overflowed
_SIZES = tuple(1 << power for power in range(10, 18))  # bytes
_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 15, 20, 30, 45, 60)
WRITE_SIZE = 256 * 1024  # events are joined into writes of about this size: fewer wake-ups and TLS records


class Watched:
    """What watches have sent, by group, version and resource."""

    def __init__(self) -> None:
        self.sizes = Histograms(_SIZES)
        self.initial: Counter[tuple[str, ...]] = Counter()
        """Events about what was there when the watch began."""
        self.began = Histograms(_SECONDS)
        """How long it took to send all of that, where the client asked to be told of its end."""


class Watchers:
    """The open watches, so that a server that stops can end them."""

    def __init__(self, sent: Watched) -> None:
        self._sent = sent
        self._open: set[Callable[[], None]] = set()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._open)

    def end_all(self) -> None:
        """End every watch as if its time were up; clients then come back to whoever serves next."""
        self._stopping = True
        for end in list(self._open):
            end()

    async def serve(self, call: Call) -> web.StreamResponse:
        """Answer a watch request."""
        options = ListOptions.of(call.query, watch=True)
        test = test_of(call, options)
        if name := call.info.name:  # the old path /watch/.../NAME means one object
            if dict(equalities(options.field_selector)).get("metadata.name", name) != name:
                raise bad_request("fieldSelector metadata.name doesn't match requested name")
            test = _only(call.key, test)
        writer = EventWriter(call)
        cache = call.parts.cache
        try:
            if options.initial_events and options.revision:
                await catch_up(call, options.revision)
            since, initial = _begin(cache, call.prefix, options)
            watch = cache.watch(call.prefix, since=since)
        except (Compacted, ApiError) as error:
            # a watch that cannot begin is answered 200 with one ERROR event: that is what clients look for
            line = writer.error(error if isinstance(error, ApiError) else _too_old(error))
            if not sockets.asked(call.http):
                return web.Response(body=line, headers={"Content-Type": writer.content_type})
            response = await _open(call, writer, lambda: None)
            await response.write(line)
            return response
        timeout = options.timeout or LEAST_TIMEOUT * (1 + random.random())
        with self._ending(call, watch, timeout):
            response = await _open(call, writer, watch.close)
            telling = _Telling(call, options, test, writer, self._sent, response)
            try:
                await telling.present(initial, since)
                if seat := call.http.get(SEAT):
                    seat.leave()  # from here on it is idle for most of the time
                marks = _mark(response, writer, watch, timeout) if options.bookmarks else None
                await telling.changes(watch, since, marks)
            except ApiError as error:  # a webhook that converts custom resources has failed
                await response.write(writer.error(error))
            except StoreError as error:  # too slow: its queue has overflowed, or what it had yet to read is compacted
                log.info("watch of %s by %s ended: %s", call.prefix, call.user.name, error)
                old = _too_old(error) if isinstance(error, Compacted) else expired(f"too old resource version: {error}")
                await response.write(writer.error(old))
            except ConnectionError:
                if call.http.transport is not None:  # it is there, and does not read: cut it off
                    call.http.transport.abort()
                return response
            await response.write_eof()
        return response

    @contextmanager
    def _ending(self, call: Call, watch: Watch, timeout: float) -> Iterator[None]:
        """Whatever happens first ends the watch: its time is up, the client leaves, the server stops."""
        end = watch.close
        connection = call.http.protocol
        assert isinstance(connection, Connection)
        timer = asyncio.get_running_loop().call_later(timeout, end)
        self._open.add(end)
        connection.on_lost.add(end)
        if self._stopping:
            end()
        try:
            yield
        finally:
            timer.cancel()
            self._open.discard(end)
            connection.on_lost.discard(end)
            end()


@dataclass(frozen=True, slots=True)
class _Telling:
    """What one watcher is told, once its answer has begun. All of it raises ConnectionError when the client leaves."""

    call: Call
    options: ListOptions
    test: Test | None
    writer: EventWriter
    sent: Watched
    response: web.StreamResponse

    @property
    def kind(self) -> tuple[str, str, str]:
        info = self.call.info
        return info.group, info.version, info.resource

    async def present(self, initial: Sequence[Entry], since: int) -> None:
        """What is there, as ADDED, and the bookmark that says so."""
        began, test, writer = time.perf_counter(), self.test, self.writer
        for start in range(0, len(initial), TEST_AT_ONCE):
            some = initial[start : start + TEST_AT_ONCE]
            await self._ready(some)
            added = (writer.added(entry) for entry in some if test is None or test(entry))
            self.sent.initial[self.kind] += await _send(self.response, added, self.sent.sizes[self.kind])
            await asyncio.sleep(0)
        if self.options.bookmarks and self.options.initial_events:
            await self.response.write(writer.bookmark(since, initial_events_end=True))
            scope = "namespace" if self.call.info.namespace else "cluster"
            self.sent.began[*self.kind, scope].add(time.perf_counter() - began)

    async def changes(self, watch: Watch, since: int, marks: Coroutine[Any, Any, None] | None) -> None:
        """Every change after ``since``, until the watch ends; ``marks`` writes bookmarks beside them."""
        marking = asyncio.create_task(marks, name="bookmarks") if marks is not None else None
        resource, sizes = self.call.resource, self.sent.sizes[self.kind]
        try:
            async for events in watch:
                if events[0].revision <= since:  # asked from a revision that was yet to come
                    events = [event for event in events if event.revision > since]
                if resource.converter is not None:
                    await self._ready(_shown_by(events))
                    if reads_objects(resource, self.options):
                        await self._ready([event.previous for event in events if event.previous is not None])
                await _send(self.response, _lines(events, self.test, self.writer), sizes)
        finally:
            if marking is not None:
                marking.cancel()

    async def _ready(self, entries: Iterable[Entry]) -> None:
        """Entries in the version that is asked for. Raises ApiError when they cannot be converted."""
        if self.call.resource.converter is not None:
            await self.call.parts.registry.ready(self.call.resource, entries)


async def _open(call: Call, writer: EventWriter, gone: Callable[[], None]) -> web.StreamResponse:
    """The beginning of the answer, in which events are then written; ``gone`` is called by a socket that closes."""
    if sockets.asked(call.http):
        socket = sockets.EventSocket(call.http, text=writer.content_type == JSON)
        await socket.open(call.http, gone)
        return socket
    response = web.StreamResponse(headers={"Content-Type": writer.content_type, "Cache-Control": "no-cache, private"})
    response.enable_chunked_encoding()
    await response.prepare(call.http)
    return response


def _begin(cache: Cache, prefix: str, options: ListOptions) -> tuple[int, list[Entry]]:
    """The revision to watch from, and the objects to show first, where they match.

    Without a version, or with "0", the present state comes as ADDED events; ``sendInitialEvents`` says so (or not)
    explicitly. Raises Compacted for what was never read by anybody.
    """
    if not options.initial_events:
        if options.revision == _EMPTY:
            raise Compacted(_EMPTY, _EMPTY + 1)
        return options.revision or cache.revision, []
    return cache.revision, cache.range(prefix)


def _shown_by(events: Sequence[Event]) -> Iterator[Entry]:
    for event in events:
        yield event.entry
        if event.previous is not None:
            yield replace(event.previous, data=resplice(event.previous.data, event.revision))


def _lines(events: Sequence[Event], test: Test | None, writer: EventWriter) -> Iterator[bytes]:
    """Events as this watcher sees them."""
    if test is None:
        yield from map(writer.line, events)
        return
    for event in events:
        if (type := _seen_as(event, test)) is not None:
            yield writer.line(event, type)


def _seen_as(event: Event, test: Test) -> EventType | None:
    """What starts to match a selector is ADDED to its watcher, what ceases to match is DELETED."""
    now = event.type != "DELETED" and test(event.entry)
    before = event.previous is not None and test(event.previous)
    if now:
        return "MODIFIED" if before else "ADDED"
    return "DELETED" if before else None


async def _send(response: web.StreamResponse, lines: Iterable[bytes], sizes: Histogram) -> int:
    """Write lines in few large pieces; waits while the client does not read, and lets others run. Returns how many."""
    piece: list[bytes] = []
    size = sent = 0
    bounds, counts = sizes.bounds, sizes.counts
    for line in lines:
        piece.append(line)
        counts[bisect_left(bounds, len(line))] += 1
        size += len(line)
        if size >= WRITE_SIZE:
            sizes.total += size
            await _write(response, piece)
            await asyncio.sleep(0)  # a socket that takes everything at once would let nobody else run
            sent += len(piece)
            piece, size = [], 0
    if piece:
        sizes.total += size
        await _write(response, piece)
    return sent + len(piece)


async def _write(response: web.StreamResponse, piece: list[bytes]) -> None:
    """Raises ConnectionError for a client that does not read what it asked for."""
    try:
        async with asyncio.timeout(PATIENCE):
            await response.write(b"".join(piece) if len(piece) > 1 else piece[0])
    except TimeoutError:
        raise ConnectionError("the watcher does not read") from None


async def _mark(response: web.StreamResponse, writer: EventWriter, watch: Watch, timeout: float) -> None:
    """Bookmarks let a client whose objects seldom change resume from a recent revision; the last is near the end."""
    clock = asyncio.get_running_loop().time
    last = clock() + timeout - LAST_BOOKMARK
    while (left := last - clock()) > 0:
        await asyncio.sleep(min(BOOKMARK_EVERY, left))
        try:
            await response.write(writer.bookmark(watch.revision))
        except ConnectionError:
            return  # the watch itself notices too


def _only(key: str, test: Test | None) -> Test:
    return lambda entry: entry.key == key and (test is None or test(entry))


def _too_old(error: Compacted) -> ApiError:
    return expired(f"too old resource version: {error.asked} ({error.oldest})")
