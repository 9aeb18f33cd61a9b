"""Where do packets to pods of other nodes go, and those to Services that no rule has sent elsewhere?"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from netproxy.links import netlink, vxlan

OURS = 84  # marks routes as made here (an unassigned protocol number), so that those no longer wanted are found


SERVICES = "services0"
SERVICES_PROTO = 85


def sync_pod_routes(others: Mapping[str, str], own: tuple[str, str] | None) -> None:
    """Make our routes be exactly these: pod CIDR -> address of its node; ``own`` are both of this node, if it is one.

    A node on a link of ours is the gateway to its pods. To one behind a router there is a tunnel; see ``links.vxlan``.
    A node that cannot be reached at all is an error, told after all others have their routes; so is one behind a router
    where there is no end of a tunnel, because this machine has no pod CIDR.
    """
    unreachable: list[str] = []
    with netlink.connect() as kernel:
        near: dict[str, str] = {}
        far: dict[str, str] = {}
        for cidr, address in others.items():
            try:
                (far if _behind_router(kernel, address) else near)[cidr] = address
            except NetlinkError as error:
                unreachable.append(f"{address}: {error.args[-1]}")
        if own is None:
            unreachable += [f"{address} is behind a router" for address in far.values()]
            far = {}
        present = {_destination(route): route.get("gateway") for route in _our_routes(kernel)}
        tunnel = vxlan.ensure(kernel, *own) if far and own else netlink.find(kernel, vxlan.NAME)
        for cidr in present.keys() - near.keys() - far.keys():
            with netlink.ignore(errno.ESRCH):
                kernel.route("del", dst=cidr, proto=OURS)
        for cidr, gateway in near.items():
            if present.get(cidr) != gateway:
                kernel.route("replace", dst=cidr, gateway=gateway, proto=OURS)
        if tunnel is not None:
            vxlan.forget(kernel, tunnel, present.keys() - far.keys())
            for cidr, address in far.items():
                vxlan.lead(kernel, tunnel, cidr, address, OURS)
    if unreachable:
        raise OSError(errno.ENETUNREACH, "; ".join(unreachable))


def hold_services(cidr: str, dns: str, node_ip: str) -> None:
    """Keep packets to Services on this node, and make the cluster DNS's address, if any, its own.

    Rules send packets to known Services elsewhere before this route matters. Without it those to an address that no
    Service has would go to the machine and come back, round and round; here they end, after the rules that refuse
    Services without endpoints. The interface is a bridge without ports: kernels without dummy interfaces have it too.
    """
    with netlink.connect() as kernel:
        if netlink.find(kernel, SERVICES) is None:
            kernel.link("add", ifname=SERVICES, kind="bridge", address=netlink.hardware_address(SERVICES))
        index = netlink.find(kernel, SERVICES)
        kernel.link("set", index=index, state="up")
        if dns:
            with netlink.ignore(errno.EEXIST):
                kernel.addr("add", index=index, address=dns, prefixlen=32)
        kernel.route("replace", dst=cidr, oif=index, scope=netlink.LINK_SCOPE, prefsrc=node_ip, proto=SERVICES_PROTO)


def _behind_router(kernel: netlink.Netlink, address: str) -> bool:
    (route,) = kernel.route("get", dst=address)
    return route.get("gateway") is not None


def _our_routes(kernel: netlink.Netlink) -> list[Any]:
    return [route for route in kernel.get_routes(family=socket.AF_INET) if route["proto"] == OURS]


def _destination(route: Any) -> str:
    return f"{route.get('dst')}/{route['dst_len']}"
