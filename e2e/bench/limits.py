"""What the machine allows, measured in the same run: a bare aiohttp handler, a raw SQLite group commit, a bare fork.

Absolute figures drift with the machine; a ratio against these does not.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import ssl
import time
from pathlib import Path
from typing import NamedTuple

import uvloop
from aiohttp import web


def bare_handler(port: int, bodies: dict[str, bytes], certificate: Path, key: Path) -> int:
    """Fork a server that does nothing but send these bodies, by path, over TLS; its pid.

    ``/events`` sends one body a thousand times to every client that asks, which is the limit of a watch.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        uvloop.run(_serve(port, bodies, certificate, key))
    finally:
        os._exit(0)


class Echo(NamedTuple):
    """A forked server that sends every datagram back."""

    pid: int
    port: int


def bare_echo() -> Echo:
    """Fork a uvloop server that does nothing but send datagrams back, on 127.0.0.1 of this namespace."""
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        try:
            uvloop.run(_echo(sock))
        finally:
            os._exit(0)
    with sock:
        return Echo(pid, sock.getsockname()[1])


class _Back(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]  # UDP's

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


async def _echo(sock: socket.socket) -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(_Back, sock=sock)
    await asyncio.Event().wait()


def stop(pid: int) -> None:
    """End a forked server."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


async def _serve(port: int, bodies: dict[str, bytes], certificate: Path, key: Path) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=bodies[request.path], content_type="application/json")

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    await asyncio.Event().wait()


def group_commits(folder: Path, value: bytes, callers: int = 16, rounds: int = 150) -> float:
    """Durable writes a second when ``callers`` writes share each commit of SQLite (WAL, FULL)."""
    database = sqlite3.connect(folder / "limit.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE log (revision INTEGER PRIMARY KEY, key TEXT, value BLOB)")
    began = time.perf_counter()
    for number in range(rounds):
        database.execute("BEGIN")
        database.executemany(
            "INSERT INTO log (key, value) VALUES (?, ?)", [(f"/{number}/{caller}", value) for caller in range(callers)]
        )
        database.execute("COMMIT")
    seconds = time.perf_counter() - began
    database.close()
    return callers * rounds / seconds


def bare_fork(count: int = 50) -> float:
    """Seconds for a fork with the five namespaces of a container, to its end."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    flags = 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000  # NS UTS IPC PID NET
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os._exit(0 if libc.unshare(flags) == 0 else 1)
        os.waitpid(pid, 0)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[count // 2]
