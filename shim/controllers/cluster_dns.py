"""Where do clients find the cluster DNS? At the Service ``kube-dns``, behind which stands every node's own name server.

Each node's proxy answers names by itself, on the first address of the node's pod network. Clients are kept to their own
node's by ``PreferSameNode``, and use another's while that is away. Whoever installs a DNS server of their own gives the
Service a selector: then its pods stand behind it, and this controller withdraws.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

from shim.api.conditions import is_true
from shim.api.meta import Object
from shim.client import resource as r
from shim.client.informer import Handler
from shim.controllers.adoption import owner_reference
from shim.controllers.endpointslice_plan import MANAGED_BY, SERVICE_NAME, hints
from shim.controllers.loop import Context, Controller
from shim.controllers.service_pods import is_managed
from shim.controllers.topology_hints import ZONE

NAMESPACE, NAME = "kube-system", "kube-dns"
KEY, SLICE = f"{NAMESPACE}/{NAME}", f"{NAME}-nodes"
MANAGER = "cluster-dns-controller.kubeshim"
NEAR = "PreferSameNode"
PORTS = [
    {"name": "dns", "protocol": "UDP", "port": 53},
    {"name": "dns-tcp", "protocol": "TCP", "port": 53},
]


def service(address: str) -> Object:
    """The Service as add-ons and tools look for it."""
    labels = {"k8s-app": NAME, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    ports = [{**port, "targetPort": port["port"]} for port in PORTS]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {"clusterIP": address, "ports": ports, "trafficDistribution": NEAR},
    }


def endpoints(nodes: Iterable[Object]) -> list[Object]:
    """Each node's name server; one is ready while its node is."""
    found = []
    for node in sorted(nodes, key=lambda node: str(node["metadata"]["name"])):
        cidr = node["spec"].get("podCIDR")
        if not cidr:
            continue
        made: Object = {
            "addresses": [str(ip_network(cidr)[1])],
            "conditions": {"ready": is_true(node, "Ready")},
            "nodeName": node["metadata"]["name"],
        }
        if zone := (node["metadata"].get("labels") or {}).get(ZONE):
            made["zone"] = zone
        found.append({**made, "hints": hints(NEAR, made)})
    return found


class ClusterDnsController(Controller):
    """Keeps the one Service and its one slice."""

    name = "cluster-dns"
    workers = 1

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.nodes = ctx.informer(r.NODES)
        self.services = ctx.informer(r.SERVICES)
        self.slices = ctx.informer(r.ENDPOINTSLICES)
        if ctx.settings.cluster_dns:
            self.queue.add(KEY)
            self.nodes.on_change(self.node_changed)
            self.services.on_change(self.named(NAME))
            self.slices.on_change(self.named(SLICE))

    def node_changed(self, old: Object | None, new: Object | None) -> None:
        if endpoints([old] if old else ()) != endpoints([new] if new else ()):
            self.queue.add(KEY)

    def named(self, name: str) -> Handler:
        """Tell of changes of one object of kube-system."""

        def changed(old: Object | None, new: Object | None) -> None:
            metadata = (new or old or {})["metadata"]
            if (metadata["namespace"], metadata["name"]) == (NAMESPACE, name):
                self.queue.add(KEY)

        return changed

    async def reconcile(self, key: str) -> None:
        client = self.ctx.client
        found = self.services.get(KEY)
        if found is None:
            await client.create(r.SERVICES, service(self.ctx.settings.cluster_dns), NAMESPACE)
            return  # its watch calls again
        present = self.slices.get(f"{NAMESPACE}/{SLICE}")
        if is_managed(found):
            if present is not None:
                await client.delete(r.ENDPOINTSLICES, SLICE, NAMESPACE)
            return
        content = {"addressType": "IPv4", "ports": PORTS, "endpoints": endpoints(self.nodes.list())}
        if present is None:
            metadata = {
                "name": SLICE,
                "namespace": NAMESPACE,
                "labels": {SERVICE_NAME: NAME, MANAGED_BY: MANAGER, "k8s-app": NAME},
                "ownerReferences": [owner_reference(found, "v1", "Service")],
            }
            made = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, **content}
            await client.create(r.ENDPOINTSLICES, made, NAMESPACE)
        elif any(present.get(field) != value for field, value in content.items()):
            await client.update(r.ENDPOINTSLICES, {**present, **content})
