"""Routes to the pods of other nodes, and addresses of the node's own on its loopback."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from typing import Any

from netproxy.links import netlink

OURS = 84  # marks routes as made here (an unassigned protocol number), so that those no longer wanted are found


def sync_pod_routes(wanted: Mapping[str, str]) -> None:
    """Make our routes be exactly these: pod CIDR -> address of its node. A node that is not a neighbour is an error."""
    with netlink.connect() as kernel:
        present = {_destination(route): route.get("gateway") for route in _our_routes(kernel)}
        for cidr in present.keys() - wanted.keys():
            with netlink.ignore(errno.ESRCH):
                kernel.route("del", dst=cidr, proto=OURS)
        for cidr, gateway in wanted.items():
            if present.get(cidr) != gateway:
                kernel.route("replace", dst=cidr, gateway=gateway, proto=OURS)


def add_local_address(address: str) -> None:
    """Make an address the node's own, so that a socket can be bound to it and pods find it through their gateway."""
    with netlink.connect() as kernel:
        loopback = netlink.find(kernel, "lo")
        with netlink.ignore(errno.EEXIST):
            kernel.addr("add", index=loopback, address=address, prefixlen=32)
        kernel.link("set", index=loopback, state="up")


def _our_routes(kernel: netlink.Netlink) -> list[Any]:
    return [route for route in kernel.get_routes(family=socket.AF_INET) if route["proto"] == OURS]


def _destination(route: Any) -> str:
    return f"{route.get('dst')}/{route['dst_len']}"
