"""A load generator that costs less than what it measures: raw HTTP/1.1 over TLS on asyncio protocols.

Requests are whole byte strings made beforehand; of an answer only the status and the length are read.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """``rate`` answers a second over all connections, and latencies in seconds."""

    rate: float
    p50: float
    p99: float
    errors: int


class _Connection(asyncio.Protocol):
    """Sends one request, reads its answer, sends the next."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float], errors: list[bytes]) -> None:
        self._requests, self._latencies, self._errors = requests, latencies, errors
        self._head, self._left, self._began = b"", 0, 0.0
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            if not self.finished.done():
                self.finished.set_result(None)
            return
        self._began = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
        else:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            if self._head[9:10] != b"2":
                self._errors.append(self._head[:400])
            headers = self._head[:end].lower()
            length = int(headers.partition(b"content-length:")[2].split(b"\r\n")[0])
            self._left = length - (len(self._head) - end - 4)
            self._head = b""
        if self._left <= 0:
            self._left = 0
            self._latencies.append(time.perf_counter() - self._began)
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.finished.done():
            self.finished.set_exception(error or ConnectionError("the server closed the connection"))


async def measure(
    port: int, tls: ssl.SSLContext, request: Callable[[int], bytes], count: int, connections: int = 16
) -> Result:
    """Send ``request(0) ... request(count - 1)`` over some connections as fast as answers come."""
    numbers = iter(range(count))
    requests = (request(number) for number in numbers)
    latencies: list[float] = []
    errors: list[bytes] = []
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    made = [
        await loop.create_connection(
            lambda: _Connection(requests, latencies, errors), "127.0.0.1", port, ssl=tls, server_hostname="localhost"
        )
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.finished for _, protocol in made))
    seconds = time.perf_counter() - began
    if errors:
        raise RuntimeError(f"{len(errors)} of {count} requests failed, such as: {errors[0]!r}")
    latencies.sort()
    return Result(count / seconds, latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)], 0)


def http(method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
    """One request as bytes."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"
    if body:
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body
