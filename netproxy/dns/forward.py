"""Questions about the rest of the world: handed to the machine's own name servers."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from pathlib import Path

from dnslib import QTYPE, DNSRecord

from netproxy.dns.answers import Answers, failure

TIMEOUT = 2.0  # seconds for one server
AT_ONCE = 512  # questions under way; more fail at once, so that a dead server does not fill the memory
PORT = 53
RESOLV_CONF = Path("/etc/resolv.conf")
SYSTEMD = Path("/run/systemd/resolve/resolv.conf")  # what the stub on 127.0.0.53 itself asks


class Forwarder:
    """Asks upstream servers in turn; answers are kept for as long as they say."""

    def __init__(self, servers: list[str]) -> None:
        self._servers = servers
        self._kept: dict[bytes, tuple[float, bytes]] = {}
        self._under_way = 0

    async def ask(self, question: bytes, *, tcp: bool = False) -> bytes:
        """The answer, or SERVFAIL when no server gives one in time."""
        now = asyncio.get_running_loop().time()
        kept = self._kept.get(question[2:])
        if kept is not None and kept[0] > now:
            return question[:2] + kept[1]
        if self._under_way >= AT_ONCE:
            return failure(question)
        self._under_way += 1
        try:
            return await self._ask(question, tcp, now)
        finally:
            self._under_way -= 1

    async def _ask(self, question: bytes, tcp: bool, now: float) -> bytes:
        for server in self._servers:
            try:
                answer = await asyncio.wait_for((_over_tcp if tcp else _over_udp)(server, question), TIMEOUT)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                continue
            if not answer[2] & 0x02:  # a truncated answer is not worth keeping
                self._keep(question, answer, now)
            return question[:2] + answer[2:]
        return failure(question)

    async def complete(self, question: bytes, answers: Answers, *, tcp: bool = False) -> bytes:
        """The answer where others are needed for it: about a name outside, or about an alias of one."""
        target = answers.alias(question)
        if target is None:
            return await self.ask(question, tcp=tcp)
        asked = DNSRecord.parse(question)
        outside = await self.ask(bytes(DNSRecord.question(target, QTYPE[asked.q.qtype]).pack()), tcp=tcp)
        return answers.with_outside(question, outside)

    def _keep(self, question: bytes, answer: bytes, now: float) -> None:
        if len(self._kept) > 10_000:
            self._kept.clear()
        try:
            ttls = [record.ttl for record in DNSRecord.parse(answer).rr]
        except Exception:  # dnslib raises many kinds for bytes it cannot read; such an answer is passed on, not kept
            return
        if ttls:
            self._kept[question[2:]] = (now + min(min(ttls), 30), answer[2:])


class _Once(asyncio.DatagramProtocol):
    def __init__(self, answer: asyncio.Future[bytes], number: bytes) -> None:
        self._answer, self._number = answer, number

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[:2] == self._number and not self._answer.done():
            self._answer.set_result(data)

    def error_received(self, error: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)


async def _over_udp(server: str, question: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    number = secrets.token_bytes(2)  # ours, not the client's: an answer cannot be guessed from what the client shows
    answer: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Once(answer, number), remote_addr=_endpoint(server))
    try:
        transport.sendto(number + question[2:])
        return await answer
    finally:
        transport.close()


async def _over_tcp(server: str, question: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*_endpoint(server))
    try:
        writer.write(len(question).to_bytes(2, "big") + question)
        size = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(size)
    finally:
        writer.close()


def _endpoint(server: str) -> tuple[str, int]:
    address, _, port = server.partition(":")
    return address, int(port or PORT)


def machine_servers(configured: str) -> list[str]:
    """The configured servers (``ADDRESS`` or ``ADDRESS:PORT``, with commas), or the machine's.

    Less those that only the machine itself can reach.
    """
    if configured:
        return configured.split(",")
    for path in (RESOLV_CONF, SYSTEMD):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        servers = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
        usable = [server for server in servers if ":" not in server and not ipaddress.ip_address(server).is_loopback]
        if usable:
            return usable
    return []
