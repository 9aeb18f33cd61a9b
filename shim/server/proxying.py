"""A request passed on to a server that is not ours, and its answer passed back: what any reverse proxy does.

What a client proved to us (tokens, impersonation) is never passed on. Both bodies are streamed, so that neither a
large upload nor an endless answer is held in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from isal import igzip, igzip_lib, isal_zlib
from multidict import CIMultiDict
from yarl import URL

from shim.api.status import ApiError, internal, service_unavailable
from shim.client.reach import why
from shim.server.backends import CHUNK, DIAL_TIMEOUT, Backend, dial_error, tunnel
from shim.server.connection import Connection
from shim.server.links import Links
from shim.server.parts import Call
from shim.server.paths import join

HOP_BY_HOP = frozenset(
    "connection expect proxy-connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding "
    "upgrade".split()
)
"""Headers between two neighbours, never passed on (RFC 9110, section 7.6.1)."""
_PROOF = ("impersonate-", "x-remote-")
_CORS = frozenset(f"access-control-allow-{name}" for name in ("credentials", "headers", "methods", "origin"))
_ONLY_THE_CLIENTS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
LARGEST_PAGE = 16 << 20  # bytes; what a pod answers must not take the memory of the server
SAFE = "/:@!$&'()*+,;=~"


def wants_upgrade(http: web.BaseRequest) -> bool:
    return "upgrade" in http.headers.get("Connection", "").lower() and "Upgrade" in http.headers


async def forward(call: Call, backend: Backend, path: str) -> web.StreamResponse:
    """Pass the request on to ``path`` at the backend. Raises ApiError (503) when it cannot be reached."""
    _, _, query = call.http.raw_path.partition("?")
    if wants_upgrade(call.http):
        target = quote(path or "/", safe=SAFE) + (f"?{query}" if query else "")
        return await tunnel(call.http, backend, target, sent_on(call.http, upgrade=True).items())
    if not path.endswith("/") and call.info.path.endswith("/"):
        path += "/"
    if not path and call.http.method in ("GET", "HEAD"):
        # relative links of the page work only below a path that ends with a slash
        location = quote(call.info.path, safe=SAFE) + "/" + (f"?{query}" if query else "")
        return web.Response(status=301, headers={"Location": location})
    prefix = call.info.path.removesuffix(path)
    links = Links(prefix, (backend.authority, call.http.host))
    headers = sent_on(call.http)
    headers["X-Forwarded-Uri"] = join(prefix, quote(path, safe=SAFE))
    target = quote(path or "/", safe=SAFE) + (f"?{query}" if query else "")
    async with session_to(backend, kept=False) as session:
        return await exchange(call.http, session, backend, target, headers, links)


def sent_on(http: web.BaseRequest, *, upgrade: bool = False) -> CIMultiDict[str]:
    """The client's headers, but for what is between it and us; and who it is, as proxies tell.

    What a client names in ``Connection`` goes no further, and neither do the names: the backend would take them for
    ours, and drop what we say of the client.
    """
    named = {name.strip().lower() for name in http.headers.get("Connection", "").split(",")}
    dropped = HOP_BY_HOP | named | {"authorization"}
    sent: CIMultiDict[str] = CIMultiDict()
    for name, value in http.headers.items():
        lowered = name.lower()
        if lowered not in dropped and not lowered.startswith(_PROOF):
            sent.add(name, value)
    if upgrade:
        sent["Connection"], sent["Upgrade"] = "Upgrade", http.headers["Upgrade"]
    sent["X-Forwarded-For"] = ", ".join([*sent.getall("X-Forwarded-For", []), http.remote or "unknown"])
    return sent


def session_to(backend: Backend, *, kept: bool) -> aiohttp.ClientSession:
    """What asks a backend on behalf of clients; ``kept``: its connections serve one request after the other."""
    connector = aiohttp.TCPConnector(ssl=backend.tls or False, limit=0, force_close=not kept)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=DIAL_TIMEOUT)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        auto_decompress=False,
        skip_auto_headers=_ONLY_THE_CLIENTS,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def exchange(
    http: web.BaseRequest,
    session: aiohttp.ClientSession,
    backend: Backend,
    target: str,
    headers: CIMultiDict[str],
    links: Links,
) -> web.StreamResponse:
    """Ask for ``target`` (path and query), and pass the answer back. Raises ApiError (503)."""

    async def passing() -> web.StreamResponse:
        url = f"{backend.scheme}://{backend.authority}{target}"
        try:
            response = await session.request(
                http.method,
                URL(url, encoded=True),
                headers=headers,
                data=http.content if http.can_read_body else None,
                allow_redirects=False,
                server_hostname=backend.name or None,
            )
        except (OSError, aiohttp.ClientError) as error:
            said = _why(error, backend, http.method, url)
            raise service_unavailable(f"error trying to reach service: {said}") from error
        async with response:
            return await _passed_back(http, response, links)

    return await _while_there(http, passing())


async def _while_there(http: web.BaseRequest, passing: Coroutine[Any, Any, web.StreamResponse]) -> web.StreamResponse:
    """Wait for an answer for as long as the client does: a backend may take its time, even for ever."""
    connection = http.protocol
    assert isinstance(connection, Connection)
    task = asyncio.ensure_future(passing)

    def leave() -> None:
        task.cancel()

    connection.on_lost.add(leave)
    try:
        return await task
    except asyncio.CancelledError:
        if http.transport is None:
            raise ConnectionResetError("the client is gone") from None
        raise
    finally:
        connection.on_lost.discard(leave)


def _why(error: Exception, backend: Backend, method: str, url: str) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return why(error, backend.authority, backend.name or backend.host)
    cause = getattr(error, "os_error", error)
    return dial_error(backend, cause) if isinstance(cause, OSError) else f'{method} "{url}": {error}'


async def _passed_back(http: web.BaseRequest, response: aiohttp.ClientResponse, links: Links) -> web.StreamResponse:
    named = {name.strip().lower() for name in response.headers.get("Connection", "").split(",")}
    headers: CIMultiDict[str] = CIMultiDict({"Cache-Control": "no-cache, private"})
    for name, value in response.headers.items():
        lowered = name.lower()
        if lowered not in HOP_BY_HOP and lowered not in named and lowered not in _CORS:
            headers.add(name, value)
    if location := response.headers.get("Location"):
        try:
            headers["Location"] = links.rewrite(location)
        except ValueError as error:
            raise internal(f"error trying to parse Location header: {error}") from None
    elif http.method != "HEAD" and _is_page(response):
        return await _page(response, headers, links)
    answer = web.StreamResponse(status=response.status, reason=response.reason, headers=headers)
    await answer.prepare(http)
    try:
        async for piece in response.content.iter_chunked(CHUNK):
            await answer.write(piece)
    except aiohttp.ClientError:
        if http.transport is not None:
            http.transport.abort()  # it broke off: so must this answer, lest it look whole
    return answer


def _is_page(response: aiohttp.ClientResponse) -> bool:
    return response.content_type == "text/html" and response.headers.get("Content-Encoding", "") in ("", "gzip")


async def _page(response: aiohttp.ClientResponse, headers: CIMultiDict[str], links: Links) -> web.Response:
    """A page of HTML, whole, with its links rewritten. Raises ApiError (503) for one that is no page but a weapon."""
    packed = bool(response.headers.get("Content-Encoding"))
    body = bytearray()
    async for piece in response.content.iter_chunked(CHUNK):
        body += piece
        if len(body) > LARGEST_PAGE:
            raise _too_large()

    def rewrite() -> bytes:
        page = _unpacked(body) if packed else bytes(body)
        changed = links.rewrite_html(page.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        return igzip.compress(changed) if packed else changed

    headers.popall("Content-Length", None)
    return web.Response(body=await asyncio.to_thread(rewrite), status=response.status, headers=headers)


def _unpacked(body: bytes | bytearray) -> bytes:
    reader = isal_zlib.decompressobj(wbits=31)  # with the header of gzip
    try:
        page = reader.decompress(body, LARGEST_PAGE + 1)
    except igzip_lib.IsalError as error:  # type: ignore[misc]  # its stubs do not say that it is an exception
        raise service_unavailable(f"error trying to reach service: {error}") from None
    if len(page) > LARGEST_PAGE:
        raise _too_large()
    return page


def _too_large() -> ApiError:
    return service_unavailable(f"error trying to reach service: its page is larger than {LARGEST_PAGE} bytes")
