"""Calls to the members of an etcd cluster: whichever can be reached, with TLS and a user where they are asked for.

- A call goes to the member that answered last; when that cannot be reached, or has lost the others, the next is taken.
- Reads are tried again elsewhere. A write is tried again only if it surely did not happen; otherwise it raises
  OutcomeUnknown: doing it twice, or calling it failed, could both be wrong.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from shim.store.contract import StoreError
from shim.store.etcd.messages import message

log = logging.getLogger(__name__)

CALL = 5.0  # seconds for one call to one member; writes wait for disks of a majority
PATIENCE = 15.0  # seconds after which a call gives up on all members
PAUSE = 0.1  # seconds between rounds through the members
PROGRESS = 2.0  # seconds between questions whether a silent watch is still alive
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
)
_LEADER = ("hasleader", "true")  # a member that has lost its leader says so instead of being silent

_NOT_DONE = ("failed to connect", "etcdserver: no leader", "etcdserver: too many requests")
"""How the errors begin that come before a write was proposed to the members."""
_ELSEWHERE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_UNANSWERED = "context deadline exceeded"  # with the code UNKNOWN, of a leader that hears none of the others any more
Metadata = tuple[tuple[str, str], ...]
ANSWERS = {
    "KV/Range": "RangeResponse",
    "KV/Txn": "TxnResponse",
    "KV/Put": "PutResponse",
    "KV/Compact": "CompactionResponse",
    "Lease/LeaseGrant": "LeaseGrantResponse",
    "Auth/Authenticate": "AuthenticateResponse",
}


class OutcomeUnknown(StoreError):
    """A write was sent and not answered: it may have happened."""


@dataclass(frozen=True, slots=True)
class Access:
    """Which members, and who we are to them."""

    endpoints: tuple[str, ...]  # host:port
    ca: Path | None = None  # of the members; with it, TLS is spoken
    certificate: Path | None = None
    key: Path | None = None
    user: str = ""
    password: str = ""

    @classmethod
    def of(cls, url: str, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> Access:
        """``etcd://[user:password@]host:port,host:port``. Raises StoreError."""
        parts = urlsplit(url)
        credentials, _, hosts = parts.netloc.rpartition("@")
        user, _, password = credentials.partition(":")
        endpoints = tuple(host if ":" in host else f"{host}:2379" for host in hosts.split(",") if host)
        if parts.scheme != "etcd" or not endpoints or parts.path.strip("/") or parts.query:
            raise StoreError(f"{url!r} does not name a store: etcd://host:port,host:port")
        return cls(endpoints, ca, certificate, key, user, password)


