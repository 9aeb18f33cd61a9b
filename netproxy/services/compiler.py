"""From Service ports and endpoints to rules. Pure: the same input makes the same rules.

A rule is the text ``iptables-save`` prints for it, without ``-A CHAIN``, so that what the kernel has can be compared
with what is wanted. The way of a packet: KUBE-SERVICES finds the Service by address and port, KUBE-SVC picks one of
its endpoints, KUBE-SEP rewrites the destination. On the way packets are marked (KUBE-MARK-MASQ) whose answers must come
back through this node, and KUBE-POSTROUTING gives those the node's own address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address, ip_network

from netproxy.rules.family import Rules, Ruleset
from netproxy.services import chains
from netproxy.services.model import Endpoint, ServicePort

MASQUERADE_MARK = "0x4000"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rules are for."""

    cluster_cidr: str
    node_ip: str
    answered_here: frozenset[str] = frozenset()
    """Cluster IPs that this node answers on itself while their Service has no endpoints: cluster DNS."""


@dataclass(frozen=True, slots=True)
class PortRules:
    """What one Service port adds to the shared chains, and the chains of its own."""

    services: Rules = ()  # nat KUBE-SERVICES
    node_ports: Rules = ()  # nat KUBE-NODEPORTS
    refused: Rules = ()  # filter KUBE-SERVICES
    refused_outside: Rules = ()  # filter KUBE-EXTERNAL-SERVICES
    firewall: Rules = ()  # filter KUBE-PROXY-FIREWALL
    health_checks: Rules = ()  # filter KUBE-NODEPORTS
    chains: Mapping[str, Rules] = field(default_factory=dict)  # nat


@dataclass(frozen=True, slots=True)
class Reachable:
    """The endpoints packets may go to, by policy."""

    cluster: tuple[Endpoint, ...]
    local: tuple[Endpoint, ...]
    anywhere: bool  # there is one somewhere, though perhaps none that a policy allows here

    @property
    def all(self) -> tuple[Endpoint, ...]:
        return tuple(dict.fromkeys((*self.cluster, *self.local)))


