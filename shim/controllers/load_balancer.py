"""Where is a Service of type LoadBalancer reached from outside? At the addresses of the nodes.

There is no cloud to ask, and none is needed: every node's proxy leads what comes to a node's address, on the Service's
own port, to the Service's pods. A port of the nodes can lead to one Service only: the oldest that asks for it has it.
Services of a ``loadBalancerClass`` are somebody else's.
"""

from __future__ import annotations

from collections.abc import Iterable

from shim.api.conditions import is_true
from shim.api.meta import Object, key_of
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.loop import Context, Controller

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"


def is_balanced(service: Object) -> bool:
    """Whether the Service is ours to give an address to."""
    spec = service["spec"]
    going = service["metadata"].get("deletionTimestamp")
    return bool(spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass") and not going)


def taken_by(service: Object, services: Iterable[Object]) -> tuple[Object, int] | None:
    """The older Service that has one of the ports, and which."""
    mine = _ports(service)
    for other in services:
        if is_balanced(other) and _age(other) < _age(service):
            for port in sorted(mine & _ports(other)):
                return other, port[1]
    return None


def addresses(service: Object, nodes: Iterable[Object]) -> list[Object]:
    """The ingress: of each node that works the address of each of the Service's families."""
    families = service["spec"].get("ipFamilies") or ["IPv4"]
    found = []
    for node in nodes:
        labels, taints = node["metadata"].get("labels") or {}, node["spec"].get("taints") or ()
        if EXCLUDED in labels or not is_true(node, "Ready") or any(each["key"] == TO_BE_DELETED for each in taints):
            continue
        for address in (node.get("status") or {}).get("addresses") or ():
            family = "IPv6" if ":" in address["address"] else "IPv4"
            if address["type"] == "InternalIP" and family in families:
                found.append({"ip": address["address"], "ipMode": "VIP"})
    return sorted(found, key=lambda each: each["ip"])


class LoadBalancerController(Controller):
    """Follows Services and nodes."""

    name = "load-balancer"
    workers = 1

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.services = ctx.informer(r.SERVICES)
        self.nodes = ctx.informer(r.NODES)
        self.services.add_indexer("balanced", lambda service: ["yes"] if is_balanced(service) else [])
        self.recorder = ctx.recorder("service-controller")
        self.services.on_change(self.service_changed)
        self.nodes.on_change(self.node_changed)

    def service_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (is_balanced(new) or (old is not None and is_balanced(old))):
            self.queue.add(key_of(new))
        if old is not None and is_balanced(old) and (new is None or _ports(old) != _ports(new) or not is_balanced(new)):
            self.all_again()  # somebody may have waited for the port

    def node_changed(self, old: Object | None, new: Object | None) -> None:
        if old is None or new is None or addresses(ANY, [old]) != addresses(ANY, [new]):
            self.all_again()

    def all_again(self) -> None:
        for service in self.services.by("balanced", "yes"):
            self.queue.add(key_of(service))

    async def reconcile(self, key: str) -> None:
        service = self.services.get(key)
        if service is None or service["spec"].get("loadBalancerClass"):
            return
        ingress: list[Object] = []
        if is_balanced(service):
            other = taken_by(service, self.services.by("balanced", "yes"))
            if other is not None:
                text = f"Error syncing load balancer: port {other[1]} of the nodes leads to service {key_of(other[0])}"
                self.recorder.event(service, "Warning", "SyncLoadBalancerFailed", text)
            else:
                ingress = addresses(service, self.nodes.list())
        status = service.get("status") or {}
        before = (status.get("loadBalancer") or {}).get("ingress") or []
        if ingress == before:
            return
        if ingress and not before:
            self.recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        wanted = {**status, "loadBalancer": {"ingress": ingress} if ingress else {}}
        try:
            await self.ctx.client.update(r.SERVICES, {**service, "status": wanted}, subresource="status")
        except ApiError as error:
            if error.code != 404:
                raise
            return
        if ingress and not before:
            self.recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")


ANY: Object = {"spec": {"ipFamilies": ["IPv4", "IPv6"]}}


def _ports(service: Object) -> set[tuple[str, int]]:
    return {(port.get("protocol") or "TCP", port["port"]) for port in service["spec"].get("ports") or ()}


def _age(service: Object) -> tuple[str, str]:
    return str(service["metadata"].get("creationTimestamp")), key_of(service)
