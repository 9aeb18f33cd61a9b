"""What stands behind the API server, and how bytes get there: kubelets, and the pods that are reached by proxy.

Ordinary requests (:func:`forward`) are aiohttp's; upgrades (:func:`tunnel`) are asked for here, because whatever
protocol client and backend agree on (WebSocket, SPDY) crosses untouched.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import orjson
from aiohttp import web

from shim.api.keys import NODES
from shim.api.meta import Object
from shim.api.status import ApiError, bad_request, not_found
from shim.client.reach import authority, mistrust
from shim.codec.upgrade import Upgraded, switch
from shim.server.parts import Parts
from shim.settings import ApiServerSettings

CHUNK = 1 << 16
DIAL_TIMEOUT = 30.0  # seconds; a backend that does not answer by then is given up, as upstream
KUBELET_PORT = 10250

Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a request goes on to. Without ``tls`` it is plain HTTP; a certificate is for ``name``, else ``host``."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    name: str = ""

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def authority(self) -> str:
        return authority(self.host, self.port)


class Answer(NamedTuple):
    """The head of an answer, and the connection its body is still to be read from."""

    code: int
    headers: Mapping[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body in pieces, chunked or with a length."""
        lower = {name.lower(): value for name, value in self.headers.items()}
        if lower.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await self.reader.readline()).split(b";")[0] or b"0", 16):
                yield await self.reader.readexactly(size)
                await self.reader.readexactly(2)
        elif length := int(lower.get("content-length") or 0):
            yield await self.reader.readexactly(length)

    async def text(self) -> str:
        return b"".join([piece async for piece in self.pieces()]).decode(errors="replace")


def node_backend(parts: Parts, name: str, *, missing: str = "nodes") -> Backend:
    """Where a node's kubelet listens. Raises ApiError when it has no address, or there is no such node.

    ``missing`` is the resource that is said not to be there: upstream calls it by that of the request.
    """
    entry = parts.cache.get(NODES + name)
    if entry is None:
        raise not_found("", missing, name)
    status = entry.decode().get("status") or {}
    by_type = {each["type"]: each["address"] for each in status.get("addresses") or ()}
    address = by_type.get("InternalIP") or by_type.get("Hostname")
    if not address:
        known = " ".join(f"{{{each['type']} {each['address']}}}" for each in status.get("addresses") or ())
        raise ApiError(500, "", f"no preferred addresses found; known addresses: [{known}]")
    port = status.get("daemonEndpoints", {}).get("kubeletEndpoint", {}).get("Port") or KUBELET_PORT
    return Backend(str(address), int(port), node_tls(parts.settings), name)


_CONTEXTS: dict[str, ssl.SSLContext] = {}


def node_tls(settings: ApiServerSettings) -> ssl.SSLContext:
    """TLS towards kubelets: theirs is checked against the cluster's CA, ours is the kubelet-client certificate."""
    pki = settings.data_dir / "pki"
    if str(pki) not in _CONTEXTS:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "kubelet-client.crt", pki / "kubelet-client.key")
        _CONTEXTS[str(pki)] = context
    return _CONTEXTS[str(pki)]


def any_tls() -> ssl.SSLContext:
    """TLS towards pods: nobody vouches for their certificates, so that none is checked (as upstream)."""
    if "" not in _CONTEXTS:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        _CONTEXTS[""] = context
    return _CONTEXTS[""]


def is_global_unicast(address: str) -> bool:
    """Whether a proxied request may go there: never to this machine itself, nor to a link's own services."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (ip.is_loopback or ip.is_multicast or ip.is_unspecified or ip.is_link_local or str(ip) == _BROADCAST)


_BROADCAST = "255.255.255.255"


def dial_error(backend: Backend, error: BaseException) -> str:
    """Why no connection came about, in the words of a Go client."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return mistrust(error, backend.name or backend.host)
    number = getattr(error, "errno", None)
    if isinstance(error, TimeoutError) and number is None:
        why = "i/o timeout"
    elif isinstance(error, ssl.SSLCertVerificationError):  # its number is OpenSSL's, not the kernel's
        return f"tls: failed to verify certificate: x509: {error.verify_message.rstrip('.')}"
    elif number is not None and number > 0:
        why = f"connect: {os.strerror(number).lower()}"
    else:
        why = str(error)
    return f"dial tcp {backend.authority}: {why}"


async def ask(backend: Backend, method: str, path: str, headers: Headers = ()) -> Answer:
    """Send one request without a body and read the head of its answer. Raises OSError; the caller closes."""
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(
            backend.host, backend.port, ssl=backend.tls, server_hostname=backend.name or None, limit=1 << 20
        ),
        DIAL_TIMEOUT,
    )
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if not any(name.lower() == "host" for name, _ in headers):
        lines.insert(1, f"Host: {backend.authority}")
    try:
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        code = int(head[0].split()[1])
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, IndexError) as error:
        writer.close()
        raise ConnectionResetError(f"{backend.authority} closed the connection") from error
    found = {}
    for line in head[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip()] = value.strip()
    return Answer(code, found, reader, writer)


async def tunnel(http: web.BaseRequest, backend: Backend, path: str, headers: Headers) -> web.StreamResponse:
    """Pass an upgrade on, and every byte after it. A refusal is passed on too. Raises ApiError."""
    try:
        answer = await ask(backend, http.method, path, headers)
    except OSError as error:
        raise ApiError(500, "", f"error dialing backend: {dial_error(backend, error)}") from error
    reader, writer = answer.reader, answer.writer
    if answer.code != 101:
        try:
            raise refused(answer.code, await answer.text())
        finally:
            writer.close()
    client = switch(http, answer.headers)

    async def up() -> None:
        with contextlib.suppress(ConnectionError):
            while data := await client.read():
                writer.write(data)
                await writer.drain()
        writer.close()

    async def down() -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(CHUNK):
                client.write(data)
                await client.drain()
        client.close()

    await asyncio.gather(up(), down())
    return Upgraded()


def refused(code: int, text: str) -> ApiError:
    """A backend's refusal of an upgrade as a Status: its own, or its plain words."""
    text = text.strip()
    if text.startswith("{") and (status := _status(text)) is not None:
        return ApiError.from_status(status, code)
    if code == 400:
        return bad_request(text)
    if code == 404:
        return ApiError(404, "NotFound", f"the server could not find the requested resource ({text})")
    if code < 400:
        return ApiError(500, "", f"invalid upgrade response: status code {code}")
    return ApiError(500, "InternalError", text or f"the node answered {code}")


def _status(text: str) -> Object | None:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and found.get("kind") == "Status" else None
