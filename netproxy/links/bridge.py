"""The bridge all pods of a node are on: its address is the pods' gateway."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Network

from netproxy.links import namespaces, netlink

NAME = "shim0"

SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    # a pod reaches its neighbour through us (see links.veth): do not tell it the shorter way
    "net/ipv4/conf/all/send_redirects": "0",
    f"net/ipv4/conf/{NAME}/send_redirects": "0",
}


def ensure(kernel: netlink.Netlink, cidr: str, mtu: int) -> int:
    """Make the bridge, or adopt the one that is there, with the network's first address. Returns its index."""
    network = IPv4Network(cidr)
    gateway = str(network[1])
    if netlink.find(kernel, NAME) is None:
        kernel.link("add", ifname=NAME, kind="bridge", address=netlink.hardware_address(f"{NAME} {cidr}"))
    index = netlink.find(kernel, NAME)
    assert index is not None
    kernel.link("set", index=index, mtu=mtu, state="up")
    for address in kernel.get_addr(family=socket.AF_INET, index=index):
        if address.get("address") != gateway:
            kernel.addr("del", index=index, address=address.get("address"), prefixlen=address["prefixlen"])
    with netlink.ignore(errno.EEXIST):
        kernel.addr("add", index=index, address=gateway, prefixlen=network.prefixlen)
    for key, value in SYSCTLS.items():
        namespaces.sysctl(key, value)
    return index
