"""port-forward: connections made inside a pod's network namespace, carried as pairs of SPDY streams.

A client opens, for each connection, an error stream and a data stream with the same ``requestid`` and ``port``.
Since kubectl 1.31 the SPDY bytes travel in the messages of a WebSocket. Clients without SPDY: see ``portchannels``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web

from nodeagent.kubelet import commands
from nodeagent.linux import namespaces
from nodeagent.server.spdy import Session, SpdyError, Stream
from shim.codec.upgrade import Upgraded, switch

log = logging.getLogger(__name__)

TUNNEL = "SPDY/3.1+portforward.k8s.io"
PROTOCOL = "portforward.k8s.io"
CHUNK = 1 << 15


class Forwarder:
    """All connections of one client to one pod."""

    def __init__(self, netns: str, send: Callable[[bytes], object], drain: Callable[[], Awaitable[None]]) -> None:
        self._netns = netns
        self._errors: dict[str, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.session = Session(send, drain, self._accept)

    def _accept(self, stream: Stream) -> None:
        headers = stream.headers
        request = headers.get("requestid", "")
        if headers.get("streamtype") == "error":
            self._errors[request] = stream
            return
        task = asyncio.ensure_future(self._forward(stream, self._errors.pop(request, None)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, data: Stream, errors: Stream | None) -> None:
        port = int(data.headers.get("port") or 0)
        try:
            reader, writer = await connect_in(self._netns, port)
        except OSError as error:
            if errors is not None:
                await errors.write(told(port, error))
                await errors.close()
            data.reset()
            return
        try:
            up = asyncio.ensure_future(_up(data, writer))
            while piece := await reader.read(CHUNK):
                await data.write(piece)
            await data.close()
            await up
        except ConnectionError:
            data.reset()
        finally:
            writer.close()
            if errors is not None:
                await errors.close()
            self.session.streams.pop(data.number, None)
            if errors is not None:
                self.session.streams.pop(errors.number, None)

    async def close(self) -> None:
        """End every connection."""
        self.session.end()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _up(data: Stream, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await data.reader.read(CHUNK):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()


def in_websocket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def serve(request: web.Request, netns: str) -> web.StreamResponse:
    """Carry connections until the client goes."""
    if in_websocket(request):
        return await _in_websocket(request, netns)
    headers = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": PROTOCOL}
    connection = switch(request, headers)
    forwarder = Forwarder(netns, connection.write, connection.drain)
    try:
        while data := await connection.read():
            forwarder.session.feed(data)
    except SpdyError as error:
        log.info("port-forward: %s", error)
    finally:
        await forwarder.close()
        connection.close()
    return Upgraded()


async def _in_websocket(request: web.Request, netns: str) -> web.StreamResponse:
    tunnel = web.WebSocketResponse(protocols=(TUNNEL,), max_msg_size=0)
    await tunnel.prepare(request)
    outgoing: asyncio.Queue[bytes] = asyncio.Queue()
    quiet = asyncio.Event()
    quiet.set()

    def send(data: bytes) -> None:
        quiet.clear()
        outgoing.put_nowait(data)

    async def pump() -> None:
        while True:
            pieces = [await outgoing.get()]
            while not outgoing.empty():
                pieces.append(outgoing.get_nowait())
            await tunnel.send_bytes(b"".join(pieces))
            if outgoing.empty():
                quiet.set()

    async def drain() -> None:
        await quiet.wait()

    forwarder = Forwarder(netns, send, drain)
    pumping = asyncio.ensure_future(pump())
    try:
        async for message in tunnel:
            if message.type is WSMsgType.BINARY:
                forwarder.session.feed(message.data)
    except SpdyError as error:
        log.info("port-forward: %s", error)
    finally:
        quiet.set()
        await forwarder.close()
        pumping.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await pumping
    return tunnel


def told(port: int, error: OSError) -> bytes:
    """What the error stream says, in the kernel's words: asyncio's own name its call and the address."""
    return f"failed to connect to localhost:{port} inside the pod: {commands.reason(error)}".encode()


async def connect_in(netns: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a port on localhost inside a network namespace. Raises OSError.

    A socket belongs for ever to the namespace it was made in: so a thread of its own enters the namespace, makes
    the socket and ends.
    """
    made = await asyncio.get_running_loop().run_in_executor(None, _socket_in, netns)
    try:
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    except BaseException:
        made.close()
        raise
    return await asyncio.open_connection(sock=made)


def _socket_in(netns: str) -> socket.socket:
    with namespaces.entered(netns, namespaces.NET):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    return made
