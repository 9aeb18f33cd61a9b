"""On a master that is no node: how its API server reaches pods and Services, behind which webhooks and others are.

The machine gets routes to pods and rules of Services as nodes do, and nothing else: no pods, no names, no policies. An
agent that makes it a node does all of this by itself; then nothing is done here. Nodes behind a router are out of
reach: tunnels end at nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from netproxy import kept
from netproxy.health.liveness import Liveness
from netproxy.health.metrics import Metrics
from netproxy.health.service_checks import ServiceChecks
from netproxy.links import routes
from netproxy.nodes import PodRoutes, pod_route
from netproxy.services.compiler import Place
from netproxy.services.proxy import ServiceProxy
from netproxy.services.tracker import Tracker
from netproxy.settings import NetProxySettings
from shim.api.meta import Object
from shim.client import Client, Informer
from shim.client import resource as r

NO_NODE = ""


class IsNode:
    """Whether this machine is a node, by its address."""

    def __init__(self, nodes: Informer, address: str) -> None:
        self._nodes, self._address, self._changed = nodes, address, asyncio.Event()
        nodes.on_change(lambda old, new: self._changed.set())

    async def until(self, wanted: bool) -> None:
        """Wait until it is, or is not."""
        while any(self._is_here(node) for node in self._nodes.list()) is not wanted:
            self._changed.clear()
            await self._changed.wait()

    def _is_here(self, node: Object) -> bool:
        route = pod_route(node)
        return route is not None and route[1] == self._address


async def run(settings: NetProxySettings, ready: Callable[[], None]) -> None:
    """Work until cancelled; ``node_ip`` is the machine's address. Ready at once: it waits for its API server."""
    ready()
    async with Client.from_kubeconfig(settings.kubeconfig, user_agent="netproxy") as client:
        services = Informer(client, r.SERVICES, keep=kept.service)
        slices = Informer(client, r.ENDPOINTSLICES, keep=kept.endpoint_slice)
        nodes = Informer(client, r.NODES, keep=kept.node)
        tracker = Tracker(services, slices, nodes, NO_NODE, Place(settings.cluster_cidr, settings.node_ip))
        pod_routes, is_node = PodRoutes(nodes, NO_NODE), IsNode(nodes, settings.node_ip)
        async with asyncio.TaskGroup() as tasks:
            for informer in (services, slices, nodes):
                tasks.create_task(informer.run(), name=f"watch {informer.gvr.resource}")
            for informer in (services, slices, nodes):
                await informer.synced()
            while True:
                await is_node.until(False)
                work = tasks.create_task(_route(settings, tracker, pod_routes), name="routes of a master")
                await is_node.until(True)
                work.cancel()
                await asyncio.wait({work})


async def _route(settings: NetProxySettings, tracker: Tracker, pod_routes: PodRoutes) -> None:
    """Routes and rules, until cancelled. They stay: whoever comes next finds them."""
    liveness = Liveness()
    checks = ServiceChecks(liveness)
    proxy = ServiceProxy(tracker, checks, liveness, Metrics())  # anew, because others may have written rules since
    await asyncio.to_thread(routes.hold_services, settings.service_cidr, "", settings.node_ip)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pod_routes.run(), name="routes to pods")
            tasks.create_task(proxy.run(lambda: None), name="rules of Services")
    finally:
        await checks.close()
