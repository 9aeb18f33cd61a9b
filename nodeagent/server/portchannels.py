"""port-forward by channels of a WebSocket, as the clients without SPDY speak it, the official Python one among them.

The client names its ports in the query; each has two channels, data and then error. Both begin with the port's number
in two bytes, the lower one first. No end of a connection can be told within: the WebSocket ends with the last of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from aiohttp import web

from nodeagent.server.channels import Messages
from nodeagent.server.portforward import CHUNK, connect_in, told

PROTOCOLS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io")


def asked_ports(values: Sequence[str]) -> list[int]:
    """The ports of the query's ``port``. Raises ValueError in upstream's words."""
    if not values:
        raise ValueError('query parameter "port" is required')
    ports = []
    for value in values:
        if not value:
            raise ValueError('query parameter "port" cannot be empty')
        for text in value.split(","):
            if not (text.isascii() and text.isdigit()) or int(text) >= 1 << 16:
                raise ValueError(f'unable to parse "{value}" as a port')
            if int(text) < 1:
                raise ValueError(f'port "{value}" must be > 0')
            ports.append(int(text))
    return ports


class _Carried:
    """One connection into the pod and its two channels."""

    def __init__(self, messages: Messages, netns: str, port: int, channel: int) -> None:
        self._messages, self._netns, self._port = messages, netns, port
        self._data, self._error = channel, channel + 1
        self._made: asyncio.Future[asyncio.StreamWriter | None] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        for channel in (self._data, self._error):
            await self._messages.send(channel, self._port.to_bytes(2, "little"))

    async def down(self) -> None:
        """Connect, and send the client what the pod says until it ends."""
        try:
            reader, writer = await connect_in(self._netns, self._port)
        except OSError as error:
            self._made.set_result(None)
            await self._messages.send(self._error, told(self._port, error))
            return
        self._made.set_result(writer)
        try:
            with contextlib.suppress(ConnectionError):
                while piece := await reader.read(CHUNK):
                    await self._messages.send(self._data, piece)
        finally:
            writer.close()

    async def up(self, data: bytes) -> None:
        """Send the pod what the client said; nothing once the connection has ended."""
        if writer := await asyncio.shield(self._made):
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                await writer.drain()


async def serve(request: web.Request, netns: str, ports: Sequence[int]) -> web.StreamResponse:
    """Carry one connection for each port, until all have ended or the client goes."""
    socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=0)
    await socket.prepare(request)
    messages = Messages(socket)
    carried = [_Carried(messages, netns, port, 2 * number) for number, port in enumerate(ports)]
    for each in carried:
        await each.open()

    async def listen() -> None:
        async for channel, data in messages.received():
            number, error = divmod(channel, 2)
            if not error and number < len(carried):
                await carried[number].up(data)

    listening = asyncio.ensure_future(listen())
    speaking = asyncio.gather(*(each.down() for each in carried))
    try:
        await asyncio.wait((listening, speaking), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (listening, speaking):
            task.cancel()
        await asyncio.gather(listening, speaking, return_exceptions=True)
    await socket.close()
    return socket
