"""A request passed on to an extension server, and its answer back.

Authorised it is already, and the extension server asks again, if it likes, by SubjectAccessReview. What goes wrong
between the servers is answered in plain text, as upstream's aggregator does.
"""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from shim.api.status import ApiError
from shim.client.reach import NowhereToGo
from shim.server.aggregation.extension import Extension
from shim.server.aggregation.identity import headers_of
from shim.server.backends import tunnel
from shim.server.errors import PlainError
from shim.server.flowcontrol.gate import SEAT
from shim.server.links import Links
from shim.server.proxying import SAFE, exchange, sent_on, wants_upgrade
from shim.server.users import User


async def relay(http: web.BaseRequest, path: str, user: User, extension: Extension) -> web.StreamResponse:
    """Raises PlainError (503) when the server cannot be asked, ApiError when it refuses an upgrade with a Status."""
    if seat := http.get(SEAT):
        seat.leave()  # a watch is the other server's work from here on, and nothing here tells when it has begun
    if not extension.available:
        raise PlainError(503, "service unavailable\n")
    try:
        backend, session = extension.backend(), extension.session()
    except NowhereToGo:
        raise PlainError(503, "service unavailable\n") from None
    _, _, query = http.raw_path.partition("?")
    target = quote(path, safe=SAFE) + (f"?{query}" if query else "")
    upgrade = wants_upgrade(http)
    headers = sent_on(http, upgrade=upgrade)
    headers.extend(headers_of(user))
    try:
        if upgrade:
            return await tunnel(http, backend, target, headers.items())
        headers["X-Forwarded-Uri"] = path
        return await exchange(http, session, backend, target, headers, Links("", (backend.authority, http.host)))
    except ApiError as error:
        if isinstance(error.__cause__, OSError) or error.code == 503:
            raise PlainError(503, f"{error.message}\n") from None
        raise
