"""Names outside the cluster: ask the machine's own name servers, in turn, each for a limited time."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

TIMEOUT = 2.0  # of one server; a resolver gives up, or asks again, after 5
AT_ONCE = 512  # questions under way; more are refused, so that a dead server cannot fill the memory
RESOLV_CONF = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


class Unanswered(Exception):
    """No server outside gave an answer."""


Server = tuple[str, int]


def servers(text: str) -> list[Server]:
    """``1.2.3.4`` or ``1.2.3.4:5353``, several with commas; none given: those of the machine."""
    if text:
        return [_server(part) for part in text.split(",") if part]
    for path in RESOLV_CONF:
        try:
            lines = [line.split() for line in path.read_text().splitlines()]
        except OSError:
            continue
        named = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
        # a resolver on the machine's own loopback (systemd-resolved) cannot be reached from a node's namespace
        found = [(address, 53) for address in named if not address.startswith("127.") and ":" not in address]
        if found:
            return found
    return []


class Upstream:
    """Passes questions on as they are, and answers back as they come."""

    def __init__(self, servers: list[Server]) -> None:
        self._servers = servers
        self._under_way = 0

    async def ask(self, question: bytes, *, stream: bool = False) -> bytes:
        """The first answer. Raises Unanswered."""
        if self._under_way >= AT_ONCE:
            raise Unanswered("too many questions under way")
        self._under_way += 1
        try:
            for server in self._servers:
                try:
                    async with asyncio.timeout(TIMEOUT):
                        return await (_ask_stream if stream else _ask_datagram)(server, question)
                except (OSError, EOFError):  # TimeoutError is an OSError
                    continue
        finally:
            self._under_way -= 1
        raise Unanswered(f"none of {len(self._servers)} servers answered")


def _server(text: str) -> Server:
    address, _, port = text.strip().partition(":")
    return address, int(port or 53)


class _Asking(asyncio.DatagramProtocol):
    """One question, from a port of its own: a guessed answer does not fit. Takes the first answer with its number."""

    def __init__(self, identity: bytes) -> None:
        self._identity = identity
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[:2] == self._identity and len(data) >= 12 and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _ask_datagram(server: Server, question: bytes) -> bytes:
    identity = os.urandom(2)
    loop = asyncio.get_running_loop()
    transport, asking = await loop.create_datagram_endpoint(lambda: _Asking(identity), remote_addr=server)
    try:
        transport.sendto(identity + question[2:])
        return question[:2] + (await asking.answer)[2:]
    finally:
        transport.close()


async def _ask_stream(server: Server, question: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(len(question).to_bytes(2, "big") + question)
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    finally:
        writer.close()
