"""Everything the network proxy of a node starts; reading begins here.

The process is in the node's network namespace. Its rules, routes and addresses stay when it ends, so that a restart is
unnoticed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from netproxy.dns.answers import Answers
from netproxy.dns.directory import Directory
from netproxy.dns.server import serving
from netproxy.dns.upstream import Upstream, servers
from netproxy.dns.zone import Zone
from netproxy.links import routes
from netproxy.nodes import PodRoutes
from netproxy.services.compiler import Place
from netproxy.services.proxy import ServiceProxy
from netproxy.services.tracker import Tracker
from netproxy.settings import NetProxySettings
from shim.client import Client, Informer
from shim.client import resource as r

log = logging.getLogger(__name__)


async def run(settings: NetProxySettings, ready: Callable[[], None]) -> None:
    """Work until cancelled; ``ready`` is called when names resolve and Services are reachable."""
    async with Client.from_kubeconfig(settings.kubeconfig, user_agent="netproxy") as client:
        services = Informer(client, r.SERVICES)
        slices = Informer(client, r.ENDPOINTSLICES)
        nodes = Informer(client, r.NODES)

        place = Place(settings.cluster_cidr, settings.node_ip, answered_here=frozenset({settings.cluster_dns}))
        proxy = ServiceProxy(Tracker(services, slices, settings.node_name, place))
        zone = Zone(Directory(services, slices), settings.cluster_domain, settings.cluster_dns)
        answers = Answers(zone, Upstream(servers(settings.upstream_dns)))
        for informer in (services, slices):
            informer.on_change(lambda old, new: answers.forget())

        await asyncio.to_thread(routes.add_local_address, settings.cluster_dns)  # pyroute2 has a loop of its own
        async with asyncio.TaskGroup() as tasks:
            for informer in (services, slices, nodes):
                tasks.create_task(informer.run(), name=f"watch {informer.gvr.resource}")
            tasks.create_task(PodRoutes(nodes, settings.node_name).run(), name="routes to pods")
            await services.synced()
            await slices.synced()
            async with serving(answers, settings.cluster_dns):
                await proxy.run(ready)
