"""A connection after HTTP has been left: the raw bytes that follow ``101 Switching Protocols``.

aiohttp leaves HTTP only for WebSockets. Kubernetes also switches to SPDY, and a proxy passes any protocol on as it is:
for both the transport is taken from aiohttp's protocol and given this one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

from aiohttp import web

BUFFER_LIMIT = 1 << 20  # bytes kept for a slow reader before the connection is no longer read


class Upgraded(web.StreamResponse):
    """What a handler returns once it has taken the connection: nothing more is written."""

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class RawConnection(asyncio.Protocol):
    """Bytes in and out, with both directions held back when the other side is slow."""

    def __init__(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        self._transport = transport
        self._former: Any = request.protocol
        self._received: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        transport.set_protocol(self)

    async def read(self) -> bytes:
        """What came next; empty at the end."""
        while not self._received:
            if self._ended:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        data = self._received.popleft()
        if self._size > BUFFER_LIMIT >= self._size - len(data) and not self._ended:
            self._transport.resume_reading()
        self._size -= len(data)
        return data

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait while too much is on its way."""
        await self._writable.wait()

    def close(self) -> None:
        self._transport.close()

    # -- called by the transport

    def data_received(self, data: bytes) -> None:
        self._received.append(data)
        self._size += len(data)
        self._arrived.set()
        if self._size > BUFFER_LIMIT:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._ended = True
        self._arrived.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._arrived.set()
        self._writable.set()
        self._former.connection_lost(exc)  # aiohttp's own task of this connection ends

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()


def switch(request: web.BaseRequest, headers: Mapping[str, str]) -> RawConnection:
    """Answer 101 with these headers and take the connection over. The handler then returns ``Upgraded()``."""
    connection = RawConnection(request)
    lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in headers.items())]
    connection.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    return connection
