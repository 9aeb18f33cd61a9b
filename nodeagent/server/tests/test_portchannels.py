"""port-forward without SPDY, spoken by a real client: how ports, data, errors and the end are framed."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from nodeagent.server.portchannels import asked_ports, serve

HERE = "/proc/self/ns/net"


async def carry(request: web.Request) -> web.StreamResponse:
    return await serve(request, HERE, asked_ports(request.query.getall("port", [])))


@pytest.fixture
async def client():
    app = web.Application()
    app.router.add_get("/carry", carry)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
async def shouting():
    """A server that gives the first piece it gets back in capitals and ends; its port."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read(100)).upper())
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def unused() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.mark.needs_root
async def test_two_ports_of_which_one_is_closed(client, shouting):
    closed = unused()
    async with client.ws_connect(f"/carry?port={shouting},{closed}", protocols=["v4.channel.k8s.io"]) as ws:
        numbers = [port.to_bytes(2, "little") for port in (shouting, shouting, closed, closed)]
        assert [(await ws.receive()).data for _ in range(4)] == [bytes([n]) + port for n, port in enumerate(numbers)]
        refused = (await ws.receive()).data
        assert refused == b"\3" + f"failed to connect to localhost:{closed} inside the pod: connection refused".encode()
        await ws.send_bytes(b"\2nobody hears this")
        await ws.send_bytes(b"\0hello")
        assert (await ws.receive()).data == b"\0HELLO"
        assert (await ws.receive()).type is WSMsgType.CLOSE, "the WebSocket ends with the last connection"


@pytest.mark.needs_root
async def test_in_base64(client, shouting):
    async with client.ws_connect(f"/carry?port={shouting}", protocols=["v4.base64.channel.k8s.io"]) as ws:
        assert [(await ws.receive()).data[0] for _ in range(2)] == ["0", "1"]
        await ws.send_str("0aGk=")
        assert (await ws.receive()).data == "0SEk="


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], 'query parameter "port" is required'),
        ([""], 'query parameter "port" cannot be empty'),
        (["80,x"], 'unable to parse "80,x" as a port'),
        (["65536"], 'unable to parse "65536" as a port'),
        (["0"], 'port "0" must be > 0'),
    ],
)
def test_ports_that_are_none(values, said):
    with pytest.raises(ValueError) as refused:
        asked_ports(values)
    assert str(refused.value) == said
