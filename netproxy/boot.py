"""Everything the network proxy of a node starts; reading begins here.

The process is in the node's network namespace. Its rules, routes and addresses stay when it ends, so that a restart is
unnoticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from netproxy import kept
from netproxy.dns.answers import Answers
from netproxy.dns.follow import follow
from netproxy.dns.forward import Forwarder, machine_servers
from netproxy.dns.server import serve, serve_in_pod_network
from netproxy.dns.zone import Zone
from netproxy.health import proxy_checks
from netproxy.health.liveness import Liveness
from netproxy.health.metrics import Metrics
from netproxy.health.service_checks import ServiceChecks
from netproxy.links import outside, routes
from netproxy.nodes import PodRoutes
from netproxy.policies.enforcer import PolicyEnforcer
from netproxy.policies.tracker import Tracker as PolicyTracker
from netproxy.services.compiler import Place
from netproxy.services.proxy import ServiceProxy
from netproxy.services.tracker import Tracker
from netproxy.settings import NetProxySettings
from shim.client import Client, Informer
from shim.client import resource as r


async def run(settings: NetProxySettings, ready: Callable[[], None]) -> None:
    """Work until cancelled; ``ready`` is called when names resolve and Services are reachable."""
    async with Client.from_kubeconfig(settings.kubeconfig, user_agent="netproxy") as client:
        services = Informer(client, r.SERVICES, keep=kept.service)
        slices = Informer(client, r.ENDPOINTSLICES, keep=kept.endpoint_slice)
        nodes = Informer(client, r.NODES, keep=kept.node)

        place = Place(settings.cluster_cidr, settings.node_ip, answered_here=frozenset({settings.cluster_dns}))
        liveness, metrics = Liveness(), Metrics()
        checks = ServiceChecks(liveness)
        proxy = ServiceProxy(Tracker(services, slices, nodes, settings.node_name, place), checks, liveness, metrics)
        answers = Answers(follow(services, slices, Zone(settings.cluster_domain)))
        forwarder = Forwarder(machine_servers(settings.upstream_dns))
        pod_routes = PodRoutes(nodes, settings.node_name)
        subjects = Informer(client, r.NETWORKPOLICIES), Informer(client, r.PODS), Informer(client, r.NAMESPACES)
        policies = PolicyEnforcer(PolicyTracker(*subjects, node=settings.node_name))

        # in a thread: netlink connections have an event loop of their own
        await asyncio.to_thread(routes.hold_services, settings.service_cidr, settings.cluster_dns, settings.node_ip)
        if settings.masquerade_outside:
            await asyncio.to_thread(outside.masquerade, settings.cluster_cidr)
        async with asyncio.TaskGroup() as tasks:
            for informer in (services, slices, nodes):
                tasks.create_task(informer.run(), name=f"watch {informer.gvr.resource}")
            tasks.create_task(pod_routes.run(), name="routes to pods")
            tasks.create_task(policies.run(), name="network policies")
            await services.synced()
            await slices.synced()
            listening = asyncio.Event()
            dns = serve(settings.cluster_dns, answers, forwarder, listening=listening)
            tasks.create_task(dns, name="cluster DNS")
            endpoint = serve_in_pod_network(nodes, settings.node_name, answers, forwarder)
            tasks.create_task(endpoint, name="cluster DNS as an endpoint")
            await listening.wait()
            asked_at = settings.healthz_bind_address, settings.metrics_bind_address
            async with proxy_checks.serve(liveness, metrics, lambda: nodes.get(settings.node_name), *asked_at):
                await proxy.run(ready)
