"""SPDY/3.1 as Kubernetes still speaks it: many streams in one connection, each with headers.

kubectl port-forward carries it inside a WebSocket, older clients carry exec and attach in it. Only what these use is
here: SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY and data. Flow control is left to TCP, as in moby/spdystream,
which is the other end everywhere. The rules: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Awaitable, Callable

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FLAG_FIN = 0x01
VERSION = 3
MAX_FRAME = 0xFFFFFF
CANCEL, PROTOCOL_ERROR = 5, 1


def _dictionary() -> bytes:
    """The text both ends' compressors begin with (section 2.6.10.1)."""
    names = (  # one word each, as a list they would fill a page
        "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age "
        "allow authorization cache-control connection content-base content-encoding content-language content-length "
        "content-location content-md5 content-range content-type date etag expect expires from host if-match "
        "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
        "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
        "user-agent vary via warning www-authenticate method get status"
    ).split()
    words = [*names, "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"]
    tail = (
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
        "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
        "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
        "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
        "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
    )
    return b"".join(struct.pack(">I", len(word)) + word.encode() for word in words) + tail.encode()


DICTIONARY = _dictionary()


class SpdyError(Exception):
    """The other end does not keep to the protocol; the connection is of no more use."""


class Stream:
    """One stream the other end opened: its headers, what it sends, and a way to answer."""

    def __init__(self, session: Session, number: int, headers: dict[str, str]) -> None:
        self.number, self.headers = number, headers
        self.reader = asyncio.StreamReader()
        self.wrote_fin = False
        self._session = session

    async def write(self, data: bytes) -> None:
        """Send data; waits while the other end is slow."""
        if not self.wrote_fin:
            await self._session.send_data(self.number, data)

    async def close(self) -> None:
        """Say that no more data will be sent."""
        if not self.wrote_fin:
            self.wrote_fin = True
            await self._session.send_data(self.number, b"", FLAG_FIN)

    def reset(self) -> None:
        """End the stream in both directions at once."""
        self._session.send_reset(self.number)


class Session:
    """The server's end of a connection. Bytes come in by :meth:`feed`; ``send`` and ``drain`` carry them out."""

    def __init__(
        self,
        send: Callable[[bytes], object],
        drain: Callable[[], Awaitable[None]],
        accept: Callable[[Stream], None],
    ) -> None:
        self._send, self._drain, self._accept = send, drain, accept
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self.streams: dict[int, Stream] = {}

    def feed(self, data: bytes) -> None:
        """Take in what arrived; ``accept`` is called for each new stream. Raises SpdyError."""
        self._buffer += data
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            length = second & MAX_FRAME
            if len(self._buffer) < 8 + length:
                return
            payload = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            if first & 0x80000000:
                self._control(first >> 16 & 0x7FFF, first & 0xFFFF, second >> 24, payload)
            else:
                self._data(first, second >> 24, payload)

    def end(self) -> None:
        """The connection is gone: every stream ends."""
        for stream in self.streams.values():
            stream.reader.feed_eof()
        self.streams.clear()

    async def send_data(self, number: int, data: bytes, flags: int = 0) -> None:
        """Send data in frames, the last with the flags; waits for the transport."""
        for start in range(0, max(len(data), 1), 1 << 16):
            piece = data[start : start + (1 << 16)]
            last = start + len(piece) >= len(data)
            self._send(struct.pack(">II", number, (flags if last else 0) << 24 | len(piece)) + piece)
        await self._drain()

    def send_reset(self, number: int, status: int = CANCEL) -> None:
        self._send_control(RST_STREAM, 0, struct.pack(">II", number, status))
        stream = self.streams.pop(number, None)
        if stream is not None:
            stream.reader.feed_eof()

    # -- frames

    def _control(self, version: int, kind: int, flags: int, payload: bytes) -> None:
        if version != VERSION:
            raise SpdyError(f"SPDY version {version}, not {VERSION}")
        if kind == SYN_STREAM:
            self._syn_stream(flags, payload)
        elif kind == RST_STREAM:
            stream = self.streams.pop(struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF, None)
            if stream is not None:
                stream.reader.feed_eof()
        elif kind == PING:
            self._send_control(PING, 0, payload)
        elif kind == GOAWAY:
            self.end()
        elif kind == HEADERS:
            self._headers(payload[4:])  # the compressor's state moves on with every header block
        elif kind not in (SETTINGS, WINDOW_UPDATE, SYN_REPLY):
            raise SpdyError(f"control frame of unknown type {kind}")

    def _syn_stream(self, flags: int, payload: bytes) -> None:
        if len(payload) < 10:
            raise SpdyError("SYN_STREAM too short")
        number = struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF
        headers = self._headers(payload[10:])
        stream = Stream(self, number, headers)
        self.streams[number] = stream
        if flags & FLAG_FIN:
            stream.reader.feed_eof()
        block = self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self._send_control(SYN_REPLY, 0, struct.pack(">I", number) + block)
        self._accept(stream)

    def _data(self, number: int, flags: int, payload: bytes) -> None:
        stream = self.streams.get(number)
        if stream is None:  # it was reset while these were on their way
            return
        if payload and not stream.reader.at_eof():
            stream.reader.feed_data(payload)
        if flags & FLAG_FIN:
            stream.reader.feed_eof()

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            raw = self._inflate.decompress(block, 1 << 20)
            (count,) = struct.unpack_from(">I", raw)
            position, headers = 4, {}
            for _ in range(count):
                texts = []
                for _ in range(2):
                    (length,) = struct.unpack_from(">I", raw, position)
                    texts.append(raw[position + 4 : position + 4 + length].decode("latin-1"))
                    position += 4 + length
                headers[texts[0].lower()] = texts[1]
        except (zlib.error, struct.error) as error:
            raise SpdyError(f"headers cannot be read: {error}") from error
        return headers

    def _send_control(self, kind: int, flags: int, payload: bytes) -> None:
        first = 0x80000000 | VERSION << 16 | kind
        self._send(struct.pack(">II", first, flags << 24 | len(payload)) + payload)
