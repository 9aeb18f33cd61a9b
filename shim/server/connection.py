"""What is kept per connection: its user, and the watches to end when the client goes away.

aiohttp's own server makes a protocol object per connection; this is that object with two more fields. Without
this, an idle watch of a client that is gone would live until the next event or its time limit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from shim.server.users import User

MAX_LINE = 1 << 20  # as Go's: exec commands and selectors travel in the address

STARTED: web.RequestKey[Callable[[web.StreamResponse], None]] = web.RequestKey("started")
"""Of a request: what to call when its answer begins."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(RequestHandler):
    """One client connection."""

    __slots__ = ("is_proxy", "on_lost", "user")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user: User | None = None
        self.is_proxy = False
        self.on_lost: set[Callable[[], None]] = set()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        callbacks, self.on_lost = self.on_lost, set()
        for callback in callbacks:
            callback()


class AuditedRequest(web.BaseRequest):
    """A request whose answer's first byte is told to the audit log, where that wants to know."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        if started := self.get(STARTED):
            started(response)


class HttpServer(web.Server):
    """aiohttp's low-level server: one handler for every request, no router and no middleware in between."""

    def __init__(self, handler: Handler, max_body: int, *, audited: bool = False) -> None:
        super().__init__(
            handler,
            request_factory=self._request,
            access_log=None,
            keepalive_timeout=3630,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
        )
        self._max_body = max_body
        self._kind: type[web.BaseRequest] = AuditedRequest if audited else web.BaseRequest

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        return self._kind(message, payload, protocol, writer, task, self._loop, client_max_size=self._max_body)
