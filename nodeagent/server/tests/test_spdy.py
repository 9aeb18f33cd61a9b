"""SPDY frames as the other end writes them: streams with headers, data, ends, and what is wrong."""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.server.portforward import Forwarder
from nodeagent.server.spdy import (
    DICTIONARY,
    FLAG_FIN,
    PING,
    RST_STREAM,
    SYN_REPLY,
    SYN_STREAM,
    Session,
    SpdyError,
    Stream,
)


class Client:
    """The other end: compresses headers with one compressor for the whole connection, as the protocol demands."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def open(self, number: int, **headers: str) -> bytes:
        pairs = [item for name, value in headers.items() for item in (name, value)]
        raw = struct.pack(">I", len(headers)) + b"".join(struct.pack(">I", len(text)) + text.encode() for text in pairs)
        block = self._deflate.compress(raw) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return control(SYN_STREAM, struct.pack(">IIH", number, 0, 0) + block)


def control(kind: int, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack(">II", 0x80030000 | kind, flags << 24 | len(payload)) + payload


def data(number: int, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack(">II", number, flags << 24 | len(payload)) + payload


def session() -> tuple[Session, list[Stream], list[bytes]]:
    streams: list[Stream] = []
    sent: list[bytes] = []

    async def drain() -> None:
        return None

    return Session(sent.append, drain, streams.append), streams, sent


def test_the_dictionary_is_the_one_everybody_has() -> None:
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


async def test_streams_open_carry_data_and_end() -> None:
    made, streams, sent = session()
    client = Client()
    made.feed(client.open(1, streamtype="error", port="80") + client.open(3, streamtype="data", port="80"))
    assert [stream.headers["streamtype"] for stream in streams] == ["error", "data"]
    assert struct.unpack(">I", sent[0][:4])[0] == 0x80030000 | SYN_REPLY
    made.feed(data(3, b"hello ") + data(3, b"world", FLAG_FIN))
    assert await streams[1].reader.read() == b"hello world"
    await streams[1].write(b"x" * 100_000)
    await streams[1].close()
    frames = b"".join(sent[2:])
    assert frames.startswith(struct.pack(">II", 3, 65536))
    assert frames.endswith(struct.pack(">II", 3, FLAG_FIN << 24))


async def test_a_reset_ends_a_stream_and_a_ping_is_answered() -> None:
    made, streams, sent = session()
    made.feed(Client().open(1, streamtype="data"))
    made.feed(control(RST_STREAM, struct.pack(">II", 1, 5)))
    assert await streams[0].reader.read() == b""
    made.feed(data(1, b"late"))  # on its way when the stream was reset: not an error
    made.feed(control(PING, b"\0\0\0\7"))
    assert sent[-1] == control(PING, b"\0\0\0\7")


@given(st.lists(st.integers(1, 40), max_size=20))
async def test_bytes_may_come_in_any_pieces(cuts: list[int]) -> None:
    made, streams, _ = session()
    client = Client()
    whole = (
        client.open(1, streamtype="data")
        + data(1, b"abc" * 20)
        + client.open(3, streamtype="x")
        + data(1, b"", FLAG_FIN)
    )
    for cut in cuts:
        made.feed(whole[:cut])
        whole = whole[cut:]
    made.feed(whole)
    assert await streams[0].reader.read() == b"abc" * 20
    assert len(streams) == 2


def test_what_is_no_spdy_is_refused() -> None:
    for wrong in (
        struct.pack(">II", 0x80020001, 0),
        control(99, b""),
        control(SYN_STREAM, struct.pack(">IIH", 1, 0, 0) + b"xx"),
    ):
        made, _, _ = session()
        with pytest.raises(SpdyError):
            made.feed(wrong)


async def test_a_port_where_nobody_listens_is_told_on_the_error_stream() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    sent: list[bytes] = []

    async def drain() -> None:
        return None

    forwarder = Forwarder("/proc/self/ns/net", sent.append, drain)
    client, headers = Client(), {"port": str(port), "requestid": "0"}
    opened = client.open(1, streamtype="error", **headers) + client.open(3, streamtype="data", **headers)
    forwarder.session.feed(opened)
    await asyncio.gather(*forwarder._tasks)
    text = f"failed to connect to localhost:{port} inside the pod: connection refused".encode()
    assert data(1, text) in b"".join(sent)
