"""Bytes become an HTTP answer: headers, warnings, and gzip for what is large."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterable
from email.utils import formatdate
from functools import lru_cache
from time import time

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from isal import igzip, isal_zlib
from multidict import CIMultiDict

from shim.api.schema import Schema
from shim.api.status import ApiError
from shim.codec.media import encode
from shim.server import errors
from shim.server.connection import ApiRequest
from shim.server.negotiation import JSON, form_of_status

GZIP_FROM = 128 * 1024  # upstream's threshold
GZIP_LEVEL = 1
IN_THREAD_FROM = 1024 * 1024  # a megabyte takes 3 ms, which other requests should not wait for
WARNINGS_LIMIT = 4 * 1024  # characters of all warnings of one answer, as upstream
WARNING_CUT = 256
WHOLE = 16 << 20  # bytes of an answer that is sent at once, with its length: joined and encrypted in some 20 ms
PRETTY_UP_TO = 2 << 20  # bytes of a body that is indented for those who like that: some 20 ms
COPIED_UP_TO = 64 << 10  # bytes of a body that is joined to its headers, to be sent at once
BLOCK = 1 << 20  # bytes that are sent together of one that is longer
_GZIP_FORMAT = 31  # zlib's way to say: with a gzip header, and a window as large as can be
_GZIPPED = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
_CACHE_CONTROL = "no-cache, private"
_JSON_HEADERS = CIMultiDict({"Cache-Control": _CACHE_CONTROL, "Content-Type": JSON})


class Whole(web.Response):
    """An answer whose bytes are all there, sent in one go.

    aiohttp looks for cookies, compression, streams and old clients before it sends an answer, and writes its headers
    anew each time; where none of these can be, half of that time is saved. It has its way with answers that have no
    body to send, that end their connection, or whose beginning somebody waits for (the audit log).
    """

    _writer: AbstractStreamWriter | None = None
    _classified = b""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        keeps = request.keep_alive and super().keep_alive is not False
        if request.method == "HEAD" or not keeps or len(request) or request.version != HttpVersion11:
            return await super().prepare(request)
        if isinstance(request, ApiRequest) and request.classified is not None:
            self._classified = request.classified.lines
        self._writer = request.writer
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        if self._writer is None:
            await super().write_eof(data)
            return
        body = self.body
        assert isinstance(body, bytes)
        head = _head(self.status, self.reason, tuple(self.headers.items()), int(time()))
        head = b"%b%bContent-Length: %d\r\n\r\n" % (head, self._classified, len(body))
        if len(body) < COPIED_UP_TO:
            await self._writer.write(head + body)  # one system call and one record of TLS
        else:
            await self._writer.write(head)
            await self._writer.write_eof(body)

    @property
    def prepared(self) -> bool:
        return self._writer is not None or super().prepared

    @property
    def keep_alive(self) -> bool | None:
        return True if self._writer is not None else super().keep_alive


@lru_cache(maxsize=64)
def _head(status: int, reason: str, headers: tuple[tuple[str, str], ...], seconds: int) -> bytes:
    """All but the last of the headers; the same for most answers of a second. Raises ValueError."""
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    if any(_LINE_END.search(line, 0, len(line) - 2) for line in lines):
        raise ValueError("a header may not go on in a further line")
    date = formatdate(seconds, usegmt=True)
    return f"HTTP/1.1 {status} {reason}\r\n{''.join(lines)}Date: {date}\r\n".encode()


def respond(body: bytes, status: int = 200, media: str = JSON, warnings: Iterable[str] = ()) -> web.Response:
    """An answer of the API; JSON ends with a newline, as Go writes it, but none is copied for that which is long."""
    if media == JSON:
        if len(body) < GZIP_FROM and not body.endswith(b"\n"):
            body += b"\n"
        response = Whole(body=body, status=status, headers=_JSON_HEADERS)
    else:
        response = Whole(body=body, status=status, headers={"Cache-Control": _CACHE_CONTROL, "Content-Type": media})
    if warnings:
        for text in _limited(warnings):
            response.headers.add("Warning", warning(text))
    return response


def warning(text: str) -> str:
    """The value of a Warning header (RFC 7234; 299 is "miscellaneous, persistent")."""
    return f'299 - "{_escape(text)}"'


async def compress(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Make an answer shorter that is all there and long, when the client takes gzip."""
    body = response.body if isinstance(response, Whole) else None
    if not isinstance(response, Whole) or not isinstance(body, bytes) or len(body) < GZIP_FROM:
        return
    if "Content-Encoding" not in response.headers and _takes_gzip(request):
        if len(body) >= IN_THREAD_FROM:
            response.body = await asyncio.to_thread(igzip.compress, body, GZIP_LEVEL)
        else:
            response.body = igzip.compress(body, GZIP_LEVEL)
        response.headers.update(_GZIPPED)


