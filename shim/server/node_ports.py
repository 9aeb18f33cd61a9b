"""Which node ports are taken, and by whom? A map in the store, cut into parts.

Upstream keeps one bitmap of all ports, so that its writers go one after the other. Here are ``PARTS`` small maps from
port to owner: writers seldom meet in one, however many there are, and a Service with hundreds of ports still changes
few keys (an etcd takes 128 in a transaction). A port is in part ``port % PARTS``, whatever the range.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from shim.api.keys import NODE_PORTS
from shim.api.meta import Object
from shim.server.allocators import DYNAMIC, STATIC, Span, Unavailable, kept_for_the_asking
from shim.store.cache import Also, Cache

PARTS = 32
_BAND = (32, 16, 128)  # divisor, least and most ports kept for those who name one
_BEFORE_STAND_INS = 32768  # a dry run shows the next port where it was left to the server, as upstream's does


class NodePorts:
    """The node ports of all Services."""

    def __init__(self, cache: Cache, port_range: str) -> None:
        self._cache = cache
        self.text = port_range
        low, _, high = port_range.partition("-")
        first, last = int(low), int(high)
        self.span = Span(first, last, kept_for_the_asking(last - first + 1, *_BAND))
        self.given: Counter[tuple[str, ...]] = Counter()
        self.refused: Counter[tuple[str, ...]] = Counter()

    def claims(self, owner: str, *, dry_run: bool = False) -> PortClaims:
        """Begin to take and give back for an owner, ``namespace/name``."""
        return PortClaims(self._cache, self, owner, dry_run)

    def taken(self) -> Iterator[tuple[int, str]]:
        """Every port that is taken, and its owner."""
        for entry in self._cache.range(NODE_PORTS):
            for port, owner in entry.decode()["owners"].items():
                yield int(port), owner


class PortClaims:
    """What one write takes and gives back, on top of what is stored now."""

    def __init__(self, cache: Cache, ports: NodePorts, owner: str, dry_run: bool) -> None:
        self._cache, self._ports, self._owner, self._dry_run = cache, ports, owner, dry_run
        self._parts: dict[int, tuple[Object, int]] = {}  # as it will be, and the revision it was read at
        self._changed: set[int] = set()
        self._highest = 0  # of those this write takes

    def owner(self, port: int) -> str | None:
        """Who has a port."""
        found: str | None = self._part(port)["owners"].get(str(port))
        return found

    def take(self, port: int) -> None:
        """Raises Unavailable; a dry run, as upstream's, does not ask for the range."""
        if not self._dry_run and port not in self._ports.span:
            why = f"provided port is not in the valid range. The range of valid ports is {self._ports.text}"
            raise self._refuse(STATIC, why)
        if self.owner(port) is not None:
            raise self._refuse(STATIC, "provided port is already allocated")
        self._give(STATIC, port)

    def pick(self) -> int:
        """Raises Unavailable."""
        if self._dry_run:
            shown = (self._highest or _BEFORE_STAND_INS) + 1
            self._give(DYNAMIC, shown)
            return shown
        port = self._ports.span.pick(lambda number: self.owner(number) is not None)
        if port is None:
            raise self._refuse(DYNAMIC, "range is full")
        self._give(DYNAMIC, port)
        return port

    def _give(self, scope: str, port: int) -> None:
        self.set(port, self._owner)
        self._highest = max(self._highest, port)
        self._ports.given[(scope,)] += not self._dry_run

    def _refuse(self, scope: str, why: str) -> Unavailable:
        self._ports.refused[(scope,)] += not self._dry_run
        return Unavailable(why)

    def free(self, port: int) -> None:
        """Give back a port, if it is the owner's."""
        if self.owner(port) == self._owner:
            self.set(port, None)

    def set(self, port: int, owner: str | None) -> None:
        """Say whose a port is, whoever has it."""
        owners = self._part(port)["owners"]
        if owner is None:
            owners.pop(str(port), None)
        else:
            owners[str(port)] = owner
        self._changed.add(port % PARTS)

    def also(self) -> list[Also]:
        """The parts of the map that are to be written."""
        changed = ((number, *self._parts[number]) for number in sorted(self._changed))
        return [Also(f"{NODE_PORTS}{number}", obj, revision) for number, obj, revision in changed]

    def _part(self, port: int) -> Object:
        number = port % PARTS
        if number not in self._parts:
            entry = self._cache.get(f"{NODE_PORTS}{number}")
            blank: Object = {"kind": "NodePorts", "metadata": {"name": str(number)}, "owners": {}}
            self._parts[number] = (entry.decode(), entry.revision) if entry else (blank, 0)
        return self._parts[number][0]
