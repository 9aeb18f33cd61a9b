"""Cluster DNS on the network: datagrams and streams on one address of the node's own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

from netproxy.dns.answers import Answers

log = logging.getLogger(__name__)

PORT = 53
IDLE = 10.0  # seconds a stream may be silent
BUFFER = 1 << 20  # bytes of questions that may wait: a burst is not lost


@contextlib.asynccontextmanager
async def serving(answers: Answers, address: str, port: int = PORT) -> AsyncIterator[int]:
    """Answer while the block runs; gives the port. Raises OSError when the address is not ours or taken."""
    loop = asyncio.get_running_loop()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    datagrams.setblocking(False)
    datagrams.bind((address, port))
    number = int(datagrams.getsockname()[1])
    transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(answers), sock=datagrams)
    try:
        streams = await asyncio.start_server(lambda r, w: _stream(answers, r, w), address, number, reuse_address=True)
        try:
            yield number
        finally:
            streams.close()
    finally:
        transport.close()


class _Datagrams(asyncio.DatagramProtocol):
    """One question, one answer. What was asked before is answered without a task."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        answer = self._answers.known(data) or self._answers.make(data)
        if answer is not None:
            self._transport.sendto(answer, addr)
        elif len(data) >= 12:
            task = asyncio.get_running_loop().create_task(self._find(data, addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _find(self, question: bytes, addr: Any) -> None:
        answer = await self._answers.find(question)
        if answer is not None and not self._transport.is_closing():
            self._transport.sendto(answer, addr)


async def _stream(answers: Answers, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Questions one after the other, each after its length in two bytes."""
    try:
        while True:
            async with asyncio.timeout(IDLE):
                size = int.from_bytes(await reader.readexactly(2), "big")
                question = await reader.readexactly(size)
            answer = await answers.find(question, stream=True)
            if answer is None:
                return
            writer.write(len(answer).to_bytes(2, "big") + answer)
            await writer.drain()
    except (OSError, EOFError):
        pass  # gone, or silent for too long
    finally:
        writer.close()
