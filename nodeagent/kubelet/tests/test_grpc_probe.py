"""gRPC probes against a health server of the h2 library's: what each answer means."""

import asyncio
import contextlib

import h2.config
import h2.connection
import h2.events
import pytest

from nodeagent.kubelet.probes.check import check


class HealthServer:
    """Answers every call with one message and status, and remembers what it was asked."""

    def __init__(self, message: bytes | None, status: str = "0", words: str = "") -> None:
        self.message, self.status, self.words = message, status, words
        self.headers: dict[str, str] = {}
        self.body = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while chunk := await reader.read(65536):
            for event in connection.receive_data(chunk):
                if isinstance(event, h2.events.RequestReceived):
                    self.headers = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    self.body += event.data
                elif isinstance(event, h2.events.StreamEnded) and self.status != "never":
                    self._answer(connection, event.stream_id)
            writer.write(connection.data_to_send())
        writer.close()

    def _answer(self, connection: h2.connection.H2Connection, stream: int) -> None:
        connection.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        if self.message is not None:
            connection.send_data(stream, b"\0" + len(self.message).to_bytes(4, "big") + self.message)
        trailers = [("grpc-status", self.status), ("grpc-message", self.words)]
        connection.send_headers(stream, trailers, end_stream=True)


@contextlib.asynccontextmanager
async def serving(server: HealthServer):
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


async def probe(port: int, service: str | None = None, timeout: int = 20):
    told = {"port": port} if service is None else {"port": port, "service": service}
    asked = {"grpc": told, "timeoutSeconds": timeout}
    return await check(asked, {"name": "c"}, "run", "127.0.0.1", engine=None, http=None)  # type: ignore[arg-type]


UNKNOWN_PROTOCOL = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "


@pytest.mark.parametrize(
    ("server", "result", "output"),
    [
        (HealthServer(b"\x08\x01"), "success", "service healthy"),
        (HealthServer(b"\x08\x02"), "failure", 'service unhealthy (responded with "NOT_SERVING")'),
        (HealthServer(b""), "failure", 'service unhealthy (responded with "UNKNOWN")'),
        (HealthServer(None, "12", "unknown service"), "failure", UNKNOWN_PROTOCOL + "unknown service"),
        (
            HealthServer(None, "5", "not%20here"),
            "failure",
            "error: health rpc probe failed: rpc error: code = NotFound desc = not here",
        ),
    ],
)
async def test_what_a_health_server_answers(server, result, output):
    async with serving(server) as port:
        outcome = await probe(port)
    assert (outcome.result, outcome.output) == (result, output)


async def test_a_probe_asks_for_its_service():
    server = HealthServer(b"\x08\x01")
    async with serving(server) as port:
        assert (await probe(port, "liveness")).result == "success"
    assert server.headers[":path"] == "/grpc.health.v1.Health/Check"
    assert server.headers["user-agent"].startswith("kube-probe/")
    assert server.body == b"\0\0\0\0\x0a\x0a\x08liveness"


async def test_a_server_that_says_nothing_or_is_not_there_fails_the_probe():
    async with serving(HealthServer(None, "never")) as port:
        outcome = await probe(port, timeout=1)
    assert outcome.output == "timeout: health rpc did not complete within 1s"
    outcome = await probe(port, timeout=1)
    assert outcome.refused
    assert outcome.output.startswith(f'timeout: failed to connect service "127.0.0.1:{port}" within 1s')
