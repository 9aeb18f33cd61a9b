"""A node's network made worse on purpose, and well again: to see what a cluster does about it.

The node's link is ``eth0`` in its namespace. Loss and partition are rules (every kernel has them), delay is netem.
"""

from __future__ import annotations

import errno
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from netproxy import firewall
from netproxy.links import namespaces, netlink

LINK = "eth0"
CHAIN = "SHIM-FAULT"
TABLE = "mangle"
JUMPS = [f"PREROUTING -i {LINK}", f"POSTROUTING -o {LINK}"]
ROOT_HANDLE = 0x10000


class NoSuchFault(Exception):
    """This kernel cannot do it; the message says what it lacks."""


def partition(netns: Path) -> None:
    """Nothing gets to the node or from it."""
    _drop(netns, "-j DROP")


def lose(netns: Path, percent: float) -> None:
    """So many of a hundred packets are lost, in each direction."""
    _drop(netns, f"-m statistic --mode random --probability {percent / 100:.11f} -j DROP")


def delay(netns: Path, milliseconds: int) -> None:
    """Each packet that the node sends is late. Raises NoSuchFault."""
    with netlink.connect(netns) as kernel:
        _undelay(kernel)
        try:
            index = netlink.find(kernel, LINK)
            kernel.tc("add", "netem", index=index, handle=ROOT_HANDLE, delay=milliseconds * 1000)
        except NetlinkError as error:
            if error.code != errno.ENOENT:
                raise
            raise NoSuchFault("this kernel cannot delay packets: it has no netem (module sch_netem)") from error


def heal(netns: Path) -> None:
    """Undo every fault; a node that has none stays as it is."""
    with namespaces.inside(netns):
        firewall.remove_chain(TABLE, CHAIN)
    with netlink.connect(netns) as kernel:
        _undelay(kernel)


def _drop(netns: Path, rule: str) -> None:
    with namespaces.inside(netns):
        firewall.set_chain(TABLE, CHAIN, [rule], JUMPS)


def _undelay(kernel: netlink.Netlink) -> None:
    with netlink.ignore(errno.ENOENT, errno.EINVAL):  # there is none
        kernel.tc("del", index=netlink.find(kernel, LINK), handle=ROOT_HANDLE, root=True)
