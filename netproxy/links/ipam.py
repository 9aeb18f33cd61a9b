"""Which pod has which address of the node's network? Kept in a file, so that a restarted agent knows.

- An address is held by at most one sandbox; it is free again only when that sandbox has given it back.
- Addresses never used come first, then those unused for longest, so that a stale peer talks to nobody, not a stranger.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

Port = tuple[int, int, str, str]
"""Host port, container port, protocol, host address."""


class NoFreeAddress(Exception):
    """All addresses of the node's network are in use."""


@dataclass(slots=True)
class Lease:
    """What a sandbox holds."""

    address: str
    ports: list[Port] = field(default_factory=list)


class Leases:
    """The addresses of one node. The network's first address is the bridge's and is never given out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.cidr = ""
        self.held: dict[str, Lease] = {}
        self._freed: list[str] = []  # the longest unused first
        self._next = 2  # offset of the first address that was never used
        self._read()

    @property
    def gateway(self) -> str:
        return str(IPv4Network(self.cidr)[1])

    def use(self, cidr: str) -> None:
        """Give out addresses of this network from now on; what is held of a former one stays held."""
        if cidr != self.cidr:
            self.cidr, self._freed, self._next = cidr, [], 2
            self._write()

    def acquire(self, sandbox: str, ports: list[Port]) -> Lease:
        """The sandbox's lease; the same one when it has one already. Raises NoFreeAddress."""
        lease = self.held.get(sandbox)
        if lease is None:
            lease = Lease(self._free_address(), ports)
            self.held[sandbox] = lease
        elif lease.ports == ports:
            return lease
        lease.ports = ports
        self._write()
        return lease

    def release(self, sandbox: str) -> Lease | None:
        """Take the lease back; None where there is none."""
        lease = self.held.pop(sandbox, None)
        if lease is not None:
            self._freed.append(lease.address)
            self._write()
        return lease

    def _free_address(self) -> str:
        network = IPv4Network(self.cidr)
        held = {lease.address for lease in self.held.values()}
        while self._next < network.num_addresses - 1:  # the last one is the broadcast address
            address = str(network[self._next])
            self._next += 1
            if address not in held:
                return address
        while self._freed:
            address = self._freed.pop(0)
            if address not in held and IPv4Network(address).subnet_of(network):
                return address
        raise NoFreeAddress(f"all {network.num_addresses - 3} addresses of {self.cidr} are in use")

    def _read(self) -> None:
        try:
            content: dict[str, Any] = json.loads(self._path.read_text())
        except FileNotFoundError:
            return
        self.cidr, self._freed, self._next = content["cidr"], content["freed"], content["next"]
        for sandbox, lease in content["held"].items():
            self.held[sandbox] = Lease(lease["address"], [(*port,) for port in lease["ports"]])

    def _write(self) -> None:
        held = {name: {"address": lease.address, "ports": lease.ports} for name, lease in self.held.items()}
        content = {"cidr": self.cidr, "next": self._next, "freed": self._freed, "held": held}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(content))
        draft.replace(self._path)
