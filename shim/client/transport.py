"""How does a request reach the API server and an answer come back? One method per verb, objects as dictionaries.

- An answer that is not 2xx is raised as ``ApiError``; a server that cannot be reached as ``Unreachable``, one of those.
- A read is repeated when the connection fails; a write only when it cannot have been sent.
- Nothing happens before the first request: a client may be made before its process enters a network namespace.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_exceptions import ClientConnectorError
from yarl import URL

from shim.api.meta import GVR, Object
from shim.api.status import ApiError
from shim.client import kubeconfig
from shim.client.backoff import Backoff
from shim.client.measured import REQUESTS

CONNECTIONS = 16  # requests in flight at once; more only pay for more handshakes with a one-process server
OPENING = 4  # watches that connect at once: a slow server would finish none of many handshakes before we gave up
PATIENCE = 2.0  # seconds a request waits for a server that refuses connections: it may be restarting
OVERLOADED = 5  # answers with Retry-After that are obeyed before the refusal is passed on
TIMEOUT = 60.0  # upstream's default limit of a request in the server
WATCH_TIMEOUT = (300, 600)  # seconds until the server ends a watch, spread so that they never all end together
READ_BUFFER = 1 << 20

PATCH_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
PatchType = Literal["json", "merge", "strategic", "apply"]
Batch = list[tuple[str, Object]]
"""Changes that arrived together."""
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
JSON = "application/json"

_LOST = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError, asyncio.TimeoutError)


class Unreachable(ApiError):
    """The server could not be asked, or did not finish its answer."""

    def __init__(self, server: str, cause: BaseException) -> None:
        super().__init__(503, "ServiceUnavailable", f"{server}: {str(cause) or type(cause).__name__}")


class Client:
    """A client of one API server as one user. Use it in one event loop; close it there."""

    def __init__(self, access: kubeconfig.Access | str, *, user_agent: str = "kubeshim") -> None:
        self.access = kubeconfig.Access(access.rstrip("/")) if isinstance(access, str) else access
        self.server = self.access.server
        if self.access.masters:  # by a name that all of them have certificates for, and _Masters finds them by
            self.server = f"https://kubernetes:{URL(self.access.server).port}"
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        if self.access.token:
            self._headers["Authorization"] = f"Bearer {self.access.token}"
        self._requests: aiohttp.ClientSession | None = None
        self._watches: aiohttp.ClientSession | None = None
        self._opening = asyncio.Semaphore(OPENING)

    @classmethod
    def from_kubeconfig(cls, path: str | Path, *, user_agent: str = "kubeshim") -> Client:
        """The client for the current context of a kubeconfig file, which is read now and never again."""
        return cls(kubeconfig.load(path), user_agent=user_agent)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection. The client may be used again, in another loop too."""
        sessions, self._requests, self._watches = (self._requests, self._watches), None, None
        self._opening = asyncio.Semaphore(OPENING)  # which would belong to this loop
        for session in sessions:
            if session is not None:
                await session.close()

    # One method per verb. ``namespace`` None is the whole cluster for list and watch.

    async def get(self, gvr: GVR, name: str, namespace: str | None = None, *, subresource: str | None = None) -> Object:
        return await self._object("GET", _path(gvr, namespace, name, subresource))

    async def list(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Object:
        """The List object. ``resource_version`` as in the API: empty means the newest, "0" whatever is at hand."""
        query = _query(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            limit=limit,
            resourceVersion=resource_version,
            **{"continue": continue_},
        )
        accept = METADATA_LIST if metadata_only else JSON
        return await self._object("GET", _path(gvr, namespace) + query, accept=accept)

    async def create(
        self,
        gvr: GVR,
        obj: Object,
        namespace: str | None = None,
        *,
        name: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        """POST to the collection, or to a subresource (binding, eviction, token) of ``name``."""
        metadata = obj.get("metadata") or {}
        if subresource and name is None:
            name = metadata["name"]
        path = _path(gvr, namespace or metadata.get("namespace"), name, subresource)
        return await self._object("POST", path, obj)

    async def update(self, gvr: GVR, obj: Object, *, subresource: str | None = None) -> Object:
        metadata = obj["metadata"]
        return await self._object("PUT", _path(gvr, metadata.get("namespace"), metadata["name"], subresource), obj)

    async def patch(
        self,
        gvr: GVR,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        type: PatchType = "merge",
        field_manager: str = "",
        force: bool = False,
    ) -> Object:
        path = _path(gvr, namespace, name, subresource)
        query = _query(fieldManager=field_manager, force="true" if force else "")
        return await self._object("PATCH", path + query, patch, content_type=PATCH_TYPES[type])

    async def delete(
        self,
        gvr: GVR,
        name: str,
        namespace: str | None = None,
        *,
        grace_period: int | None = None,
        propagation: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> Object:
        """What the server answers: the object while it lives on (finalizers, grace), a Status once it is gone."""
        options = _delete_options(grace_period, propagation, uid, resource_version)
        return await self._object("DELETE", _path(gvr, namespace, name), options)

    async def delete_collection(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        grace_period: int | None = None,
        propagation: str | None = None,
    ) -> Object:
        query = _query(labelSelector=label_selector, fieldSelector=field_selector)
        options = _delete_options(grace_period, propagation, None, None)
        return await self._object("DELETE", _path(gvr, namespace) + query, options)

    async def watch(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[tuple[str, Object]]:
        """Each change as (type, object), BOOKMARK included, until the server ends the watch.

        Raises ApiError for an ERROR event (410 Expired), Unreachable when the connection breaks.
        """
        batches = self.watch_batches(
            gvr,
            namespace,
            resource_version=resource_version,
            label_selector=label_selector,
            field_selector=field_selector,
            metadata_only=metadata_only,
        )
        async with aclosing(batches):
            async for batch in batches:
                for event in batch:
                    yield event

    async def watch_batches(
        self,
        gvr: GVR,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> AsyncGenerator[Batch, None]:
        """As :meth:`watch`, with the changes that arrived together in one list; the first is [] once connected."""
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            timeoutSeconds=random.randint(*WATCH_TIMEOUT),
        )
        headers = {"Accept": METADATA if metadata_only else JSON}
        url = URL(self.server + _path(gvr, namespace) + query, encoded=True)
        session = self._session(for_watch=True)
        try:
            async with self._opening:
                answer = await session.get(url, headers=headers, server_hostname=self.access.tls_server_name or None)
            async with answer:
                if answer.status != 200:
                    raise _refusal(answer.status, await answer.read(), answer.headers)
                yield []
                # readany, not readline: an event may be longer than any limit one would set
                rest: list[bytes] = []
                while chunk := await answer.content.readany():
                    head, newline, tail = chunk.rpartition(b"\n")
                    if not newline:
                        rest.append(chunk)
                        continue
                    lines = b"".join((*rest, head)).split(b"\n")
                    rest = [tail] if tail else []
                    yield [_event(line) for line in lines if line]
        except _LOST as error:
            raise Unreachable(self.server, error) from error

    async def raw(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One request as it is, its status and body as they come; Unreachable only when there is no answer."""
        status, data, _ = await self._send(method, path, body, dict(headers or {}))
        return status, data

    async def _object(
        self, method: str, path: str, body: Any = None, *, content_type: str = JSON, accept: str = JSON
    ) -> Object:
        headers = {"Accept": accept}
        data = None
        if body is not None:
            data = orjson.dumps(body)
            headers["Content-Type"] = content_type
        for attempt in range(OVERLOADED + 1):
            status, answer, answer_headers = await self._send(method, path, data, headers)
            if 200 <= status < 300:
                result = orjson.loads(answer)
                assert isinstance(result, dict)
                return result
            refusal = _refusal(status, answer, answer_headers)
            if status not in (429, 503) or "Retry-After" not in answer_headers or attempt == OVERLOADED:
                raise refusal
            await asyncio.sleep(refusal.retry_after or 1)
        raise AssertionError("unreachable")

    async def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes, Mapping[str, str]]:
        url = URL(self.server + path, encoded=True)
        loop = asyncio.get_running_loop()
        give_up = loop.time() + PATIENCE
        backoff = Backoff()
        while True:
            began = loop.time()
            session = self._session()
            try:
                async with session.request(
                    method,
                    url,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    server_hostname=self.access.tls_server_name or None,
                ) as answer:
                    read = await answer.read()
                    REQUESTS.add(method, url.authority, answer.status, loop.time() - began, len(body or b""), len(read))
                    return answer.status, read, answer.headers
            except _LOST as error:
                unsent = isinstance(error, ClientConnectorError)
                if not (unsent or method == "GET") or loop.time() >= give_up or isinstance(error, asyncio.TimeoutError):
                    raise Unreachable(self.server, error) from error
            await backoff.wait()

    def _session(self, *, for_watch: bool = False) -> aiohttp.ClientSession:
        # Watches have connections of their own: they hold one for minutes, and must not use up those for requests.
        if for_watch:
            if self._watches is None:
                self._watches = self._new_session(limit=0, timeout=aiohttp.ClientTimeout(total=None, sock_connect=10))
            return self._watches
        if self._requests is None:
            self._requests = self._new_session(limit=CONNECTIONS, timeout=aiohttp.ClientTimeout(total=TIMEOUT))
        return self._requests

    def _new_session(self, *, limit: int, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=limit,
            ssl=self.access.ssl_context() or False,
            socket_factory=_socket_that_notices,
            keepalive_timeout=75,
            ttl_dns_cache=10,
            resolver=_Masters(self.access.masters) if self.access.masters else None,
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            timeout=timeout,
            read_bufsize=READ_BUFFER,
            cookie_jar=aiohttp.DummyCookieJar(),
        )


def _socket_that_notices(address: Any) -> socket.socket:
    """A socket that ends when its peer vanishes without a word: an idle watch would wait for ever otherwise."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 30_000)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


def _path(gvr: GVR, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
    # Only RBAC names (system:node) and CRD versions hold anything that needs quoting.
    return gvr.path(namespace, quote(name, safe=":") if name else name, subresource)


def _query(**parameters: Any) -> str:
    given = {name: value for name, value in parameters.items() if value}
    return f"?{urlencode(given)}" if given else ""


def _delete_options(
    grace_period: int | None, propagation: str | None, uid: str | None, resource_version: str | None
) -> Object | None:
    options: Object = {}
    if grace_period is not None:
        options["gracePeriodSeconds"] = grace_period
    if propagation is not None:
        options["propagationPolicy"] = propagation
    preconditions = {"uid": uid, "resourceVersion": resource_version}
    if uid or resource_version:
        options["preconditions"] = {name: value for name, value in preconditions.items() if value}
    return {"kind": "DeleteOptions", "apiVersion": "v1", **options} if options else None


class _Masters(AbstractResolver):
    """Says where the API servers are: each connection goes to the first that takes it (RFC 8305)."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in self._addresses
        ]

    async def close(self) -> None:
        """There is nothing to let go of."""


def _event(line: bytes) -> tuple[str, Object]:
    event = orjson.loads(line)
    if event["type"] == "ERROR":
        raise ApiError.from_status(event["object"], 500)
    return event["type"], event["object"]


def _refusal(code: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        error = ApiError.from_status(status, code)
    else:
        error = ApiError(code, "", body.decode(errors="replace").strip() or f"the server answered {code}")
    seconds = headers.get("Retry-After") or ""
    if seconds.isdigit():
        error.retry_after = int(seconds)
    return error