def reachable(port: ServicePort, endpoints: Sequence[Endpoint]) -> Reachable:
    """Ready endpoints; where there are none, those that are shutting down but still answer."""

    def usable(candidates: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        candidates = tuple(candidates)
        ready = tuple(endpoint for endpoint in candidates if endpoint.ready)
        return ready or tuple(endpoint for endpoint in candidates if endpoint.last_resort)

    everywhere = usable(endpoints)
    local = usable(endpoint for endpoint in endpoints if endpoint.local) if port.uses_local else ()
    return Reachable(near(everywhere) if port.uses_cluster else (), local, anywhere=bool(everywhere))


def near(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """Those that hints mean for this node, else for its zone, else all.

    Hints count only where every endpoint has one and one of them is meant for here: better a longer way than a Service
    that seems to have no endpoints (KEP-2433, KEP-4444, KEP-3015).
    """
    for hints in ([each.node_hint for each in endpoints], [each.zone_hint for each in endpoints]):
        if None not in hints and any(hints):
            return tuple(each for each, meant in zip(endpoints, hints, strict=True) if meant)
    return endpoints


def compile_port(port: ServicePort, endpoints: Sequence[Endpoint], place: Place) -> PortRules:
    """All rules of one Service port."""
    there = reachable(port, endpoints)
    inside = there.local if port.internal_local else there.cluster
    outside = there.local if port.external_local else there.cluster
    return PortRules(
        services=_services(port, there, bool(inside)),
        node_ports=_node_port(port, there),
        refused=_refused(port, there, bool(inside), place),
        refused_outside=_refused_outside(port, there, bool(outside)),
        firewall=_not_admitted(port, there),
        health_checks=_health_check(port),
        chains=_chains(port, there, bool(inside), bool(outside), place),
    )


def assemble(ports: Iterable[PortRules]) -> Ruleset:
    """The whole of both tables."""
    nat: dict[str, list[str]] = {chain: [] for chain in chains.FIXED["nat"]}
    filters: dict[str, list[str]] = {chain: [] for chain in chains.FIXED["filter"]}
    own: dict[str, Rules] = {}
    for port in ports:
        nat[chains.SERVICES] += port.services
        nat[chains.NODE_PORTS] += port.node_ports
        filters[chains.SERVICES] += port.refused
        filters[chains.EXTERNAL_SERVICES] += port.refused_outside
        filters[chains.PROXY_FIREWALL] += port.firewall
        filters[chains.NODE_PORTS] += port.health_checks
        own.update(port.chains)
    nat[chains.SERVICES].append(chains.LAST_OF_SERVICES)
    nat[chains.POSTROUTING] += POSTROUTING_RULES
    nat[chains.MARK_MASQ].append(f"-j MARK --set-xmark {MASQUERADE_MARK}/{MASQUERADE_MARK}")
    filters[chains.FORWARD] += FORWARD_RULES
    filters[chains.FIREWALL].append(NO_MARTIANS)
    return {
        "filter": {chain: tuple(rules) for chain, rules in filters.items()},
        "nat": {chain: tuple(rules) for chain, rules in nat.items()} | own,
    }


POSTROUTING_RULES = (
    f"-m mark ! --mark {MASQUERADE_MARK}/{MASQUERADE_MARK} -j RETURN",
    # a packet may come this way again, encapsulated: once is enough
    f"-j MARK --set-xmark {MASQUERADE_MARK}/0x0",
    '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
)
FORWARD_RULES = (
    # an answer that conntrack does not recognise would go out with the pod's address, and make the client reset
    "-m conntrack --ctstate INVALID -j DROP",
    f'-m comment --comment "kubernetes forwarding rules" -m mark --mark {MASQUERADE_MARK}/{MASQUERADE_MARK} -j ACCEPT',
    '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
)
# node ports on 127.0.0.1 need route_localnet, which would open the node's loopback to its neighbours
NO_MARTIANS = (
    '! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" '
    "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
)


# -- what a port adds to the shared chains


def _services(port: ServicePort, there: Reachable, inside: bool) -> Rules:
    rules = []
    if inside:
        policy = chains.local_chain if port.internal_local else chains.service_chain
        chain = policy(port.name, port.protocol)
        rules.append(f"{_to(port, port.cluster_ip, f'{port.name} cluster IP')} -j {chain}")
    if there.anywhere:
        external = chains.external_chain(port.name, port.protocol)
        for address in port.external_ips:
            rules.append(f"{_to(port, address, f'{port.name} external IP')} -j {external}")
        balanced = chains.firewall_chain(port.name, port.protocol) if port.source_ranges else external
        for address in port.load_balancer_ips:
            rules.append(f"{_to(port, address, f'{port.name} loadbalancer IP')} -j {balanced}")
    return tuple(rules)


def _node_port(port: ServicePort, there: Reachable) -> Rules:
    if not port.node_port or not there.anywhere:
        return ()
    proto, chain = port.protocol, chains.external_chain(port.name, port.protocol)
    return (f'-p {proto} -m comment --comment "{port.name}" -m {proto} --dport {port.node_port} -j {chain}',)


def _refused(port: ServicePort, there: Reachable, inside: bool, place: Place) -> Rules:
    if inside or (port.cluster_ip in place.answered_here and not there.anywhere):
        return ()
    return (f"{_to(port, port.cluster_ip, _why(port, there))} {_refusal(port, there)}",)


def _refused_outside(port: ServicePort, there: Reachable, outside: bool) -> Rules:
    if outside:
        return ()
    why, refusal = _why(port, there), _refusal(port, there)
    rules = [f"{_to(port, address, why)} {refusal}" for address in (*port.external_ips, *port.load_balancer_ips)]
    if port.node_port:
        proto = port.protocol
        rules.append(
            f'-p {proto} -m comment --comment "{why}" -m addrtype --dst-type LOCAL '
            f"-m {proto} --dport {port.node_port} {refusal}"
        )
    return tuple(rules)


def _why(port: ServicePort, there: Reachable) -> str:
    return f"{port.name} has no local endpoints" if there.anywhere else f"{port.name} has no endpoints"


def _refusal(port: ServicePort, there: Reachable) -> str:
    # with endpoints on other nodes a load balancer should try those: silence tells it so
    return "-j DROP" if there.anywhere else "-j REJECT --reject-with icmp-port-unreachable"


def _not_admitted(port: ServicePort, there: Reachable) -> Rules:
    if not there.anywhere or not port.source_ranges:
        return ()
    why = f"{port.name} traffic not accepted by {chains.firewall_chain(port.name, port.protocol)}"
    return tuple(f"{_to(port, address, why)} -j DROP" for address in port.load_balancer_ips)


def _health_check(port: ServicePort) -> Rules:
    if not port.health_check_node_port:
        return ()
    comment = f'-m comment --comment "{port.name} health check node port"'
    return (f"-p tcp {comment} -m tcp --dport {port.health_check_node_port} -j ACCEPT",)


def _to(port: ServicePort, address: str, comment: str) -> str:
    proto = port.protocol
    return f'-d {address}/32 -p {proto} -m comment --comment "{comment}" -m {proto} --dport {port.port}'


# -- the chains of a port


def _chains(port: ServicePort, there: Reachable, inside: bool, outside: bool, place: Place) -> dict[str, Rules]:
    service = chains.service_chain(port.name, port.protocol)
    local = chains.local_chain(port.name, port.protocol)
    found: dict[str, Rules] = {}
    # clients outside the pod network, also those that reach this node by a route for Services: the endpoint's answer
    # would go to them past this node, from an address they never asked
    off_cluster = f"! -s {place.cluster_cidr} {_to(port, port.cluster_ip, f'{port.name} cluster IP')}"
    masquerade = (f"{off_cluster} -j {chains.MARK_MASQ}",) if inside else ()
    if there.anywhere and port.external:
        external = chains.external_chain(port.name, port.protocol)
        found[external] = _external(port, outside, service, local, place)
        if port.load_balancer_ips and port.source_ranges:
            found[chains.firewall_chain(port.name, port.protocol)] = _admitted(port, external, place)
    if there.cluster:
        found[service] = (() if port.internal_local else masquerade) + _choice(port, there.cluster)
    if there.local:
        found[local] = (masquerade if port.internal_local else ()) + _choice(port, there.local)
    for endpoint in there.all:
        found[chains.endpoint_chain(port.name, port.protocol, str(endpoint))] = _endpoint(port, endpoint)
    return found


def _external(port: ServicePort, outside: bool, service: str, local: str, place: Place) -> Rules:
    to = f"{port.name} external destinations"
    if not port.external_local:
        return (f'-m comment --comment "masquerade traffic for {to}" -j {chains.MARK_MASQ}', f"-j {service}")
    from_here = "-m addrtype --src-type LOCAL"
    rules = [
        # clients in the cluster need no load balancer: they go to any endpoint
        f'-s {place.cluster_cidr} -m comment --comment "pod traffic for {to}" -j {service}',
        f'-m comment --comment "masquerade LOCAL traffic for {to}" {from_here} -j {chains.MARK_MASQ}',
        f'-m comment --comment "route LOCAL traffic for {to}" {from_here} -j {service}',
    ]
    return (*rules, f"-j {local}") if outside else tuple(rules)


def _admitted(port: ServicePort, external: str, place: Place) -> Rules:
    comment = f'-m comment --comment "{port.name} loadbalancer IP"'
    rules = [f"-s {cidr} {comment} -j {external}" for cidr in port.source_ranges]
    if any(ip_address(place.node_ip) in ip_network(cidr) for cidr in port.source_ranges):
        # where the balancer's address is also the node's, the node's own packets come from it
        rules += [f"-s {address}/32 {comment} -j {external}" for address in port.load_balancer_ips]
    rest = f"other traffic to {port.name} will be dropped by {chains.PROXY_FIREWALL}"
    return (*rules, f'-m comment --comment "{rest}"')


def _choice(port: ServicePort, endpoints: Sequence[Endpoint]) -> Rules:
    """Each endpoint with the same probability: the first of four with 1/4, the next of the other three with 1/3."""
    rules = []
    targets = [(endpoint, chains.endpoint_chain(port.name, port.protocol, str(endpoint))) for endpoint in endpoints]
    if port.affinity_seconds:
        for endpoint, chain in targets:
            recent = f"-m recent --rcheck --seconds {port.affinity_seconds} --reap --name {chain} {_RECENT}"
            rules.append(f'-m comment --comment "{port.name} -> {endpoint}" {recent} -j {chain}')
    for left, (endpoint, chain) in zip(range(len(targets), 0, -1), targets, strict=True):
        chance = f"-m statistic --mode random --probability {_probability(left)} " if left > 1 else ""
        rules.append(f'-m comment --comment "{port.name} -> {endpoint}" {chance}-j {chain}')
    return tuple(rules)


def _endpoint(port: ServicePort, endpoint: Endpoint) -> Rules:
    comment, proto = f'-m comment --comment "{port.name}"', port.protocol
    chain = chains.endpoint_chain(port.name, proto, str(endpoint))
    remember = f"-m recent --set --name {chain} {_RECENT} " if port.affinity_seconds else ""
    return (
        # a pod that reaches itself through its Service would see its own address as the client
        f"-s {endpoint.address}/32 {comment} -j {chains.MARK_MASQ}",
        f"-p {proto} {comment} {remember}-m {proto} -j DNAT --to-destination {endpoint}",
    )


_RECENT = "--mask 255.255.255.255 --rsource"


@cache
def _probability(among: int) -> str:
    """1/n as the kernel keeps it, in 31 bits."""
    return f"{round(0x80000000 / among) / 0x80000000:.11f}"
