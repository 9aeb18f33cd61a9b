"""What the rules are made of: one port of a Service, and the endpoints behind it. Values read from API objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from shim.api.meta import Object, key_of

SERVICE_NAME = "kubernetes.io/service-name"  # label of an EndpointSlice
OTHER_PROXY = "service.kubernetes.io/service-proxy-name"  # label: somebody else implements this Service


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service that has a virtual address."""

    name: str  # namespace/service:port, as in comments and chain names
    port_name: str
    protocol: str  # tcp, udp or sctp
    cluster_ip: str
    port: int
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()  # of clients of the load balancer; empty admits all
    affinity_seconds: int = 0  # a client stays with its endpoint this long; 0 is no affinity
    internal_local: bool = False
    external_local: bool = False
    health_check_node_port: int = 0

    @property
    def external(self) -> bool:
        """Whether it can be reached at more than the cluster IP."""
        return bool(self.node_port or self.external_ips or self.load_balancer_ips)

    @property
    def uses_cluster(self) -> bool:
        """Whether traffic goes to endpoints of all nodes. External Local needs them too, for clients on the node."""
        return not self.internal_local or self.external

    @property
    def uses_local(self) -> bool:
        return self.internal_local or (self.external_local and self.external)


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address and port behind a Service port."""

    address: str
    port: int
    local: bool  # on this node
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node_hint: bool | None = None  # whether it is meant for clients of this node; None: it does not say
    zone_hint: bool | None = None  # and of this node's zone

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def last_resort(self) -> bool:
        """Shutting down but still answering: better than nothing."""
        return self.serving and self.terminating


def service_ports(service: Object) -> Iterator[ServicePort]:
    """The ports of a Service that this proxy has to implement; none for a headless or external one."""
    spec = service.get("spec") or {}
    cluster_ip = spec.get("clusterIP") or ""
    labels = service["metadata"].get("labels") or {}
    if spec.get("type") == "ExternalName" or cluster_ip in ("", "None") or ":" in cluster_ip or OTHER_PROXY in labels:
        return
    external_local = spec.get("externalTrafficPolicy") == "Local" and spec.get("type") in ("NodePort", "LoadBalancer")
    for port in spec.get("ports") or ():
        port_name = port.get("name") or ""
        yield ServicePort(
            name=f"{key_of(service)}:{port_name}" if port_name else key_of(service),
            port_name=port_name,
            protocol=(port.get("protocol") or "TCP").lower(),
            cluster_ip=cluster_ip,
            port=port["port"],
            node_port=port.get("nodePort") or 0,
            external_ips=_v4(spec.get("externalIPs") or ()),
            load_balancer_ips=_v4(_load_balancer_ips(service)),
            source_ranges=_ranges(spec.get("loadBalancerSourceRanges") or ()),
            affinity_seconds=_affinity(spec),
            internal_local=spec.get("internalTrafficPolicy") == "Local",
            external_local=external_local,
            health_check_node_port=(spec.get("healthCheckNodePort") or 0) if external_local else 0,
        )


def endpoints_of(port: ServicePort, slices: Iterable[Object], node: str, zone: str = "") -> tuple[Endpoint, ...]:
    """The endpoints of a Service port as seen from a node and its zone, in a fixed order, each once."""
    found: dict[str, Endpoint] = {}
    for piece in slices:
        if piece.get("addressType") != "IPv4":
            continue
        for number in _matching_ports(port, piece):
            for item in piece.get("endpoints") or ():
                endpoint = _endpoint(item, number, node, zone)
                known = found.get(str(endpoint))
                if known is None or (endpoint.ready and not known.ready):
                    found[str(endpoint)] = endpoint
    return tuple(sorted(found.values()))


def _matching_ports(port: ServicePort, piece: Object) -> Iterator[int]:
    for item in piece.get("ports") or ():
        same_name = (item.get("name") or "") == port.port_name
        if same_name and (item.get("protocol") or "TCP").lower() == port.protocol and item.get("port"):
            yield item["port"]


def _endpoint(item: Object, port: int, node: str, zone: str) -> Endpoint:
    conditions, hints = item.get("conditions") or {}, item.get("hints") or {}
    ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    return Endpoint(
        address=item["addresses"][0],
        port=port,
        local=item.get("nodeName") == node,
        ready=ready,
        serving=ready if serving is None else serving,
        terminating=bool(conditions.get("terminating")),
        node_hint=_hint(hints.get("forNodes"), node),
        zone_hint=_hint(hints.get("forZones"), zone),
    )


def _hint(meant_for: list[Object] | None, here: str) -> bool | None:
    return any(each["name"] == here for each in meant_for) if meant_for else None


def _affinity(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or 10800)


def _load_balancer_ips(service: Object) -> list[str]:
    """Addresses packets arrive with; a load balancer that connects by itself (mode Proxy) needs no rules."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [item["ip"] for item in ingress if item.get("ip") and item.get("ipMode", "VIP") == "VIP"]


def _v4(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(address for address in addresses if ":" not in address)


def _ranges(texts: Iterable[str]) -> tuple[str, ...]:
    ranges = [IPv4Network(text.strip(), strict=False) for text in texts if ":" not in text]
    return () if any(network.prefixlen == 0 for network in ranges) else tuple(map(str, ranges))
