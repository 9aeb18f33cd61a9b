"""One call of the gRPC health protocol: is the service at this address serving?

https://github.com/grpc/grpc/blob/master/doc/health-checking.md, over HTTP/2 in clear text, as kubelets ask.
Its messages have one field each, so that their protobuf is written and read here.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from enum import IntEnum
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from shim.api.version import MAJOR, MINOR

METHOD = "/grpc.health.v1.Health/Check"
UNIMPLEMENTED, DEADLINE_EXCEEDED = 12, 4
_CODES = (
    "OK Canceled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied ResourceExhausted"
    " FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable DataLoss Unauthenticated"
).split()
_MESSAGE = struct.Struct(">BI")  # compressed or not, length
_SERVICE_TAG, _STATUS_TAG = 0x0A, 0x08  # field 1 of the request, a string; field 1 of the answer, an enum


class Serving(IntEnum):
    """What a health server says of a service."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class CallFailed(Exception):
    """The call came back with a status other than OK, or not at all."""

    def __init__(self, code: int, message: str) -> None:
        name = _CODES[code] if code < len(_CODES) else f"Code({code})"
        super().__init__(f"rpc error: code = {name} desc = {message}")
        self.code = code
        self.message = message


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str) -> Serving:
    """The health of ``service`` ("" is the whole server). Raises CallFailed, OSError; takes as long as it takes."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    try:
        connection.initiate_connection()
        connection.send_headers(1, _headers(authority))
        connection.send_data(1, _request(service), end_stream=True)
        writer.write(connection.data_to_send())
        headers, body = await _answer(reader, writer, connection)
    except h2.exceptions.H2Error as error:
        raise CallFailed(14, f"connection error: {error}") from error
    if "grpc-status" not in headers:
        raise CallFailed(2, f"unexpected HTTP status code received from server: {headers.get(':status', 'none')}")
    if code := int(headers["grpc-status"]):
        raise CallFailed(code, unquote(headers.get("grpc-message", "")))
    return _status(body)


def _headers(authority: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", METHOD),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", f"kube-probe/{MAJOR}.{MINOR}"),
    ]


def _request(service: str) -> bytes:
    name = service.encode()
    length = bytearray()
    rest = len(name)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    message = bytes((_SERVICE_TAG, *length)) + name if name else b""
    return _MESSAGE.pack(0, len(message)) + message


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: h2.connection.H2Connection
) -> tuple[dict[str, str], bytes]:
    """Headers and trailers in one, and the body, once the server has ended its stream."""
    headers: dict[str, str] = {}
    body = b""
    while chunk := await reader.read(65536):
        for event in connection.receive_data(chunk):
            if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                headers.update((str(name), str(value)) for name, value in event.headers or ())
            elif isinstance(event, h2.events.DataReceived):
                body += event.data or b""
                connection.acknowledge_received_data(event.flow_controlled_length or 0, 1)
            elif isinstance(event, h2.events.StreamEnded):
                return headers, body
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                raise CallFailed(14, f"the server ended the call: {event.error_code!s}")
        writer.write(connection.data_to_send())
    raise CallFailed(14, "error reading from server: EOF")


def _status(body: bytes) -> Serving:
    """The answer's one field; left out it is UNKNOWN."""
    with contextlib.suppress(struct.error, IndexError, ValueError):
        compressed, length = _MESSAGE.unpack_from(body)
        message = body[_MESSAGE.size : _MESSAGE.size + length]
        if not compressed and len(message) == length:
            if not message:
                return Serving.UNKNOWN
            if message[0] == _STATUS_TAG:
                return Serving(message[1])
    raise CallFailed(13, "the server's answer is no HealthCheckResponse")
