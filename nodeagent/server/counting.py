"""Every request is counted, by what of the kubelet it asks for."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from nodeagent.kubelet.meters import Meters

_LONG_RUNNING = frozenset({"exec", "attach"})


def counting(meters: Meters, server: str) -> Middleware:
    """``server``: readwrite, or readonly for the port that asks nobody who they are."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = asked_for(request)
        with meters.request(request.method, path, server, path in _LONG_RUNNING):
            return await handler(request)

    return count


def asked_for(request: web.Request) -> str:
    """The first part of the path, of metrics the second too; what there is not is all one."""
    resource = request.match_info.route.resource
    if resource is None:
        return "other"
    first, second, *_ = [*resource.canonical.strip("/").split("/"), "", ""]
    return f"{first}/{second}" if first == "metrics" and second else first
