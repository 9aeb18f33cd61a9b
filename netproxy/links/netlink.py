"""A connection to the kernel's routing tables and interfaces, and the few look-ups everyone here needs.

A connection runs an event loop of its own: in a thread with a running loop it cannot be made. Use a thread.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from netproxy.links import namespaces

Netlink = Any
"""A pyroute2 IPRoute; it has no types of its own."""

LINK_SCOPE = 253
_SIOCGIFINDEX, _LONGEST_NAME = 0x8933, 15


@contextlib.contextmanager
def connect(netns: Path | str | None = None) -> Iterator[Netlink]:
    """Talk to the kernel about this thread's namespace, or about another one."""
    if netns is None:
        netlink = IPRoute(groups=0)  # no notifications: nobody here would read them
    else:
        with namespaces.inside(netns):
            netlink = IPRoute(groups=0)  # the socket stays in that namespace
    try:
        yield netlink
    finally:
        netlink.close()


def find(netlink: Netlink, name: str) -> int | None:
    """The index of the interface with this name.

    Asked by an ioctl (netdevice(7)), which tells the number alone: for a message pyroute2 would read all there is to
    know of every interface, a millisecond for four of them, and a node has one for each of its pods.
    """
    if len(os.fsencode(name)) > _LONGEST_NAME:
        return None  # the kernel would look for the beginning of it
    request = struct.pack("16si20x", os.fsencode(name), 0)
    try:
        answer = fcntl.ioctl(netlink.fileno(), _SIOCGIFINDEX, request)
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return int(struct.unpack_from("16xi", answer)[0])


def delete(netlink: Netlink, name: str) -> None:
    """Remove an interface; nothing happens where it is not. Takes some 20 ms: the kernel waits for its readers."""
    index = find(netlink, name)
    if index is not None:
        with ignore(errno.ENODEV):
            netlink.link("del", index=index)


def mtu_at(netlink: Netlink, address: str) -> int:
    """What fits through the interface that has this address. Raises LookupError where none has it."""
    for each in netlink.get_addr(family=socket.AF_INET):
        if each.get("address") == address:
            # the loopback takes more than other interfaces can
            return min(int(netlink.get_links(each["index"])[0].get("mtu")), 65535)
    raise LookupError(f"no interface of this node has the address {address}")


def hardware_address(seed: str) -> str:
    """A locally administered address. A bridge without a fixed one takes a port's, and changes it with its ports,
    which its neighbours learn only after seconds."""
    digits = hashlib.sha256(seed.encode()).hexdigest()
    return "02:" + ":".join(digits[at : at + 2] for at in range(0, 10, 2))


@contextlib.contextmanager
def ignore(*codes: int) -> Iterator[None]:
    """Pass over the given errors of the kernel: what is asked for is so already."""
    try:
        yield
    except NetlinkError as error:
        if error.code not in codes:
            raise
