"""Every WebSocket protocol of exec, spoken by a real client: how output, input and the end are framed."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from nodeagent.engine.contract import Process
from nodeagent.server.channels import STDERR, Typed, Wanted, open_websocket
from nodeagent.server.remotecommand import serve_process


class Failing:
    """A process that says "hi" and exits with 3."""

    stdin: asyncio.StreamWriter | None = None
    stderr: asyncio.StreamReader | None = None

    def __init__(self) -> None:
        self.stdout: asyncio.StreamReader | None = asyncio.StreamReader()
        self.stdout.feed_data(b"hi")
        self.stdout.feed_eof()

    async def wait(self) -> int:
        return 3

    def resize(self, columns: int, rows: int) -> None: ...

    async def close(self) -> None: ...


async def start(size: tuple[int, int] | None) -> Process:
    return Failing()


async def run(request: web.Request) -> web.StreamResponse:
    return await serve_process(request, start)


async def echo(request: web.Request) -> web.StreamResponse:
    """Give what is typed back as errors."""
    channels = await open_websocket(request, Wanted(stdin=True, stdout=False, stderr=True, tty=False))
    async for event in channels.events():
        if isinstance(event, Typed):
            await channels.out(STDERR, event.data or b"the end")
    return channels.socket


@pytest.fixture
async def client():
    app = web.Application()
    app.router.add_get("/run", run)
    app.router.add_get("/echo", echo)
    async with TestClient(TestServer(app)) as client:
        yield client


MESSAGE = "command terminated with non-zero exit code: exit status 3"


@pytest.mark.parametrize(
    ("protocol", "first", "hello"),
    [
        ("v5.channel.k8s.io", b"\1", b"\1hi"),
        ("v4.channel.k8s.io", b"\1", b"\1hi"),
        ("v4.base64.channel.k8s.io", "1", "1aGk="),
        ("channel.k8s.io", b"\1", b"\1hi"),
        ("base64.channel.k8s.io", "1", "1aGk="),
        ("", b"\1", b"\1hi"),
    ],
)
async def test_how_output_and_the_end_are_framed(client, protocol, first, hello):
    async with client.ws_connect("/run?output=1", protocols=[protocol] if protocol else []) as socket:
        assert socket.protocol == (protocol or None)
        messages = [message.data async for message in socket]
    assert messages[:2] == [first, hello]
    if protocol == "v4.base64.channel.k8s.io":
        assert messages[2].startswith("3ey")  # the channel, then base64 of a JSON object
    elif protocol == "base64.channel.k8s.io":
        assert messages[2].startswith("3Y29tbWFuZCB0ZXJt")
    elif protocol.startswith("v"):
        assert json.loads(messages[2][1:])["message"] == MESSAGE
    else:
        assert messages[2] == b"\3" + MESSAGE.encode()


async def test_input_in_base64(client):
    async with client.ws_connect("/echo", protocols=["base64.channel.k8s.io"]) as socket:
        assert (await socket.receive()).data == "2"
        await socket.send_str("0not base64")
        await socket.send_str("0aGk=")
        message = await socket.receive()
    assert (message.type, message.data) == (WSMsgType.TEXT, "2aGk=")


async def test_the_newest_protocol_is_chosen_wherever_it_is_offered(client):
    async with client.ws_connect("/echo", protocols=["v4.channel.k8s.io", "v5.channel.k8s.io"]) as socket:
        assert socket.protocol == "v5.channel.k8s.io"
