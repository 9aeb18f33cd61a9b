"""Clients that send as slowly as they can, to keep connections for themselves."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from shim.server import connection
from shim.server.tests.conftest import serving, tls


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hasty(tmp_path_factory):
    """A server that waits for nobody."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "HEADERS_WITHIN", 0.5)
        async with serving(tmp_path_factory.mktemp("hasty"), request_timeout=0.5) as api:
            yield api


async def _connect(api):
    host, _, port = api.url.removeprefix("https://").partition(":")
    return await asyncio.open_connection(host, int(port), ssl=tls(api.directory / "admin.kubeconfig"))


async def _dribble(writer):
    """A header that never ends."""
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.05)


async def _ended(reader):
    try:
        return await asyncio.wait_for(reader.read(), 60)
    except ConnectionError:
        return b""


@pytest.mark.parametrize("begun", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_headers_that_do_not_end_end_the_connection(hasty, begun):
    reader, writer = await _connect(hasty)
    writer.write(begun)
    dribbling = asyncio.create_task(_dribble(writer)) if begun else None
    assert await _ended(reader) == b""
    if dribbling is not None:
        dribbling.cancel()
        await asyncio.gather(dribbling, return_exceptions=True)
    writer.close()


async def test_a_later_request_has_no_more_time_than_the_first(hasty):
    reader, writer = await _connect(hasty)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(2) == b"ok"
    writer.write(b"GET /livez HTTP/1.1\r\n")
    assert await _ended(reader) == b""
    writer.close()


async def test_a_body_that_does_not_come_is_answered_in_time(hasty):
    reader, writer = await _connect(hasty)
    writer.write(b"POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    assert b" 504 " in head.splitlines()[0]
    refusal = json.loads(await reader.readuntil(b"}}") if b"chunked" in head else await reader.read(4000))
    assert (refusal["kind"], refusal["reason"]) == ("Status", "Timeout")
    writer.close()


async def test_a_watch_may_be_silent_for_longer(hasty):
    reader, writer = await _connect(hasty)
    writer.write(b"GET /api/v1/namespaces?watch=1&timeoutSeconds=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await _ended(reader)
    assert b"200 OK" in answer
    assert answer.endswith(b"0\r\n\r\n")  # it ended as it should
    writer.close()
