"""Which addresses can a cluster on this machine use? Those that no interface, route or other cluster has."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import NamedTuple

from netproxy.links import netlink


class Ranges(NamedTuple):
    """A cluster's addresses. The first of ``node_cidr`` is the machine itself, on the bridge."""

    node_cidr: str
    pod_cidr: str
    service_cidr: str

    @property
    def machine(self) -> str:
        return str(ip_network(self.node_cidr)[1])


class NoFreeRange(Exception):
    """Every range that could be used is taken."""


def candidates() -> tuple[Iterator[IPv4Network], Iterator[IPv4Network], Iterator[IPv4Network]]:
    """Ranges for nodes, pods and Services in the order of preference; the first of each is what everyone expects."""
    return (
        (IPv4Network(f"172.30.{third}.0/24") for third in range(256)),
        (IPv4Network(f"10.{second}.0.0/16") for second in (*range(244, 256), *range(128, 244))),
        (IPv4Network(f"10.{second}.0.0/16") for second in range(96, 128)),
    )


def choose(taken: Iterable[IPv4Network], kept: tuple[str, str, str] | None = None) -> Ranges:
    """The former ranges where they are still free, else the first free ones. Raises NoFreeRange."""
    used = list(taken)

    def free(network: IPv4Network) -> bool:
        return not any(network.overlaps(other) for other in used)

    if kept and all(free(IPv4Network(cidr)) for cidr in kept):
        return Ranges(*kept)
    chosen = [next((network for network in series if free(network)), None) for series in candidates()]
    if None in chosen:
        raise NoFreeRange("no range is free for " + ("nodes", "pods", "Services")[chosen.index(None)])
    return Ranges(*map(str, chosen))


def taken_on_machine(except_interface: str) -> Iterator[IPv4Network]:
    """Networks that the machine's addresses, routes and name servers use, except those of one interface."""
    with netlink.connect() as kernel:
        skipped = netlink.find(kernel, except_interface)
        for address in kernel.get_addr(family=socket.AF_INET):
            if address["index"] != skipped:
                yield IPv4Network(f"{address.get('address')}/{address['prefixlen']}", strict=False)
        for route in kernel.get_routes(family=socket.AF_INET):
            if route.get("dst") and route["dst_len"] and route.get("oif") != skipped:
                yield IPv4Network(f"{route.get('dst')}/{route['dst_len']}", strict=False)
    yield from _name_servers()


def _name_servers() -> Iterator[IPv4Network]:
    """A name server behind the default route has no route of its own, and must stay reachable."""
    try:
        lines = Path("/etc/resolv.conf").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and ":" not in words[1]:
            yield IPv4Network(words[1])
