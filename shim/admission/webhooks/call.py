"""How is a webhook reached? By its URL, or by its Service's address; over TLS that its CA bundle vouches for.

Connections are kept and shared.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from shim.admission.request import Reader
from shim.api.meta import GVR, Object, split_api_version
from shim.api.status import not_found
from shim.client.measured import REQUESTS
from shim.client.reach import NowhereToGo, address_of, authority, believing, name_of, why
from shim.resources.webhook_rules import REVIEW_VERSIONS

SERVICES = GVR("", "v1", "services")
"""Versions of the reviews that webhooks are sent."""
AGENT = "kube-apiserver-admission"
_STALE = (aiohttp.ServerDisconnectedError, ConnectionResetError)  # a kept connection that its server has closed
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
        except NowhereToGo as error:
            raise CallError(f'Post "{shown}": {error}') from None
        try:
            async with asyncio.timeout(timeout):
                status, media, body = await self._send(target, context, orjson.dumps(review), timeout)
        except TimeoutError:
            raise CallError(f'Post "{shown}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError) as error:
            raise CallError(f'Post "{shown}": {why(error, target.connect, target.name)}') from None
        if not 200 <= status < 300:
            raise CallError(_refused(status, media, body))
        if not body:
            raise CallError(f"0-length response with status code: {status} and content type: {media}")
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise CallError(f"couldn't get version/kind; json parse error: {error}") from None
        _check_version(review, answer)
        return answer

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(
        self, target: _Target, context: ssl.SSLContext, body: bytes, timeout: float
    ) -> tuple[int, str, bytes]:
        """Code, media type and body of the answer."""
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
            began = time.perf_counter()
            try:
                async with self._session.post(
                    url, data=body, headers=headers, ssl=context, server_hostname=target.name, allow_redirects=False
                ) as answer:
                    read, took = await answer.read(), time.perf_counter() - began
                    REQUESTS.add("POST", target.host, answer.status, took, len(body), len(read))
                    return answer.status, answer.headers.get("Content-Type", ""), read
            except _STALE:
                if fresh:
                    raise
        raise AssertionError("unreachable")


def _seconds(timeout: float) -> str:
    return f"{int(timeout)}s"


def _url(client: Object, timeout: float) -> str:
    """What is called, as the configuration has it."""
    service = client.get("service")
    if service is None:
        return f"{client.get('url') or ''}?timeout={_seconds(timeout)}"
    path, port = service.get("path") or "/", service.get("port") or 443
    name = name_of(service.get("namespace") or "", service.get("name") or "")
    return f"https://{name}:{port}{path}?timeout={_seconds(timeout)}"


def _resolve(client: Object, reader: Reader) -> _Target:
    """Raises NowhereToGo."""
    service = client.get("service")
    if service is None:
        parts = urlsplit(client.get("url") or "")
        name, port = parts.hostname or "", parts.port or 443
        return _Target(authority(name, port), parts.netloc, name, parts.path or "/")
    namespace, named, port = service.get("namespace") or "", service.get("name") or "", service.get("port") or 443
    found = reader.get(SERVICES, namespace, named)
    if found is None:
        raise NowhereToGo(not_found("", "services", named).message.replace("services", "service", 1))
    name = name_of(namespace, named)
    return _Target(authority(address_of(found, port), port), f"{name}:{port}", name, service.get("path") or "/")


@lru_cache(maxsize=64)
def _context(bundle: str) -> ssl.SSLContext:
    """One for all webhooks that are vouched for by the same bundle. Raises NowhereToGo."""
    return believing(bundle)


def _check_version(review: Object, answer: Any) -> None:
    """An answer in another version than the question's is not read. Raises CallError."""
    if not isinstance(answer, dict) or answer.get("kind") != review["kind"]:
        return
    group, asked = split_api_version(str(review["apiVersion"]))
    other, given = split_api_version(str(answer.get("apiVersion") or ""))
    if other == group and given != asked and given in REVIEW_VERSIONS:
        kind = review["kind"]
        raise CallError(f"converting ({given}.{kind}) to ({asked}.{kind}): unknown conversion")


def _refused(code: int, media: str, body: bytes) -> str:
    """An answer that is no success: in its own words when it is a Status."""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status" and status.get("message"):
        return str(status["message"])
    text = body.decode(errors="replace").strip()[:2048] if not media or media.startswith("text/") else ""
    if code in _SAID:
        return _SAID[code]
    if code >= 500:
        return f'an error on the server ("{text or "unknown"}") has prevented the request from succeeding'
    return f"the server responded with the status code {code} but did not return more information"
