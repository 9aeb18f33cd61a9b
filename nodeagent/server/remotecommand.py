"""exec and attach: the streams of a process joined with those of a client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

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
Start = Callable[[], Awaitable[Process]]


def wanted_of(request: web.Request) -> Wanted:
    """The streams asked for in the query, in the kubelet's own words: input, output, error, tty."""

    def asked(name: str) -> bool:
        return request.query.get(name, "").lower() in ("1", "true")

    tty = asked("tty")
    return Wanted(asked("input"), asked("output"), asked("error") and not tty, tty)


async def serve_process(request: web.Request, start: Start) -> web.StreamResponse:
    """Start (or attach to) a process and carry its streams until it ends or the client goes."""
    wanted = wanted_of(request)
    if not (wanted.stdin or wanted.stdout or wanted.stderr):
        return web.Response(status=400, text="you must specify at least 1 of stdin, stdout, stderr")
    if request.headers.get("Upgrade", "").lower() == "websocket":
        channels = await open_websocket(request, wanted)
        await join(channels, wanted, start)
        return channels._socket
    try:
        connection, streams = open_spdy(request, wanted)
    except ValueError as error:
        return web.Response(status=403, text=str(error))
    feeding = asyncio.ensure_future(streams.run())
    try:
        await streams.opened()
        await join(streams, wanted, start)
        with contextlib.suppress(TimeoutError):  # the client closes once it has read the status
            await asyncio.wait_for(streams.closed.wait(), 10)
    except TimeoutError:
        log.info("a client did not open its streams in time")
    finally:
        connection.close()
        await feeding
    return Upgraded()


async def join(channels: Channels, wanted: Wanted, start: Start) -> None:
    """Copy in both directions; tell how the process ended."""
    try:
        process = await start()
    except (StartFailed, EngineError) as error:
        await channels.finish(_failed(error))
        return
    incoming = asyncio.ensure_future(_feed(channels, process))
    outgoing = asyncio.gather(
        _copy(process.stdout, channels, STDOUT if wanted.stdout else None),
        _copy(process.stderr, channels, STDERR if wanted.stderr else None),
    )
    try:
        ending = asyncio.ensure_future(process.wait())
        await asyncio.wait({incoming, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            ending.cancel()
            return  # the client is gone; close() in the finally clause ends what exec started
        code = ending.result()
        # a grandchild may keep the pipe open: what is there now is sent, then it is over
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(outgoing, 2 if code else 5)
        await channels.finish(SUCCESS if code == 0 else _exited(code))
    except (ConnectionError, EngineError) as error:
        log.debug("streaming ended: %s", error)
    finally:
        for task in (incoming, outgoing):
            task.cancel()
        with contextlib.suppress(BaseException):
            await asyncio.gather(incoming, outgoing, return_exceptions=True)
        await process.close()


async def _feed(channels: Channels, process: Process) -> None:
    """The client's input to the process. Returns only when the client is gone."""
    async for event in channels.events():
        if isinstance(event, Resized):
            process.resize(event.columns, event.rows)
        elif process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                if event.data is None:
                    process.stdin.close()
                else:
                    process.stdin.write(event.data)
                    await process.stdin.drain()


async def _copy(source: asyncio.StreamReader | None, channels: Channels, channel: int | None) -> None:
    if source is None:
        return
    while data := await source.read(CHUNK):
        if channel is not None:
            await channels.out(channel, data)


def _exited(code: int) -> Object:
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _failed(error: EngineError) -> Object:
    if isinstance(error, StartFailed) and error.code in (126, 127):
        return {**_exited(error.code), "message": str(error)}
    cause = f"error executing command in container: {error}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {cause}",
        "reason": "InternalError",
        "details": {"causes": [{"message": cause}]},
        "code": 500,
    }
