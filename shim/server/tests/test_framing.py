"""How answers end: whoever the client is, it can tell where an answer stops, and whether the connection goes on."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from shim.server.responses import COPIED_UP_TO, Whole


async def _answers(api, *requests: str) -> bytes:
    """What comes back for requests sent one after the other on one connection, until the server ends it."""
    context = ssl.create_default_context(cafile=str(api.directory / "pki" / "ca.crt"))
    host, port = api.url.removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    for request in requests:
        writer.write(request.encode())
    async with asyncio.timeout(30):
        answer = await reader.read(-1)
    writer.close()
    return answer


def _request(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> str:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: x", *headers, "", ""])


async def test_answers_on_one_connection_follow_each_other(api):
    last = _request("/version", "Connection: close")
    first, second = (await _answers(api, _request("/version"), last)).split(b"HTTP/1.1 200 OK\r\n")[1:]
    for answer in (first, second):
        head, _, body = answer.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
        assert body.startswith(b"{")
        assert body.endswith(b"\n}")
        assert head.count(b"Date: ") == 1
    assert b"Connection:" not in first
    assert b"Server:" not in first  # upstream does not say what it is made of
    assert b"Connection: close" in second


@pytest.mark.parametrize(
    ("request_text", "connection"),
    [
        (_request("/version", version="1.0"), b""),
        (_request("/version", "Connection: close"), b"Connection: close"),
        (_request("/version", "Connection: close", version="1.0"), b""),
    ],
)
async def test_old_clients_and_those_that_leave_see_the_end(api, request_text, connection):
    head, _, body = (await _answers(api, request_text)).partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0].endswith(b" 200 OK")
    assert f"Content-Length: {len(body)}".encode() in head
    assert connection in head


async def test_a_refusal_leaves_the_connection_usable(api):
    answer = await _answers(api, _request("/api/v1/pods"), _request("/version", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 1


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/namespaces/{ns}/configmaps", 405),
        ("/api/v1/namespaces/{ns}/configmaps/any", 405),
        ("/api/v1/componentstatuses", 405),
        ("/api/v1/nope", 404),
        ("/apis/nope/v1/x", 404),
        ("/nope", 404),
        ("/api", 405),
        ("/apis", 200),
        ("/api/v1", 405),
        ("/apis/apps", 200),
        ("/version", 405),
        ("/healthz", 200),
        ("/livez/ping", 200),
        ("/metrics", 200),
        ("/openapi/v2", 200),
        ("/openapi/v3", 200),
        ("/openid/v1/jwks", 405),
        ("/.well-known/openid-configuration", 405),
        ("/", 200),
        ("/debug/pprof/", 404),  # as with --profiling=false: Go's profiles are of no use here
    ],
)
async def test_heads_are_answered_where_upstream_does(api, path, code):
    answer = await api.ask("HEAD", path)
    assert answer.status == code
    assert answer.data == b""


@pytest.mark.parametrize("length", [COPIED_UP_TO - 200, COPIED_UP_TO + 200])
async def test_short_and_long_bodies_arrive_whole(api, length):
    path = f"/api/v1/namespaces/{api.namespace}/configmaps"
    created = await api.ask("POST", path, {"metadata": {"name": f"of-{length}"}, "data": {"k": "x" * length}})
    for _ in range(2):  # on a connection that is kept
        got = await api.ask("GET", f"{path}/of-{length}")
        assert got.data == created.data


async def test_no_header_begins_a_line_of_its_own():
    answer = Whole(body=b"{}", headers={"X-Words": "a\r\nSet-Cookie: b"})
    answer._writer = object()  # prepared
    with pytest.raises(ValueError, match="further line"):
        await answer.write_eof()
