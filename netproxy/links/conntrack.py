"""Forgetting flows that the kernel would go on sending where nobody is any more."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from typing import Any, Protocol

from pyroute2 import Conntrack
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

log = logging.getLogger(__name__)


class Flows(Protocol):
    """UDP flows to one address (any, when empty) and port, answered from one endpoint (any, when empty)."""

    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def endpoint(self) -> str: ...


def forget(flows: Iterable[Flows]) -> int:
    """Remove the matching UDP flows from the kernel's memory; returns how many."""
    wanted: dict[int, list[Flows]] = {}
    for item in flows:
        wanted.setdefault(item.port, []).append(item)
    removed = 0
    udp = NFCTAttrTuple(proto=socket.IPPROTO_UDP)
    with Conntrack() as table:
        for entry in list(table.dump_entries(tuple_orig=udp)):
            there, back = entry.tuple_orig, entry.tuple_reply
            if any(_matches(item, there, back) for item in wanted.get(there.dport or 0, ())):
                try:
                    table.entry("del", tuple_orig=there)
                    removed += 1
                except NetlinkError as error:
                    log.debug("flow not removed: %s", error)
    return removed


def _matches(flows: Flows, there: Any, back: Any) -> bool:
    return flows.address in ("", there.daddr) and flows.endpoint in ("", back.saddr)
