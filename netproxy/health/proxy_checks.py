"""The proxy's own two ports: its health for load balancers (10256), its metrics for the machine itself (10249)."""

from __future__ import annotations

import contextlib
import datetime
import logging
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from netproxy.health.liveness import Liveness
from netproxy.health.metrics import Metrics
from netproxy.health.service_checks import NOSNIFF
from shim.api.meta import Object

log = logging.getLogger(__name__)

TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"  # taint: a load balancer should stop using the node


def is_eligible(node: Object | None) -> bool:
    """Whether a load balancer may use a node: one that stays."""
    if node is None or node["metadata"].get("deletionTimestamp"):
        return False
    return not any(taint["key"] == TO_BE_DELETED for taint in node["spec"].get("taints") or ())


@contextlib.asynccontextmanager
async def serve(
    liveness: Liveness, metrics: Metrics, node: Callable[[], Object | None], health_address: str, metrics_address: str
) -> AsyncIterator[None]:
    """Answer on both addresses (``IP:PORT``, empty for none) for the block. A taken port is named in the log."""
    started = _now()

    def health(eligible: bool | None) -> web.Response:
        healthy = liveness.healthy and eligible is not False
        now = _now()
        body: Object = {"lastUpdated": now if healthy else started, "currentTime": now}
        if eligible is not None:
            body |= {"nodeEligible": eligible}
        metrics.health_asked(200 if healthy else 503)
        return web.json_response(body, status=200 if healthy else 503, headers=NOSNIFF)

    async def healthz(request: web.Request) -> web.Response:
        return health(is_eligible(node()))

    async def livez(request: web.Request) -> web.Response:
        return health(None)

    async def mode(request: web.Request) -> web.Response:
        return web.Response(text="iptables", headers=NOSNIFF)

    async def shown(request: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": Metrics.CONTENT_TYPE})

    async with contextlib.AsyncExitStack() as stack:
        public = [web.get("/healthz", healthz), web.get("/livez", livez)]
        private = [web.get("/metrics", shown), web.get("/proxyMode", mode), web.get("/healthz", livez)]
        for address, routes in ((health_address, public), (metrics_address, private)):
            if address:
                await _listen(stack, address, routes)
        yield


async def _listen(stack: contextlib.AsyncExitStack, address: str, routes: list[web.RouteDef]) -> None:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    host, _, port = address.rpartition(":")
    try:
        await web.TCPSite(runner, host, int(port), reuse_address=True).start()
    except OSError as error:  # no reason to leave a node without Services
        log.error("not listening on %s: %s", address, error)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
