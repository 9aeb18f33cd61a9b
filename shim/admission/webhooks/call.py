"""How is a webhook reached? By its URL, or by its Service's address; over TLS that its CA bundle vouches for.

Connections are kept and shared. What goes wrong is told in the words of Go's HTTP client, which people search for.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from shim.admission.request import Reader
from shim.api.meta import GVR, Object
from shim.api.status import not_found

SERVICES = GVR("", "v1", "services")
AGENT = "kube-apiserver-admission"
_STALE = (aiohttp.ServerDisconnectedError, ConnectionResetError)  # a kept connection that its server has closed
_CERTIFICATE = {
    10: "certificate has expired or is not yet valid",
    18: "certificate signed by unknown authority",
    19: "certificate signed by unknown authority",
    20: "certificate signed by unknown authority",
    21: "certificate signed by unknown authority",
}
_SAID = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}
"""What a client reads into a code whose answer is no Status."""


class CallError(Exception):
    """A webhook could not be asked; the text says why."""


@dataclass(frozen=True, slots=True)
class _Target:
    """Where to connect, and what to call it there."""

    connect: str  # host:port
    host: str  # the name in the URL, with its port
    name: str  # whose certificate it must be
    path: str


class Caller:
    """Posts AdmissionReviews."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def post(self, client: Object, review: Object, timeout: float, reader: Reader) -> Any:
        """The decoded answer. Raises CallError."""
        shown = _url(client, timeout)
        try:
            target = _resolve(client, reader)
            context = _context(client.get("caBundle") or "")
        except _Unreachable as error:
            raise CallError(f'Post "{shown}": {error}') from None
        try:
            async with asyncio.timeout(timeout):
                status, body = await self._send(target, context, orjson.dumps(review), timeout)
        except TimeoutError:
            raise CallError(f'Post "{shown}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError) as error:
            raise CallError(f'Post "{shown}": {_why(error, target)}') from None
        if not 200 <= status < 300:
            raise CallError(_refused(status, body))
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise CallError(f"couldn't get version/kind; json parse error: {error}") from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(self, target: _Target, context: ssl.SSLContext, body: bytes, timeout: float) -> tuple[int, bytes]:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, */*",
            "Host": target.host,
            "User-Agent": AGENT,
        }
        url = f"https://{target.connect}{target.path}?timeout={_seconds(timeout)}"
        for fresh in (False, True):
            try:
                async with self._session.post(
                    url, data=body, headers=headers, ssl=context, server_hostname=target.name, allow_redirects=False
                ) as answer:
                    return answer.status, await answer.read()
            except _STALE:
                if fresh:
                    raise
        raise AssertionError("unreachable")


class _Unreachable(Exception):
    """The configuration names nothing that could be called."""


def _seconds(timeout: float) -> str:
    return f"{int(timeout)}s"


def _url(client: Object, timeout: float) -> str:
    """What is called, as the configuration has it."""
    service = client.get("service")
    if service is None:
        return f"{client.get('url') or ''}?timeout={_seconds(timeout)}"
    path = service.get("path") or "/"
    return f"https://{_service_name(service)}:{service.get('port') or 443}{path}?timeout={_seconds(timeout)}"


def _service_name(service: Object) -> str:
    return f"{service.get('name')}.{service.get('namespace')}.svc"


def _resolve(client: Object, reader: Reader) -> _Target:
    service = client.get("service")
    if service is None:
        parts = urlsplit(client.get("url") or "")
        name, port = parts.hostname or "", parts.port or 443
        host = f"[{name}]" if ":" in name else name
        return _Target(f"{host}:{port}", parts.netloc, name, parts.path or "/")
    namespace, named, port = service.get("namespace") or "", service.get("name") or "", service.get("port") or 443
    found = reader.get(SERVICES, namespace, named)
    if found is None:
        raise _Unreachable(not_found("", "services", named).message.replace("services", "service", 1))
    name = _service_name(service)
    return _Target(_address(found, named, port), f"{name}:{port}", name, service.get("path") or "/")


def _address(service: Object, name: str, port: int) -> str:
    """Through the Service's own address: whoever runs the API server has a route to it."""
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return f"{spec.get('externalName')}:{port}"
    address = spec.get("clusterIP")
    if address in (None, "", "None"):
        raise _Unreachable('cannot route to service with ClusterIP "None"')
    if not any(each.get("port") == port for each in spec.get("ports") or ()):
        raise _Unreachable(f'no service port {port} found for service "{name}"')
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@lru_cache(maxsize=64)
def _context(bundle: str) -> ssl.SSLContext:
    """TLS that trusts a CA bundle, or what the machine trusts where there is none."""
    if not bundle:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=base64.b64decode(bundle).decode())
    except (binascii.Error, ValueError, ssl.SSLError):
        raise _Unreachable("unable to load root certificates: unable to parse bytes as PEM block") from None


def _why(error: BaseException, target: _Target) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _mistrust(error.certificate_error, target)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return f"tls: {error.os_error.strerror or error}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {target.connect.rpartition(':')[0]}: no such host"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"dial tcp {target.connect}: connect: {os.strerror(error.os_error.errno or 0).lower()}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error) or type(error).__name__


def _mistrust(error: Exception, target: _Target) -> str:
    code = getattr(error, "verify_code", 0)
    if code == 62:
        return f"tls: failed to verify certificate: x509: certificate is not valid for {target.name}"
    text = _CERTIFICATE.get(code) or getattr(error, "verify_message", "") or str(error)
    return f"tls: failed to verify certificate: x509: {text}"


def _refused(code: int, body: bytes) -> str:
    """An answer that is no success: in its own words when it is a Status."""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status" and status.get("message"):
        return str(status["message"])
    text = body.decode(errors="replace").strip()[:2048]
    if code in _SAID:
        return _SAID[code]
    if code >= 500:
        return f'an error on the server ("{text or "unknown"}") has prevented the request from succeeding'
    return f"the server responded with the status code {code} but did not return more information"
