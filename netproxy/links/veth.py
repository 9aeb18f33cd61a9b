"""A pod's interface: a pair of ends, eth0 in the pod's namespace and a port of the bridge outside.

The pod has its address alone (/32) and sends everything to the gateway, its neighbours on the node included. So every
packet is routed, and passes the rules for Services, whether or not this kernel shows bridged packets to iptables.
"""

from __future__ import annotations

import errno
import hashlib
import socket
from collections.abc import Iterable

from netproxy.links import changes, netlink

DOOMED = 0x5348  # interface group of links about to be removed, all in one go


def name_of(sandbox: str) -> str:
    """The outer end's name."""
    return "veth" + hashlib.sha256(sandbox.encode()).hexdigest()[:8]


def attach(sandbox: str, netns: str, bridge: int, address: str, gateway: str, mtu: int) -> None:
    """Give a network namespace its eth0, address and routes. Repeatable."""
    outer = name_of(sandbox)
    with changes.connect() as kernel, changes.connect(netns) as inner:
        if netlink.find(inner, "eth0") is None:
            _remove(kernel, [outer])  # left by an attempt whose namespace is gone
            with open(netns, "rb") as target:
                changes.tell(kernel, _pair(outer, target.fileno(), mtu))
        index, eth0 = netlink.find(kernel, outer), netlink.find(inner, "eth0")
        if index is None or eth0 is None:
            raise OSError(errno.EEXIST, "the namespace has an eth0 that is not ours", netns)
        changes.tell(
            kernel,
            changes.set_link(index, ("IFLA_MASTER", bridge), up=True),
            # where iptables sees bridged packets, a Service can send a pod's packet back through the port it came from
            changes.set_link(index, ("IFLA_LINKINFO", _HAIRPIN)),
        )
        changes.tell(
            inner,
            changes.set_link(1, up=True),  # lo is always the first
            changes.set_address(eth0, address, 32),
            changes.set_link(eth0, up=True),
            changes.set_route(eth0, gateway),
            changes.set_route(eth0, gateway=gateway),
        )


_HAIRPIN = changes.within(
    ("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", changes.within(("IFLA_BRPORT_MODE", 1)))
)


def _pair(outer: str, netns: int, mtu: int) -> changes.Change:
    size = ("IFLA_MTU", mtu)
    peer = changes.within(("IFLA_IFNAME", "eth0"), size, ("IFLA_NET_NS_FD", netns))
    kind = changes.within(("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", changes.within(("VETH_INFO_PEER", peer))))
    return changes.add_link(outer, size, ("IFLA_LINKINFO", kind))


def commands(sandbox: str, netns: str, bridge: str, address: str, gateway: str, mtu: int) -> list[str]:
    """What one would type to do what ``attach`` does. Pure."""
    outer = name_of(sandbox)
    inside = f"nsenter --net={netns} ip"
    return [
        f"ip link add {outer} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {netns}",
        f"ip link set {outer} master {bridge} up",
        f"bridge link set dev {outer} hairpin on",
        f"{inside} addr add {address}/32 dev eth0",
        f"{inside} link set eth0 up",
        f"{inside} route add {gateway} dev eth0 scope link",
        f"{inside} route add default via {gateway} dev eth0",
    ]


def remove(sandboxes: Iterable[str]) -> None:
    """Remove the links of pods; those that are gone already do not matter.

    Removing one link costs some 20 ms of waiting for the kernel's readers, removing a group of them just the same.
    """
    with changes.connect() as kernel:
        _remove(kernel, map(name_of, sandboxes))


def _remove(kernel: socket.socket, names: Iterable[str]) -> None:
    group, gone = ("IFLA_GROUP", DOOMED), (errno.ENODEV,)
    found = [index for name in names if (index := netlink.find(kernel, name)) is not None]
    if found:
        changes.tell(kernel, *(changes.set_link(index, group, passing=gone) for index in found))
        changes.tell(kernel, changes.delete_link(0, group, passing=gone))
