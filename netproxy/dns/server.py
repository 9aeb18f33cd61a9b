"""The cluster DNS's sockets: UDP and TCP, on the cluster DNS address and on an address of the node's pod network."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from ipaddress import ip_network

from netproxy.dns.answers import Answers
from netproxy.dns.forward import Forwarder
from shim.api.meta import Object
from shim.client import Informer

log = logging.getLogger(__name__)

PORT = 53
IP_FREEBIND = 15  # ip(7): an address that is not there yet is no error
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

    The address need not be on an interface of this node yet: questions come as soon as it is.
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
        lambda: _Datagrams(answers, forwarder), sock=_bound(socket.SOCK_DGRAM, address, port)
    )
    server = await asyncio.start_server(talk, sock=_bound(socket.SOCK_STREAM, address, port))
    log.info("cluster DNS on %s:%d", address, port)
    if listening is not None:
        listening.set()
    try:
        async with server:
            await server.serve_forever()
    finally:
        datagrams.close()


async def serve_in_pod_network(nodes: Informer, node_name: str, answers: Answers, forwarder: Forwarder) -> None:
    """Answer on the first address of this node's pod network, too: the Service ``kube-dns`` has it as an endpoint.

    Until cancelled, and on another address when the node is given another pod network.
    """
    cidr, changed = "", asyncio.Event()

    def node_changed(old: Object | None, new: Object | None) -> None:
        nonlocal cidr
        found = (new or {}).get("spec", {}).get("podCIDR", "")
        if found and found != cidr and new is not None and new["metadata"]["name"] == node_name:
            cidr = found
            changed.set()

    nodes.on_change(node_changed)
    while True:
        await changed.wait()
        changed.clear()
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(serve(str(ip_network(cidr)[1]), answers, forwarder))
            await changed.wait()
            serving.cancel()


def _bound(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
    made.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    made.bind((address, port))
    return made
