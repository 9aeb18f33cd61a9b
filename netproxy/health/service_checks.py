"""Health-check node ports: has a Service with ``externalTrafficPolicy: Local`` endpoints on this node?

A load balancer asks every node on the Service's own port and sends packets only where it is told 200.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from netproxy.health.liveness import Liveness

log = logging.getLogger(__name__)

ADDRESS = "0.0.0.0"  # a balancer may ask any of the node's addresses
NOSNIFF = {"X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class LocalEndpoints:
    """How many endpoints of a Service are ready on this node."""

    namespace: str
    name: str
    count: int


class ServiceChecks:
    """One listening port a Service; which they are follows the Services."""

    def __init__(self, liveness: Liveness) -> None:
        self._liveness = liveness
        self._endpoints: Mapping[int, LocalEndpoints] = {}
        self._sites: dict[int, web.TCPSite] = {}
        self._failed: set[int] = set()
        self._runner: web.AppRunner | None = None

    async def sync(self, wanted: Mapping[int, LocalEndpoints]) -> None:
        """Answer on exactly these ports. One that is taken is named in the log and tried again the next time."""
        self._endpoints = wanted
        for port in self._sites.keys() - wanted.keys():
            await self._sites.pop(port).stop()
        for port in wanted.keys() - self._sites.keys():
            await self._listen(port)
        self._failed &= wanted.keys()

    async def close(self) -> None:
        """Stop answering."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _listen(self, port: int) -> None:
        if self._runner is None:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self._answer)
            self._runner = web.AppRunner(app, access_log=None)
            await self._runner.setup()
        site = web.TCPSite(self._runner, ADDRESS, port, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            if port not in self._failed:
                service = self._endpoints[port]
                log.error("no health check of %s/%s: port %d: %s", service.namespace, service.name, port, error)
            self._failed.add(port)
            return
        self._failed.discard(port)
        self._sites[port] = site

    async def _answer(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        service = self._endpoints.get(request.transport.get_extra_info("sockname")[1])
        if service is None:  # a connection that was open when the Service went
            raise web.HTTPServiceUnavailable
        healthy = self._liveness.healthy
        return web.json_response(
            {
                "service": {"namespace": service.namespace, "name": service.name},
                "localEndpoints": service.count,
                "serviceProxyHealthy": healthy,
            },
            status=200 if service.count and healthy else 503,
            headers={**NOSNIFF, "X-Load-Balancing-Endpoint-Weight": str(service.count)},
        )
