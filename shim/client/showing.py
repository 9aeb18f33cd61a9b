"""What a part of the control plane shows of itself at a port of its own: whether it is well, and its metrics.

/healthz, /livez and /readyz are for everyone; for the rest the API server says who asks, and whether they may
(https://kubernetes.io/docs/concepts/cluster-administration/system-metrics/).
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from shim.api.status import ApiError, unauthorized
from shim.client.reviews import VERBS, Reviews, User
from shim.client.transport import Client
from shim.codec.exposition import MEDIA, Families, text_of

log = logging.getLogger(__name__)

OPEN = ("/healthz", "/livez", "/readyz")
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Port(Protocol):
    """The settings of a part that say where it shows itself."""

    @property
    def bind_address(self) -> str: ...
    @property
    def secure_port(self) -> int: ...
    @property
    def tls_cert_file(self) -> Path | None: ...
    @property
    def tls_private_key_file(self) -> Path | None: ...
    @property
    def client_ca_file(self) -> Path | None: ...


@asynccontextmanager
async def showing(port: Port, client: Client, families: Callable[[], Iterable[Metric]]) -> AsyncIterator[None]:
    """Show it for the block; nothing is shown without a certificate. ``client`` asks who may."""
    if port.tls_cert_file is None:
        yield
        return
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(port.tls_cert_file, port.tls_private_key_file)
    if port.client_ca_file is not None:
        tls.load_verify_locations(port.client_ca_file)
        tls.verify_mode = ssl.CERT_OPTIONAL  # others have tokens
    runner = web.ServerRunner(web.Server(Shown(client, families).answer, access_log=None), shutdown_timeout=0.5)
    await runner.setup()
    try:
        site = web.TCPSite(runner, port.bind_address, port.secure_port, ssl_context=tls, reuse_address=True)
        try:
            await site.start()
        except OSError as error:  # what this is a part of is worth more than being looked at
            log.error("health and metrics are not shown: %s", error)
        yield
    finally:
        await runner.cleanup()


class Shown:
    """Answers at the port."""

    def __init__(self, client: Client, families: Callable[[], Iterable[Metric]]) -> None:
        self._reviews = Reviews(client)
        self._registry = CollectorRegistry()
        self._registry.register(Families(families))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if request.path not in OPEN:
                await self._require(request)
        except ApiError as error:
            return _refusal(error)
        if request.path in OPEN:
            return web.Response(text="ok")
        if request.path == "/metrics":
            return web.Response(body=text_of(self._registry), headers={"Content-Type": MEDIA})
        return web.Response(status=404, text="404 page not found\n")

    async def _require(self, request: web.BaseRequest) -> None:
        """Raises 401 and 403."""
        user = await self._reviews.user(request)
        if user is None and "Authorization" in request.headers:
            raise unauthorized()
        user = user or ANONYMOUS
        asked = {"path": request.path, "verb": VERBS.get(request.method, request.method.lower())}
        if not await self._reviews.may(user, nonResourceAttributes=asked):
            said = f'forbidden: User "{user.name}" cannot {asked["verb"]} path "{request.path}"'
            raise ApiError(403, "Forbidden", said, {})


def _refusal(error: ApiError) -> web.Response:
    return web.Response(status=error.code, body=orjson.dumps(error.status()), content_type="application/json")
