"""How exec and attach carry their streams: one interface, over WebSocket or SPDY.

WebSocket: the first byte of a message is its channel; v5 adds closing a channel, which is how standard input ends.
With base64 in the protocol's name, messages are text: the channel's digit, then the bytes in base64.
SPDY: one stream each, told apart by the ``streamtype`` header.
Since v4 the error channel carries a Status, before that the message of a failure and nothing of a success.
See https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import WSMsgType, web

from nodeagent.server.spdy import Session, SpdyError, Stream
from shim.api.meta import Object
from shim.codec.upgrade import RawConnection, switch

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
WEBSOCKET_PROTOCOLS = (
    *("v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"),
    *("channel.k8s.io", "base64.channel.k8s.io"),  # also spoken when the client names none
)
SPDY_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
STREAMS_TIMEOUT = 30.0  # seconds a SPDY client has to open the streams it asked for, as upstream

SUCCESS: Object = {"metadata": {}, "status": "Success"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which streams the client asked for."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


@dataclass(frozen=True, slots=True)
class Typed:
    """Bytes of standard input; None when it ends."""

    data: bytes | None


@dataclass(frozen=True, slots=True)
class Resized:
    columns: int
    rows: int


class Channels(Protocol):
    """The client's end of a running command."""

    def events(self) -> AsyncIterator[Typed | Resized]:
        """What the client sends; ends when the client goes."""

    async def out(self, channel: int, data: bytes) -> None:
        """Send output on STDOUT or STDERR."""

    async def finish(self, status: Object) -> None:
        """Send the final Status and close."""


def told_at_the_end(protocol: str, status: Object) -> bytes:
    """What goes over the error channel, b"" for nothing."""
    if protocol.startswith(("v4.", "v5.")):
        return json.dumps(status).encode()
    return b"" if status["status"] == "Success" else str(status["message"]).encode()


class Messages:
    """Channels in the messages of one WebSocket, which is open."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.protocol = socket.ws_protocol or ""
        self._base64 = "base64" in self.protocol

    async def received(self) -> AsyncIterator[tuple[int, bytes]]:
        """Each message's channel and bytes; ends when the client goes."""
        async for message in self.socket:
            if message.type is not WSMsgType.BINARY and message.type is not WSMsgType.TEXT:
                break
            data = message.data if isinstance(message.data, bytes) else message.data.encode()
            if data:
                yield self._unpacked(data)

    def _unpacked(self, data: bytes) -> tuple[int, bytes]:
        if not self._base64:
            return data[0], data[1:]
        try:
            return data[0] - ord("0"), base64.b64decode(data[1:])
        except binascii.Error:
            return -1, b""  # no channel of ours: such a message is left out

    async def send(self, channel: int, data: bytes) -> None:
        if self._base64:
            await self.socket.send_str(chr(ord("0") + channel) + base64.b64encode(data).decode())
        else:
            await self.socket.send_bytes(bytes([channel]) + data)


class WebSocketChannels:
    """A command's channels in the messages of a WebSocket."""

    def __init__(self, messages: Messages, wanted: Wanted) -> None:
        self._messages, self._wanted = messages, wanted
        self.socket, self.out = messages.socket, messages.send

    async def events(self) -> AsyncIterator[Typed | Resized]:
        async for channel, payload in self._messages.received():
            if channel == STDIN and self._wanted.stdin:
                yield Typed(payload)
            elif channel == CLOSE and payload[:1] == bytes([STDIN]):
                yield Typed(None)
            elif channel == RESIZE and (size := parse_size(payload)):
                yield size

    async def finish(self, status: Object) -> None:
        if told := told_at_the_end(self._messages.protocol, status):
            await self.out(ERROR, told)
        await self.socket.close()


