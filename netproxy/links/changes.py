"""Changes of links, addresses and routes that are told to the kernel in one go.

pyroute2 writes each as bytes; a plain socket carries them. Asked one by one, each through pyroute2's own connection and
its event loop, the dozen changes that connect a pod took 4 ms of the processor: together they take less than one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pyroute2.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    NLMSG_ERROR,
)
from pyroute2.netlink.rtnl import (
    RTM_DELLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    rt_proto,
    rt_scope,
    rt_type,
)
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP, ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from netproxy.links import namespaces, netlink

Attributes = Sequence[tuple[str, object]]
"""By pyroute2's names, which are the kernel's; one that holds others has them as ``within`` gives them."""

_MAIN = 254  # the table that routes are looked up in: rtnetlink(7)
_AT_ONCE = 64  # so many answers wait in a socket without any being lost
_ROOM = 8192  # bytes, more than an answer has


class Change(NamedTuple):
    """``what`` is in the error when it fails, unless with one of the numbers in ``passing``."""

    what: str
    message: bytes
    passing: tuple[int, ...] = ()


def connect(netns: Path | str | None = None, family: int = socket.NETLINK_ROUTE) -> socket.socket:
    """To tell changes of this thread's network namespace, or of another one."""
    with namespaces.inside(netns) if netns else contextlib.nullcontext():
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)


def tell(kernel: socket.socket, *changes: Change) -> None:
    """Make the changes, in this order. Raises OSError for the first that failed; those behind it were tried, too."""
    answers: list[int] = []
    for first in range(0, len(changes), _AT_ONCE):
        some = changes[first : first + _AT_ONCE]
        kernel.send(b"".join(change.message for change in some))
        answers += [_answer(kernel) for _ in some]  # it answered each, in order, before the call above returned
    for change, number in zip(changes, answers, strict=True):
        if number and number not in change.passing:
            raise OSError(number, f"{change.what}: {os.strerror(number)}")


def _answer(kernel: socket.socket) -> int:
    while True:
        answer = kernel.recv(_ROOM)
        _, kind, _, _, _, number = struct.unpack_from("=IHHIIi", answer)
        if kind == NLMSG_ERROR:
            return -int(number)


def within(*attributes: tuple[str, object]) -> dict[str, object]:
    """The value of an attribute that holds others."""
    return {"attrs": list(attributes)}


def add_link(name: str, *attributes: tuple[str, object]) -> Change:
    """One that must not be there yet."""
    message = encoded(ifinfmsg(), RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, [("IFLA_IFNAME", name), *attributes])
    return Change(f"add link {name}", message)


def set_link(index: int, *attributes: tuple[str, object], up: bool = False, passing: tuple[int, ...] = ()) -> Change:
    flags = {"flags": IFF_UP, "change": IFF_UP} if up else {}
    return Change(f"set link {index}", encoded(ifinfmsg(), RTM_NEWLINK, 0, attributes, index=index, **flags), passing)


def delete_link(index: int, *attributes: tuple[str, object], passing: tuple[int, ...] = ()) -> Change:
    return Change(f"delete link {index}", encoded(ifinfmsg(), RTM_DELLINK, 0, attributes, index=index), passing)


def set_address(index: int, address: str, prefix: int) -> Change:
    """Give it to a link, unless it has it."""
    told = [("IFA_LOCAL", address), ("IFA_ADDRESS", address)]
    fields = {"family": socket.AF_INET, "prefixlen": prefix, "index": index}
    message = encoded(ifaddrmsg(), RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, told, **fields)
    return Change(f"add address {address}", message)


def set_route(index: int, destination: str = "", gateway: str = "") -> Change:
    """Lead what is for one address, or for all others, through a link: to where it is, or to a gateway."""
    told: list[tuple[str, object]] = [("RTA_OIF", index)]
    told += [("RTA_DST", destination)] if destination else []
    told += [("RTA_GATEWAY", gateway)] if gateway else []
    fields = {
        "family": socket.AF_INET,
        "dst_len": 32 if destination else 0,
        "table": _MAIN,
        "proto": rt_proto["static"],
        "type": rt_type["unicast"],
        "scope": rt_scope["universe"] if gateway else netlink.LINK_SCOPE,
    }
    message = encoded(rtmsg(), RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, told, **fields)
    return Change(f"route to {destination or 'all others'}", message)


def encoded(form: Any, kind: int, how: int, attributes: Attributes, **fields: int) -> bytes:
    """A request of this kind, in one of pyroute2's forms."""
    for name, value in fields.items():
        form[name] = value
    form["attrs"] = list(attributes)
    form["header"].update({"type": kind, "flags": NLM_F_REQUEST | NLM_F_ACK | how, "sequence_number": 0, "pid": 0})
    form.encode()
    return bytes(form.data)
