"""Bytes become an HTTP answer: headers, warnings, and gzip for what is large."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiohttp import web
from isal import igzip
from multidict import CIMultiDict

from shim.api.status import ApiError
from shim.server import errors
from shim.server.negotiation import JSON

GZIP_FROM = 128 * 1024  # upstream's threshold
GZIP_LEVEL = 1
IN_THREAD_FROM = 1024 * 1024  # a megabyte takes 3 ms, which other requests should not wait for
WARNINGS_LIMIT = 4 * 1024  # characters of all warnings of one answer, as upstream
WARNING_CUT = 256
_CACHE_CONTROL = "no-cache, private"
_JSON_HEADERS = CIMultiDict({"Cache-Control": _CACHE_CONTROL, "Content-Type": JSON})


def respond(body: bytes, status: int = 200, media: str = JSON, warnings: Iterable[str] = ()) -> web.Response:
    """An answer of the API."""
    headers = _JSON_HEADERS.copy()
    if media is not JSON:
        headers["Content-Type"] = media
    if warnings:
        for text in _limited(warnings):
            headers.add("Warning", f'299 - "{_escape(text)}"')
    return web.Response(body=body, status=status, headers=headers)


async def respond_large(request: web.BaseRequest, body: bytes, media: str = JSON) -> web.Response:
    """An answer that may be long: compressed when the client takes gzip."""
    response = respond(body, 200, media)
    if len(body) >= GZIP_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
        if len(body) >= IN_THREAD_FROM:
            response.body = await asyncio.to_thread(igzip.compress, body, GZIP_LEVEL)
        else:
            response.body = igzip.compress(body, GZIP_LEVEL)
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
    return response


def refuse(error: ApiError) -> web.Response:
    """The answer to a refused request: always JSON, which every client reads."""
    response = respond(errors.status_bytes(error), error.code, warnings=error.warnings)
    if error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def plain(text: str, status: int = 200) -> web.Response:
    return web.Response(
        body=text.encode(),
        status=status,
        headers={"Content-Type": "text/plain; charset=utf-8", "Cache-Control": _CACHE_CONTROL},
    )


def _limited(warnings: Iterable[str]) -> list[str]:
    """Each warning once, and not more than clients take in their headers: where all are too long, each is cut."""
    found = list(dict.fromkeys(warnings))
    if sum(map(len, found)) <= WARNINGS_LIMIT:
        return found
    written = 0
    cut: list[str] = []
    for text in found:
        if written >= WARNINGS_LIMIT:
            break
        cut.append(text[:WARNING_CUT])
        written += len(cut[-1])
    return cut


def _escape(text: str) -> str:
    """A quoted string of HTTP: no control characters, backslash before backslash and quote."""
    printable = "".join(char if char >= " " else " " for char in text)
    return printable.replace("\\", "\\\\").replace('"', '\\"')
