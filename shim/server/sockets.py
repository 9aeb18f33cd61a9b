"""An answer that goes on for a while, sent through a WebSocket: browsers read logs and watches so.

What HTTP would send as the pieces of a body are messages here. Whatever the client sends is read and forgotten, so
that its pings are answered and its leaving is noticed.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from aiohttp import web

from shim.server.errors import PlainError

BINARY, BASE64 = "binary.k8s.io", "base64.binary.k8s.io"
_BEARER = "base64url.bearer.authorization.k8s.io."
Bytes: TypeAlias = "bytes | bytearray | memoryview[int] | memoryview[bytes]"
LEAVE = 1.0  # seconds to wait for the client's goodbye


def asked(request: web.BaseRequest) -> bool:
    """Whether the client wants to go on in WebSocket frames."""
    headers = request.headers
    return headers.get("Upgrade", "").lower() == "websocket" and "upgrade" in headers.get("Connection", "").lower()


def offered(headers: Mapping[str, str]) -> list[str]:
    """The protocols a client offers to speak, without the one that is its token."""
    names = (name.strip() for name in headers.get("Sec-WebSocket-Protocol", "").split(","))
    return [name for name in names if name and not name.startswith(_BEARER)]


def token(headers: Mapping[str, str]) -> str:
    """The bearer token a browser, which can set no Authorization header, sends as a protocol; "" for none.

    Raises ValueError when it cannot be read, or when there is no protocol beside it to agree on.
    """
    names = [name.strip() for name in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    found = [name.removeprefix(_BEARER) for name in names if name.startswith(_BEARER)]
    if not any(found):
        return ""
    [encoded] = found
    if len(names) == 1 or not re.fullmatch("[A-Za-z0-9_-]+", encoded):
        raise ValueError("no protocol beside the token, or no token")
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()


class SocketResponse(web.WebSocketResponse):
    """Stands where a streamed response would: prepared, written to, ended."""

    def __init__(self, protocols: Iterable[str]) -> None:
        super().__init__(protocols=protocols, compress=False, timeout=LEAVE)
        self._listening: asyncio.Task[None] | None = None

    async def open(self, request: web.BaseRequest, gone: Callable[[], None]) -> None:
        """Shake hands; ``gone`` is called when the client leaves. Raises PlainError."""
        names = offered(request.headers)
        if names and not set(names) & set(self._protocols):
            allowed = " ".join(self._protocols)
            said = f"requested protocol(s) are not supported: [{' '.join(names)}]; supports [{allowed}]"
            raise PlainError(403, said)
        try:
            await super().prepare(request)
        except web.HTTPBadRequest as error:
            raise PlainError(400, error.text or "bad handshake") from None
        self._listening = asyncio.create_task(self._listen(gone), name="websocket")

    async def _listen(self, gone: Callable[[], None]) -> None:
        try:
            async for _ in self:
                pass
        finally:
            gone()

    async def write_eof(self) -> None:  # type: ignore[override]  # as aiohttp's own does
        """End it from this side."""
        await super().write_eof()
        if self._listening is not None:
            self._listening.cancel()


class LogSocket(SocketResponse):
    """Bytes as they are, or in base64 for clients that read only text. The first message is empty, as upstream's."""

    def __init__(self) -> None:
        super().__init__((BINARY, BASE64))

    async def open(self, request: web.BaseRequest, gone: Callable[[], None]) -> None:
        await super().open(request, gone)
        await self.write(b"")

    async def write(self, data: Bytes) -> None:
        if self.ws_protocol == BASE64:
            await self.send_str(base64.b64encode(data).decode())
        else:
            await self.send_bytes(bytes(data))


class EventSocket(SocketResponse):
    """Events of a watch, each a message of its own: of text when they are JSON, else without their length in front."""

    def __init__(self, request: web.BaseRequest, *, text: bool) -> None:
        super().__init__(offered(request.headers))  # a browser insists that one is taken
        self._text = text

    async def write(self, data: Bytes) -> None:
        """Send some whole events."""
        if self._text:
            for line in bytes(data).splitlines():
                await self.send_str(line.decode())
            return
        rest = bytes(data)
        while rest:
            end = 4 + int.from_bytes(rest[:4])
            await self.send_bytes(rest[4:end])
            rest = rest[end:]
