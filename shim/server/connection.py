"""What is kept per connection: its user, and the watches to end when the client goes away.

aiohttp's own server makes a protocol object per connection; this is that object with three more fields. Without
this, an idle watch of a client that is gone would live until the next event or its time limit, and a client that
sends its headers byte by byte would keep its connection for as long as it likes. (Bodies are read within the time
limit of their requests.)
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestHandler

from shim.server.users import User

HEADERS_WITHIN = 32.0  # seconds from the first byte of a request, and from the start of a connection; upstream's
IDLE = 90.0  # seconds until a connection without a request is closed, as upstream
MAX_HEAD = (1 << 20) + 4096  # bytes of the address and all headers together, as Go's
MAX_LINE = 1 << 21  # exec commands and selectors travel in the address; MAX_HEAD is reached before
MAX_HEADERS = 10_000  # who impersonates names each group in one of its own
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Connection: close\r\n\r\n431 Request Header Fields Too Large"
)

STARTED: web.RequestKey[Callable[[web.StreamResponse], None]] = web.RequestKey("started")
"""Of a request: what to call when its answer begins."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(RequestHandler):
    """One client connection."""

    __slots__ = ("_body", "_deadline", "_head", "certified_until", "is_proxy", "on_lost", "user")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user: User | None = None
        self.is_proxy = False
        self.certified_until = math.inf
        self.on_lost: set[Callable[[], None]] = set()
        self._deadline: asyncio.TimerHandle | None = None
        self._head = 0  # bytes of headers that have not come to their end
        self._body: StreamReader | None = None  # of the last request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._head = 0
            if self._messages:
                self._body = self._messages[-1][1]
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            return
        if self._body is not None and not self._body.is_eof():
            return  # a body's next bytes, which somebody may not even want
        if self._deadline is None and self._current_request is None and not self._messages:
            self._wait_for_headers()  # the beginning of a request
        if self._deadline is not None:
            self._head += len(data)
            if self._head > MAX_HEAD and self.transport is not None:
                self.transport.write(_TOO_LARGE)
                self.force_close()

    def _wait_for_headers(self) -> None:
        self._deadline = self._loop.call_later(HEADERS_WITHIN, self._give_up)

    def _give_up(self) -> None:
        if self.transport is not None and not self._upgraded:
            self.transport.abort()  # without a word, as upstream: nothing was asked yet

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self._deadline is not None:
            self._deadline.cancel()
        callbacks, self.on_lost = self.on_lost, set()
        for callback in callbacks:
            callback()


class Classified:
    """Headers by which an answer says how flow control has classified its request; ``lines``: as they are sent."""

    def __init__(self, **uids: str) -> None:
        self.headers = {f"X-Kubernetes-Pf-{name.capitalize()}-Uid": uid for name, uid in uids.items()}
        self.lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items()).encode()


class ApiRequest(web.BaseRequest):
    """A request whose answer says how it was classified."""

    classified: Classified | None = None

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        if self.classified is not None:
            response.headers.update(self.classified.headers)


class AuditedRequest(ApiRequest):
    """A request whose answer's first byte is told to the audit log, where that wants to know."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        await super()._prepare_hook(response)
        if started := self.get(STARTED):
            started(response)


class HttpServer(web.Server):
    """aiohttp's low-level server: one handler for every request, no router and no middleware in between."""

    def __init__(self, handler: Handler, max_body: int, *, audited: bool = False) -> None:
        super().__init__(
            handler,
            request_factory=self._request,
            access_log=None,
            keepalive_timeout=IDLE,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=MAX_HEADERS,
        )
        self._max_body = max_body
        self._kind: type[ApiRequest] = AuditedRequest if audited else ApiRequest

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        return self._kind(message, payload, protocol, writer, task, self._loop, client_max_size=self._max_body)
