"""A pod's interface: a pair of ends, eth0 in the pod's namespace and a port of the bridge outside.

The pod has its address alone (/32) and sends everything to the gateway, its neighbours on the node included. So every
packet is routed, and passes the rules for Services, whether or not this kernel shows bridged packets to iptables.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable

from netproxy.links import netlink

DOOMED = 0x5348  # interface group of links about to be removed, all in one go


def name_of(sandbox: str) -> str:
    """The outer end's name."""
    return "veth" + hashlib.sha256(sandbox.encode()).hexdigest()[:8]


def attach(
    kernel: netlink.Netlink, sandbox: str, netns: str, bridge: int, address: str, gateway: str, mtu: int
) -> None:
    """Give a network namespace its eth0, address and routes. Repeatable."""
    outer = name_of(sandbox)
    with netlink.connect(netns) as inner:
        if netlink.find(inner, "eth0") is None:
            netlink.delete(kernel, outer)  # left by an attempt whose namespace is gone
            with open(netns, "rb") as target:
                peer = {"ifname": "eth0", "net_ns_fd": target.fileno(), "mtu": mtu}
                kernel.link("add", ifname=outer, kind="veth", mtu=mtu, peer=peer)
        index = netlink.find(kernel, outer)
        if index is None:
            raise OSError(errno.EEXIST, "the namespace has an eth0 that is not ours", netns)
        kernel.link("set", index=index, master=bridge, state="up")
        # where iptables sees bridged packets, a Service can send a pod's packet back through the port it came from
        kernel.brport("set", index=index, mode=1)
        inner.link("set", index=1, state="up")  # lo is always the first
        eth0 = netlink.find(inner, "eth0")
        with netlink.ignore(errno.EEXIST):
            inner.addr("add", index=eth0, address=address, prefixlen=32)
        inner.link("set", index=eth0, state="up")
        inner.route("replace", dst=f"{gateway}/32", oif=eth0, scope=netlink.LINK_SCOPE)
        inner.route("replace", dst="default", gateway=gateway, oif=eth0)


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


def remove(kernel: netlink.Netlink, sandboxes: Iterable[str]) -> None:
    """Remove the links of pods; those that are gone already do not matter.

    Removing one link costs some 20 ms of waiting for the kernel's readers, removing a group of them just the same.
    """
    doomed = 0
    for sandbox in sandboxes:
        index = netlink.find(kernel, name_of(sandbox))
        if index is not None:
            with netlink.ignore(errno.ENODEV):
                kernel.link("set", index=index, group=DOOMED)
                doomed += 1
    if doomed:
        with netlink.ignore(errno.ENODEV):
            kernel.link("del", index=0, group=DOOMED)
