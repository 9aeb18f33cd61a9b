"""The way to nodes that share no link with this one: packets of their pods travel inside UDP (VXLAN, RFC 7348).

A route alone does not do: a router between the nodes knows no pod networks. So the packet is wrapped and sent to the
node's own address, which routers know. What a tunnel end must know of the others is worked out, not announced:

- the end of a node whose pods have 10.244.2.0/24 has the address 10.244.2.0, which no pod gets, and
- the hardware address that this pod network's name gives; see :func:`hardware_address`.

So a route by way of 10.244.2.0, a neighbour entry from there to its hardware address, and a forwarding entry from that
to the node's own address are all there is: no broadcast, nothing learned.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from ipaddress import IPv4Network

from netproxy.links import netlink

NAME = "shim-vxlan"
NETWORK = 1  # the VXLAN's number
PORT = 8472  # Linux' own, from before there was a standard one; flannel's too
OVERHEAD = 50  # bytes around each packet: outer Ethernet 14, IPv4 20, UDP 8, VXLAN 8
ONLINK = 4  # RTNH_F_ONLINK, rtnetlink(7): the gateway is a neighbour although no address of ours says so
PERMANENT = 0x80  # NUD_PERMANENT
SELF = 2  # NTF_SELF: the entry is the interface's own, not its bridge's


def end_of(cidr: str) -> str:
    """The tunnel end's address of the node with these pods."""
    return str(IPv4Network(cidr)[0])


def hardware_address(cidr: str) -> str:
    """That of the tunnel end of the node with these pods; the same on every node that asks."""
    return netlink.hardware_address(f"{NAME} {cidr}")


def ensure(kernel: netlink.Netlink, own_cidr: str, node_ip: str) -> int:
    """Make this node's tunnel end, or adopt the one that is there. Returns its index."""
    index = netlink.find(kernel, NAME)
    if index is not None and kernel.get_links(index)[0].get("address") != hardware_address(own_cidr):
        netlink.delete(kernel, NAME)  # the node has got another pod network
        index = None
    if index is None:
        kernel.link(
            "add",
            ifname=NAME,
            kind="vxlan",
            address=hardware_address(own_cidr),
            vxlan_id=NETWORK,
            vxlan_local=node_ip,
            vxlan_port=PORT,
            vxlan_learning=False,
        )
        index = netlink.find(kernel, NAME)
    assert index is not None
    kernel.link("set", index=index, mtu=netlink.mtu_at(kernel, node_ip) - OVERHEAD, state="up")
    with netlink.ignore(errno.EEXIST):
        kernel.addr("add", index=index, address=end_of(own_cidr), prefixlen=32)
    return index


def lead(kernel: netlink.Netlink, index: int, cidr: str, node_ip: str, proto: int) -> None:
    """Send packets to these pods through the tunnel to their node. Can be repeated."""
    address = hardware_address(cidr)
    kernel.fdb("replace", ifindex=index, lladdr=address, dst=node_ip, flags=SELF, state=PERMANENT)
    kernel.neigh("replace", ifindex=index, family=socket.AF_INET, dst=end_of(cidr), lladdr=address, state=PERMANENT)
    kernel.route("replace", dst=cidr, oif=index, gateway=end_of(cidr), flags=ONLINK, proto=proto)


def forget(kernel: netlink.Netlink, index: int, cidrs: Iterable[str]) -> None:
    """Forget the tunnel ends of nodes that are gone, or are neighbours now."""
    for cidr in cidrs:
        with netlink.ignore(errno.ENOENT):
            kernel.fdb("del", ifindex=index, lladdr=hardware_address(cidr), flags=SELF)
        with netlink.ignore(errno.ENOENT):
            kernel.neigh("del", ifindex=index, family=socket.AF_INET, dst=end_of(cidr))
