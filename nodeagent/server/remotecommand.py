"""exec and attach: the streams of a process joined with those of a client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from nodeagent.engine.contract import EngineError, Process, StartFailed
from nodeagent.server.channels import (
    STDERR,
    STDOUT,
    SUCCESS,
    Channels,
    Resized,
    Wanted,
    open_spdy,
    open_websocket,
)
from shim.api.meta import Object
from shim.codec.upgrade import Upgraded

log = logging.getLogger(__name__)

CHUNK = 1 << 15
QUIET = 2.0  # seconds without output after a process has ended, until its output is taken to be over
SIZE_PATIENCE = 0.5  # seconds to wait for the size of a terminal; kubectl sends it first of all, others may never
Start = Callable[[tuple[int, int] | None], Awaitable[Process]]
Told = Callable[[int], Object]  # what the client is told of an exit code
"""Starts the process; given rows and columns of the client's terminal, where they are known."""


def wanted_of(request: web.Request) -> Wanted:
    """The streams asked for in the query, in the kubelet's own words: input, output, error, tty."""

    def asked(name: str) -> bool:
        return request.query.get(name, "").lower() in ("1", "true")

    tty = asked("tty")
    return Wanted(asked("input"), asked("output"), asked("error") and not tty, tty)


def status_of(code: int) -> Object:
    """What an exec's client is told at the end: the exit code of its command, unless that is 0."""
    return SUCCESS if code == 0 else _exited(code)


def attached_status(code: int) -> Object:
    """What an attached client is told: it only watched, so all is well however the container ended."""
    return SUCCESS


async def serve_process(request: web.Request, start: Start, told: Told = status_of) -> web.StreamResponse:
    """Start (or attach to) a process and carry its streams until it ends or the client goes."""
    wanted = wanted_of(request)
    if not (wanted.stdin or wanted.stdout or wanted.stderr):
        return web.Response(status=400, text="you must specify at least 1 of stdin, stdout, stderr")
    if request.headers.get("Upgrade", "").lower() == "websocket":
        channels = await open_websocket(request, wanted)
        await join(channels, wanted, start, told)
        return channels.socket
    try:
        connection, streams = open_spdy(request, wanted)
    except ValueError as error:
        return web.Response(status=403, text=str(error))
    feeding = asyncio.ensure_future(streams.run())
    try:
        await streams.opened()
        await join(streams, wanted, start, told)
        with contextlib.suppress(TimeoutError):  # the client closes once it has read the status
            await asyncio.wait_for(streams.closed.wait(), 10)
    except TimeoutError:
        log.info("a client did not open its streams in time")
    finally:
        connection.close()
        await feeding
    return Upgraded()


@dataclass(slots=True)
class Moved:
    """How many pieces of output have reached the client."""

    pieces: int = 0


class _Input:
    """What the client sends: sizes from the beginning on, input once the process runs."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._process: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._sized = asyncio.Event()
        self._size: tuple[int, int] | None = None

    async def size(self) -> tuple[int, int] | None:
        """Rows and columns, if the client tells them soon."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._sized.wait(), SIZE_PATIENCE)
        return self._size

    def begin(self, process: Process) -> None:
        """From now on input goes to this process."""
        if self._size is not None:
            process.resize(self._size[1], self._size[0])
        self._process.set_result(process)

    async def run(self) -> None:
        """Returns only when the client is gone."""
        async for event in self._channels.events():
            if isinstance(event, Resized):
                self._size = event.rows, event.columns
                self._sized.set()
                if self._process.done():
                    self._process.result().resize(event.columns, event.rows)
                continue
            stdin = (await self._process).stdin
            if stdin is not None:
                with contextlib.suppress(ConnectionError):
                    if event.data is None:
                        stdin.close()
                    else:
                        stdin.write(event.data)
                        await stdin.drain()


async def join(channels: Channels, wanted: Wanted, start: Start, told: Told = status_of) -> None:
    """Copy in both directions; tell how the process ended."""
    typed = _Input(channels)
    incoming = asyncio.ensure_future(typed.run())
    try:
        process = await start(await typed.size() if wanted.tty else None)
    except (StartFailed, EngineError) as error:
        incoming.cancel()
        await _refuse(error, channels, wanted)
        return
    typed.begin(process)
    moved = Moved()
    outgoing = asyncio.gather(
        _copy(process.stdout, channels, STDOUT if wanted.stdout else None, moved),
        _copy(process.stderr, channels, STDERR if wanted.stderr else None, moved),
    )
    try:
        ending = asyncio.ensure_future(process.wait())
        await asyncio.wait({incoming, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            ending.cancel()
            return  # the client is gone; close() in the finally clause ends what exec started
        code = ending.result()
        await _rest(outgoing, moved)
        await channels.finish(told(code))
    except (ConnectionError, EngineError) as error:
        log.debug("streaming ended: %s", error)
    finally:
        for task in (incoming, outgoing):
            task.cancel()
        await asyncio.gather(incoming, outgoing, return_exceptions=True)
        await process.close()


async def _copy(source: asyncio.StreamReader | None, channels: Channels, channel: int | None, moved: Moved) -> None:
    if source is None:
        return
    while data := await source.read(CHUNK):
        if channel is not None:
            await channels.out(channel, data)
        moved.pieces += 1


async def _rest(outgoing: asyncio.Future[tuple[None, None]], moved: Moved) -> None:
    """Send what a process that has ended left in its pipes, for as long as it goes on.

    A grandchild may keep the pipes open for ever: silence ends it.
    """
    while not outgoing.done():
        before = moved.pieces
        await asyncio.wait({outgoing}, timeout=QUIET)
        if moved.pieces == before:
            return


def _exited(code: int) -> Object:
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


async def _refuse(error: EngineError, channels: Channels, wanted: Wanted) -> None:
    """A program that is not there (127) or cannot be run (126) ends as in a shell, and is told of as in one:
    of a status with an exit code, kubectl shows nothing but the code."""
    if not isinstance(error, StartFailed) or error.code not in (126, 127):
        await channels.finish(_failed(error))
        return
    if wanted.stderr or wanted.stdout:
        text = f"{error}\r\n" if wanted.tty else f"{error}\n"
        await channels.out(STDERR if wanted.stderr else STDOUT, text.encode())
    await channels.finish({**_exited(error.code), "message": str(error)})


def _failed(error: EngineError) -> Object:
    cause = f"error executing command in container: {error}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {cause}",
        "reason": "InternalError",
        "details": {"causes": [{"message": cause}]},
        "code": 500,
    }
