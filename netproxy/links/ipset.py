"""Sets of addresses in the kernel, which rules of iptables ask whether they hold a packet's address.

As all of netlink here, in a thread without a running loop; see :mod:`netproxy.links.netlink`.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable, Iterator
from typing import Any

from pyroute2.ipset import IPSet, IPSetError, PortEntry
from pyroute2.netlink import NETLINK_NETFILTER
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_IPSET
from pyroute2.netlink.nfnetlink.ipset import IPSET_CMD_HEADER, ipset_msg

from netproxy.links import changes

Sets = Any
"""A pyroute2 IPSet; it has no types of its own."""

_PROTOCOL = 6  # of ipset; later kernels speak it, too
LARGEST = 1 << 18  # members of a set; the kernel's own limit of 65,536 is less than the pods a cluster can have


@contextlib.contextmanager
def connect() -> Iterator[Sets]:
    """Talk to the kernel about the sets of this thread's network namespace."""
    sets = IPSet()
    try:
        yield sets
    finally:
        sets.close()


def listed(sets: Sets, prefix: str) -> dict[str, tuple[str, frozenset[str]]]:
    """The sets whose names begin so: name -> kind and members, as ``ipset`` prints them."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for message in list(sets.list()):  # a large set comes in several messages
        name = message.get_attr("IPSET_ATTR_SETNAME")
        if name.startswith(prefix):
            kind = message.get_attr("IPSET_ATTR_TYPENAME")
            entries = message.get_attr("IPSET_ATTR_ADT")
            members = map(_member, entries.get_attrs("IPSET_ATTR_DATA")) if entries else ()
            found[name] = (kind, found.get(name, (kind, frozenset()))[1] | frozenset(members))
    return found


def create(sets: Sets, name: str, kind: str) -> None:
    """Make an empty set (``hash:ip``, ``hash:net`` or ``hash:ip,port``); one that is there stays as it is."""
    with _ignore(errno.EEXIST):
        sets.create(name, stype=kind, maxelem=LARGEST, exclusive=False)


def destroy(sets: Sets, name: str) -> None:
    """Remove a set that no rule asks any more; nothing happens where it is not."""
    with _ignore(errno.ENOENT):
        sets.destroy(name)


def add(sets: Sets, name: str, kind: str, members: Iterable[str]) -> None:
    """Put members in; those that are there already do not matter. Raises OSError where there is no such set."""
    for member in members:
        sets.add(name, _entry(member), etype=kind.removeprefix("hash:"), exclusive=False)


def remove(sets: Sets, name: str, kind: str, members: Iterable[str]) -> None:
    """Take members out; those that are not there do not matter."""
    for member in members:
        sets.delete(name, _entry(member), etype=kind.removeprefix("hash:"), exclusive=False)


def exists(name: str) -> bool:
    """Whether there is a set with this name in this thread's network namespace. Every new pod asks: see ``changes``."""
    told = (("IPSET_ATTR_PROTOCOL", _PROTOCOL), ("IPSET_ATTR_SETNAME", name))
    message = changes.encoded(ipset_msg(), NFNL_SUBSYS_IPSET << 8 | IPSET_CMD_HEADER, 0, told)
    with changes.connect(family=NETLINK_NETFILTER) as kernel:
        try:
            changes.tell(kernel, changes.Change(f"look for set {name}", message))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
    return True


def holds(sets: Sets, name: str, address: str) -> bool:
    """Whether a ``hash:ip`` has this address; a set that is not there has none."""
    try:
        return bool(sets.test(name, address))
    except IPSetError as error:
        if error.code == errno.ENOENT:
            return False
        raise


@contextlib.contextmanager
def _ignore(code: int) -> Iterator[None]:
    try:
        yield
    except IPSetError as error:
        if error.code != code:
            raise


def _entry(member: str) -> Any:
    address, _, port = member.partition(",")
    if not port:
        return address
    protocol, _, number = port.partition(":")
    return address, PortEntry(int(number), protocol=socket.getprotobyname(protocol))


def _member(entry: Any) -> str:
    address = entry.get_attr("IPSET_ATTR_IP_FROM").get_attr("IPSET_ATTR_IPADDR_IPV4")
    port, prefix = entry.get_attr("IPSET_ATTR_PORT_FROM"), entry.get_attr("IPSET_ATTR_CIDR")
    if port is not None:
        return f"{address},{_PROTOCOLS[entry.get_attr('IPSET_ATTR_PROTO')]}:{port}"
    return f"{address}/{prefix}" if prefix not in (None, 32) else str(address)


_PROTOCOLS = {socket.IPPROTO_TCP: "tcp", socket.IPPROTO_UDP: "udp", socket.IPPROTO_SCTP: "sctp"}