class SpdyChannels:
    """Channels as SPDY streams over a raw connection."""

    def __init__(self, connection: RawConnection, wanted: Wanted, protocol: str) -> None:
        self._connection, self._wanted, self._protocol = connection, wanted, protocol
        self._streams: dict[str, Stream] = {}
        self._complete = asyncio.Event()
        self.closed = asyncio.Event()
        self.session = Session(connection.write, connection.drain, self._accept)

    def _expected(self) -> set[str]:
        wanted = self._wanted
        names = {"error": True, "stdin": wanted.stdin, "stdout": wanted.stdout, "stderr": wanted.stderr}
        return {name for name, asked in names.items() if asked} | ({"resize"} if wanted.tty else set())

    def _accept(self, stream: Stream) -> None:
        self._streams[stream.headers.get("streamtype", "")] = stream
        if self._expected() <= set(self._streams):
            self._complete.set()

    async def opened(self) -> None:
        """Return when the client has opened every stream it asked for. Raises TimeoutError."""
        await asyncio.wait_for(self._complete.wait(), STREAMS_TIMEOUT)

    async def events(self) -> AsyncIterator[Typed | Resized]:
        queue: asyncio.Queue[Typed | Resized | None] = asyncio.Queue(16)

        async def typed(stream: Stream) -> None:
            while data := await stream.reader.read(1 << 16):
                await queue.put(Typed(data))
            await queue.put(Typed(None))

        async def resized(stream: Stream) -> None:
            decoder, text = json.JSONDecoder(), ""
            while data := await stream.reader.read(1 << 12):
                text = (text + data.decode(errors="replace")).lstrip()
                while text:
                    try:
                        _, end = decoder.raw_decode(text)
                    except ValueError:
                        break
                    if size := parse_size(text[:end].encode()):
                        await queue.put(size)
                    text = text[end:].lstrip()

        readers: dict[str, Callable[[Stream], Awaitable[None]]] = {"stdin": typed, "resize": resized}
        tasks = [asyncio.ensure_future(read(self._streams[n])) for n, read in readers.items() if n in self._streams]
        tasks.append(asyncio.ensure_future(self._end(queue)))
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            for task in tasks:
                task.cancel()

    async def _end(self, queue: asyncio.Queue[Typed | Resized | None]) -> None:
        await self.closed.wait()
        await queue.put(None)

    async def out(self, channel: int, data: bytes) -> None:
        stream = self._streams.get("stdout" if channel == STDOUT else "stderr")
        if stream is not None:
            await stream.write(data)

    async def finish(self, status: Object) -> None:
        if told := told_at_the_end(self._protocol, status):
            await self._streams["error"].write(told)
        for stream in self._streams.values():
            await stream.close()

    async def run(self) -> None:
        """Feed the session with what arrives, until the connection ends."""
        try:
            while data := await self._connection.read():
                self.session.feed(data)
        except SpdyError:
            self._connection.close()
        finally:
            self.session.end()
            self.closed.set()


def parse_size(payload: bytes) -> Resized | None:
    """``{"Width":80,"Height":24}``; anything else is ignored, as upstream does."""
    try:
        size = json.loads(payload)
        return Resized(int(size["Width"]), int(size["Height"]))
    except (ValueError, KeyError, TypeError):
        return None


async def open_websocket(request: web.Request, wanted: Wanted) -> WebSocketChannels:
    """Accept the WebSocket; an empty message tells the client that the command is running.

    Of what the client offers its first is chosen, but v5 wherever it stands.
    """
    best = WEBSOCKET_PROTOCOLS[0]
    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    protocols = (best,) if best in (each.strip() for each in offered) else WEBSOCKET_PROTOCOLS
    socket = web.WebSocketResponse(protocols=protocols, max_msg_size=0, heartbeat=30)
    await socket.prepare(request)
    channels = WebSocketChannels(Messages(socket), wanted)
    if wanted.stdout or wanted.stderr:
        await channels.out(STDOUT if wanted.stdout else STDERR, b"")
    return channels


def open_spdy(request: web.Request, wanted: Wanted) -> tuple[RawConnection, SpdyChannels]:
    """Switch to SPDY. Raises ValueError when no protocol is common."""
    offered = [name for value in request.headers.getall("X-Stream-Protocol-Version", []) for name in value.split(",")]
    chosen = next((name for name in SPDY_PROTOCOLS if name in (each.strip() for each in offered)), None)
    if chosen is None:
        raise ValueError(f"unable to upgrade: unable to negotiate protocol: client supports {offered}")
    headers = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": chosen}
    connection = switch(request, headers)
    return connection, SpdyChannels(connection, wanted, chosen)
