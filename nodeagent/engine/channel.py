"""How does the engine's event loop talk over a SOCK_SEQPACKET socket?"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any

from nodeagent.engine import wire
from nodeagent.engine.contract import EngineError


class Channel:
    """Messages of ``wire`` without blocking. Sending is immediate: they are small and the other end reads."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._arrived: deque[wire.Packet | None] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._readable)
        self._closed = False

    @classmethod
    def open(cls, path: str) -> Channel:
        """Connect to who listens at ``path``; OSError when nobody does."""
        return cls(wire.connect(path))

    def send(self, body: dict[str, Any], fds: list[int] | None = None) -> None:
        """Raises EngineError when the other end has gone; what it said before can still be received."""
        try:
            wire.send(self._sock, body, fds)
        except ConnectionError as error:
            raise EngineError(f"whom we told of {body.get('op')} was lost: {error.strerror}") from None

    async def receive(self) -> wire.Packet | None:
        """The next message; None when the other end has gone."""
        while not self._arrived:
            if self._closed:
                return None
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        packet = self._arrived[0]
        if packet is not None:  # the end stays where it is: every later call sees it too
            self._arrived.popleft()
        return packet

    async def answer(self, key: str) -> None:
        """Wait for the message with ``key``, past all others."""
        while packet := await self.receive():
            if key in packet.body:
                return
        raise EngineError("the container is not running")

    def _readable(self) -> None:
        try:
            packet = wire.receive(self._sock)
        except BlockingIOError:
            return
        except OSError:
            packet = None
        if packet is None:
            self._loop.remove_reader(self._sock.fileno())
        self._arrived.append(packet)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """Let go of the connection."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._wake()
