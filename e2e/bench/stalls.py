"""For how long does a list of 100,000 objects keep everybody else waiting? The longest turn of the server's loop.

A server of its own runs in a forked process beside a task that wakes up all the time and looks how much processor
time the loop's thread has used since it last did: time, not a clock, so that a busy machine makes no difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from e2e.bench.api import client_tls, free_port
from e2e.bench.load import http
from shim.server import prepare, run
from shim.settings import ApiServerSettings
from shim.store.entry import encode
from shim.store.sqlite import open_sqlite

if TYPE_CHECKING:
    from e2e.bench.__main__ import Figure

OBJECTS = 100_000
AIM = 50.0  # milliseconds
_TOGETHER = 2000
_ACCEPTS = {
    "JSON": "application/json",
    "a Table": "application/json;as=Table;v=v1;g=meta.k8s.io",
    "protobuf": "application/vnd.kubernetes.protobuf",
}


def measure(folder: Path, say: Callable[[str], object]) -> list[Figure]:
    """The longest turn for each way to ask for all objects."""
    from e2e.bench.__main__ import Figure

    settings = prepare(ApiServerSettings(data_dir=folder / "stalls", port=free_port()))
    say(f"a store of {OBJECTS} objects")
    asyncio.run(_fill(settings.data_dir))
    tls = client_tls(settings.data_dir)
    figures = []
    ways = {f"list {OBJECTS} as {name}": ("", accept) for name, accept in _ACCEPTS.items()}
    ways["list by a label that none has"] = ("?labelSelector=not%3Dthere", "application/json")
    ways[f"watch that begins with {OBJECTS}"] = ("?watch=1&timeoutSeconds=10", "application/json")
    reading, writing = os.pipe()
    server = os.fork()
    if not server:
        os.close(reading)
        try:
            uvloop.run(_serve(settings, writing))
        finally:
            os._exit(0)
    os.close(writing)
    turns = os.fdopen(reading)
    try:
        turns.readline()  # it serves
        for work, (query, accept) in ways.items():
            say(work)
            request = http("GET", f"/api/v1/configmaps{query}")
            request = request.replace(b"Accept: application/json", f"Accept: {accept}".encode())
            asyncio.run(_drain(settings.port, tls, request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
            os.kill(server, signal.SIGUSR1)
            figures.append(
                Figure(f"{work}: longest turn of the loop", float(turns.readline()) * 1e3, "ms", aim=f"<= {AIM:.0f} ms")
            )
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
        turns.close()
    return figures


async def _serve(settings: ApiServerSettings, out: int) -> None:
    longest = 0.0

    def tell() -> None:
        nonlocal longest
        os.write(out, b"%f\n" % longest)
        longest = 0.0

    async def watch_turns() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            longest = max(longest, time.thread_time() - before)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
    watching = asyncio.create_task(watch_turns())

    def ready() -> None:
        nonlocal longest
        longest = 0.0
        os.write(out, b"ready\n")

    try:
        await run(settings, ready)
    finally:
        watching.cancel()


async def _drain(port: int, tls: ssl.SSLContext, request: bytes) -> None:
    """Read an answer to its end, and throw it away."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="localhost", limit=2**22)
    writer.write(request)
    while await reader.read(1 << 20):
        pass
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


async def _fill(data_dir: Path) -> None:
    """Put the objects straight into the store: through the API it would take minutes."""
    store = open_sqlite(data_dir / "store.db")
    for start in range(0, OBJECTS, _TOGETHER):
        await asyncio.gather(*(store.put(*_object(number)) for number in range(start, start + _TOGETHER)))
    await store.close()


def _object(number: int) -> tuple[str, bytes]:
    name = f"c{number:06d}"
    metadata = {
        "name": name,
        "namespace": "many",
        "uid": f"00000000-0000-0000-0000-{number:012d}",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"n": str(number % 10)},
    }
    configmap = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"text": "x" * 800}}
    return f"/registry/configmaps/many/{name}", encode(configmap)