async def respond_large(request: web.BaseRequest, body: bytes, media: str = JSON) -> web.Response:
    """A document that may be long."""
    response = respond(body, 200, media)
    await compress(request, response)
    return response


async def respond_tagged(request: web.BaseRequest, body: bytes, media: str = JSON) -> web.Response:
    """A document that seldom changes: with a tag, and left out when the client has it already (304)."""
    tag = tag_of(body)
    if tag in (each.strip() for each in request.headers.get("If-None-Match", "").split(",")):
        return web.Response(status=304, headers={"ETag": tag, "Vary": "Accept"})
    response = await respond_large(request, body, media)
    response.headers["ETag"] = tag
    response.headers["Vary"] = ", ".join(["Accept", *response.headers.getall("Vary", ())])
    return response


@lru_cache(maxsize=64)
def tag_of(body: bytes) -> str:
    return f'"{hashlib.sha512(body).hexdigest().upper()}"'


async def respond_pieces(
    request: web.BaseRequest, pieces: AsyncIterator[bytes], media: str = JSON, warnings: Iterable[str] = ()
) -> web.StreamResponse:
    """An answer that is made piece by piece: sent whole when it is short, and as it is made when it is long."""
    held: list[bytes] = []
    size = 0
    async for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size > WHOLE:
            return await _stream(request, held, pieces, media, warnings)
    return respond(b"".join(held), 200, media, warnings)


async def _stream(
    request: web.BaseRequest, begun: list[bytes], rest: AsyncIterator[bytes], media: str, warnings: Iterable[str]
) -> web.StreamResponse:
    """Send what is made already and what is yet to be made; waits whenever the client does not read."""
    response = web.StreamResponse(headers={"Content-Type": media, "Cache-Control": _CACHE_CONTROL})
    for text in _limited(warnings):
        response.headers.add("Warning", warning(text))
    response.enable_chunked_encoding()
    squeeze = None
    if _takes_gzip(request):
        squeeze = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_FORMAT)
        response.headers.update(_GZIPPED)
    await response.prepare(request)
    block: list[bytes] = []
    size = 0

    async def add(piece: bytes) -> None:
        nonlocal size
        block.append(piece)
        size += len(piece)
        if size >= BLOCK:
            await send()

    async def send() -> None:
        nonlocal size
        data = b"".join(block)
        block.clear()
        size = 0
        if squeeze is not None:
            data = await asyncio.to_thread(squeeze.compress, data)
        if data:
            await response.write(data)
            await asyncio.sleep(0)  # a socket that takes everything at once would let nobody else run

    for piece in begun:
        await add(piece)
    async for piece in rest:
        await add(piece)
    await send()
    await response.write_eof(squeeze.flush() if squeeze is not None else b"")
    return response


def _takes_gzip(request: web.BaseRequest) -> bool:
    """Upstream looks for the bare word, whatever weight others carry."""
    return any(each.strip() == "gzip" for each in request.headers.get("Accept-Encoding", "").split(","))


def refuse(error: ApiError, accept: str, schema: Schema) -> web.Response:
    """The answer to a refused request, in a form the client takes."""
    body, form = errors.status_bytes(error), form_of_status(accept) if accept else JSON
    if form != JSON:
        body = encode(form, body, schema)
    response = respond(body, error.code, form, warnings=error.warnings)
    if error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def plain(text: str, status: int = 200, retry_after: int = 0) -> web.Response:
    headers = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": _CACHE_CONTROL}
    if status >= 400:
        headers["X-Content-Type-Options"] = "nosniff"  # as Go's own error pages
    if retry_after:
        headers["Retry-After"] = str(retry_after)
    return web.Response(body=text.encode(), status=status, headers=headers)


def prettify(response: web.StreamResponse) -> None:
    """Indent a JSON body, for people to read; as Go writes it, such a one ends without a newline."""
    body = response.body if isinstance(response, web.Response) else None
    if not isinstance(response, web.Response) or not isinstance(body, bytes) or response.content_type != JSON:
        return
    if len(body) < PRETTY_UP_TO and "Content-Encoding" not in response.headers:
        response.body = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)


def _limited(warnings: Iterable[str]) -> list[str]:
    """Each warning once, and not more than clients take in their headers: where all are too long, each is cut.

    What no header can hold is left out, as upstream does.
    """
    found = [text for text in dict.fromkeys(warnings) if text and not _CONTROL.search(text)]
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


_LINE_END = re.compile(r"[\r\n]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _escape(text: str) -> str:
    """A quoted string of HTTP: no control characters, backslash before backslash and quote."""
    return _CONTROL.sub(" ", text).replace("\\", "\\\\").replace('"', '\\"')