class Members:
    """The members of one cluster, as far as they can be reached. Used from one event loop."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._credentials = _tls(access)
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._current = 0
        self._token = ""

    async def read(self, method: str, request: Any) -> Any:
        """A call that may be repeated, such as ``KV/Range``. Raises StoreError when no member answers in time, and
        grpc's own error for what etcd refuses."""
        return await self._call(method, request, _is_lost)

    async def write(self, method: str, request: Any) -> Any:
        """A call that must not be repeated unless it surely did not happen. Raises OutcomeUnknown, StoreError."""
        try:
            return await self._call(method, request, _surely_not_done)
        except grpc.aio.AioRpcError as error:
            if _is_lost(error):
                raise OutcomeUnknown(f"etcd: {error.details()}") from error
            raise

    async def watch(self, create: Any) -> AsyncGenerator[Any, None]:
        """The answers to one watch, and every few seconds of silence one without events: it is alive.

        What revision that one names counts for nothing: members before etcd 3.4.25 send it before events they still
        have to send (https://github.com/etcd-io/etcd/issues/15220). Raises StoreError when the member is lost or falls
        silent: the caller begins again where it was.
        """
        endpoint = self._endpoint()
        try:
            if self._access.user and not self._token:
                await self._authenticate(endpoint)
            stream = self._channel(endpoint).stream_stream(
                "/etcdserverpb.Watch/Watch",
                request_serializer=_serialize,
                response_deserializer=message["WatchResponse"].FromString,
            )(metadata=self._metadata())
            async with aclosing(_answers(stream, create)) as answers:
                async for answer in answers:
                    yield answer
        except grpc.aio.AioRpcError as error:
            self._forget_token(error)
            self._leave(endpoint)
            raise StoreError(f"etcd: watch at {endpoint}: {error.details()}") from error
        except TimeoutError:
            self._leave(endpoint)
            raise StoreError(f"etcd: watch at {endpoint}: it has fallen silent") from None
        except asyncio.InvalidStateError:  # grpc's word for writing to a stream that has ended just now
            self._leave(endpoint)
            raise StoreError(f"etcd: watch at {endpoint}: its stream has ended") from None

    async def close(self) -> None:
        """Let go of all connections."""
        for channel in self._channels.values():
            await channel.close()

    async def _call(self, method: str, request: Any, again: Callable[[grpc.aio.AioRpcError], bool]) -> Any:
        clock = asyncio.get_running_loop().time
        deadline = clock() + PATIENCE
        while True:
            for _ in self._access.endpoints:
                endpoint = self._endpoint()
                try:
                    if self._access.user and not self._token:
                        await self._authenticate(endpoint)
                    return await self._unary(endpoint, method, request, self._metadata())
                except grpc.aio.AioRpcError as error:
                    if self._forget_token(error):
                        continue
                    if not again(error):
                        self._leave(endpoint, if_lost=error)
                        raise
                    log.debug("etcd: %s at %s: %s", method, endpoint, error.details())
                    self._leave(endpoint)
                    last = error
            if clock() > deadline:
                raise StoreError(f"no member of etcd can be used: {last.details()}") from last
            await asyncio.sleep(PAUSE)

    async def _unary(self, endpoint: str, method: str, request: Any, metadata: Metadata) -> Any:
        answer = message[ANSWERS[method]].FromString
        stub = self._channel(endpoint).unary_unary(
            f"/etcdserverpb.{method}", request_serializer=_serialize, response_deserializer=answer
        )
        return await stub(request, timeout=CALL, metadata=metadata)

    def _endpoint(self) -> str:
        return self._access.endpoints[self._current]

    def _leave(self, endpoint: str, if_lost: grpc.aio.AioRpcError | None = None) -> None:
        """Ask another member from now on, unless somebody has changed to another already."""
        if endpoint == self._endpoint() and (if_lost is None or _is_lost(if_lost)):
            self._current = (self._current + 1) % len(self._access.endpoints)

    def _channel(self, endpoint: str) -> grpc.aio.Channel:
        if endpoint not in self._channels:
            if self._credentials is None:
                self._channels[endpoint] = grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
            else:
                self._channels[endpoint] = grpc.aio.secure_channel(endpoint, self._credentials, options=_OPTIONS)
        return self._channels[endpoint]

    def _metadata(self) -> Metadata:
        return (_LEADER, ("token", self._token)) if self._token else (_LEADER,)

    async def _authenticate(self, endpoint: str) -> None:
        request = message["AuthenticateRequest"](name=self._access.user, password=self._access.password)
        self._token = (await self._unary(endpoint, "Auth/Authenticate", request, (_LEADER,))).token

    def _forget_token(self, error: grpc.aio.AioRpcError) -> bool:
        """Whether the error is about a token that has expired; a new one is asked for then."""
        expired = bool(self._token) and "invalid auth token" in (error.details() or "")
        if expired:
            self._token = ""
        return expired


async def _answers(stream: Any, create: Any) -> AsyncGenerator[Any, None]:
    """What a stream brings. Raises TimeoutError when it does not even say that it is alive."""
    reading: asyncio.Future[Any] | None = None
    try:
        await stream.write(message["WatchRequest"](create_request=create))
        while True:
            reading = asyncio.ensure_future(stream.read())
            if not (await asyncio.wait({reading}, timeout=PROGRESS))[0]:
                await stream.write(message["WatchRequest"](progress_request=message["WatchProgressRequest"]()))
                if not (await asyncio.wait({reading}, timeout=CALL))[0]:
                    raise TimeoutError
            answer = reading.result()
            if answer is grpc.aio.EOF:
                raise TimeoutError
            yield answer
    finally:
        stream.cancel()
        if reading is not None:
            await asyncio.gather(reading, return_exceptions=True)


def _is_lost(error: grpc.aio.AioRpcError) -> bool:
    """Whether the member could not do it, so that another may."""
    return error.code() in _ELSEWHERE or error.details() == _UNANSWERED


def _surely_not_done(error: grpc.aio.AioRpcError) -> bool:
    return (error.details() or "").startswith(_NOT_DONE)


def _serialize(request: Any) -> bytes:
    return bytes(request.SerializeToString())


def _tls(access: Access) -> grpc.ChannelCredentials | None:
    if access.ca is None and access.certificate is None:
        return None
    try:
        paths = (access.ca, access.certificate, access.key)
        ca, certificate, key = (path.read_bytes() if path else None for path in paths)
    except OSError as error:
        raise StoreError(f"etcd: {error.filename}: {error.strerror}") from error
    return grpc.ssl_channel_credentials(ca, key, certificate)
