"""The cluster DNS's sockets: UDP and TCP on the cluster DNS address of this node."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from netproxy.dns.answers import Answers
from netproxy.dns.forward import Forwarder

log = logging.getLogger(__name__)

PORT = 53
IDLE = 30.0  # seconds a TCP client may stay silent


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answers: Answers, forwarder: Forwarder) -> None:
        self._answers, self._forwarder = answers, forwarder
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]  # UDP's

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._answers.to(data)
        if answer is None:
            task = asyncio.ensure_future(self._forward(data, addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif answer:
            self._transport.sendto(answer, addr)

    async def _forward(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(await self._forwarder.complete(data, self._answers), addr)


async def serve(
    address: str, answers: Answers, forwarder: Forwarder, port: int = PORT, listening: asyncio.Event | None = None
) -> None:
    """Answer on ``address`` until cancelled; ``listening`` is set once it does.

    The address must be on an interface of this node.
    """

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError, ConnectionError):
            while True:
                size = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), IDLE), "big")
                question = await asyncio.wait_for(reader.readexactly(size), IDLE)
                answer = answers.to(question, udp=False)
                if answer is None:
                    answer = await forwarder.complete(question, answers, tcp=True)
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        writer.close()

    loop = asyncio.get_running_loop()
    datagrams, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(answers, forwarder), local_addr=(address, port)
    )
    server = await asyncio.start_server(talk, address, port)
    log.info("cluster DNS on %s:%d", address, port)
    if listening is not None:
        listening.set()
    try:
        async with server:
            await server.serve_forever()
    finally:
        datagrams.close()
