"""Which remembered UDP flows must be forgotten? Pure.

A TCP client whose endpoint goes is told so and connects again. A UDP client keeps sending, each packet renews the
kernel's memory of where the first one went, and so it would never come to an endpoint that is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netproxy.services.compiler import reachable
from netproxy.services.model import Endpoint, ServicePort
from netproxy.services.tracker import Change


@dataclass(frozen=True, slots=True)
class Flows:
    """UDP flows to one address (any, when empty) and port, answered from one endpoint (any, when empty)."""

    address: str
    port: int
    endpoint: str = ""


def stale_flows(changes: Iterable[Change]) -> set[Flows]:
    """Flows to endpoints that are gone, and those to Services that had none and so were never sent anywhere."""
    stale: set[Flows] = set()
    for before, now in changes:
        current = {port.name: (port, _addresses(port, endpoints)) for port, endpoints in now if port.protocol == "udp"}
        former = {
            port.name: (port, _addresses(port, endpoints)) for port, endpoints in before if port.protocol == "udp"
        }
        for name, (port, had) in former.items():
            has = current[name][1] if name in current else set()
            stale.update(flows for address in had - has for flows in _flows(port, address))
        for name, (port, has) in current.items():
            if has and not (name in former and former[name][1]):
                # not sent on: such a flow's answers would come from the Service's address itself
                stale.update(Flows(address, port.port, address) for address in _virtual(port))
                if port.node_port and name in former:
                    stale.add(Flows("", port.node_port))
    return stale


def _addresses(port: ServicePort, endpoints: tuple[Endpoint, ...]) -> set[str]:
    return {endpoint.address for endpoint in reachable(port, endpoints).all}


def _flows(port: ServicePort, endpoint: str) -> Iterable[Flows]:
    yield from (Flows(address, port.port, endpoint) for address in _virtual(port))
    if port.node_port:
        yield Flows("", port.node_port, endpoint)


def _virtual(port: ServicePort) -> tuple[str, ...]:
    return (port.cluster_ip, *port.external_ips, *port.load_balancer_ips)
