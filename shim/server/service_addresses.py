"""Which cluster IPs are taken? Those that have an IPAddress, which says whose they are (KEP-1880).

Addresses come from all ServiceCIDRs that are ready and not on their way out, the oldest first: the machine has a route
into that of the cluster's birth.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator
from time import perf_counter
from typing import NamedTuple

from shim.api.apply import update_managed_fields
from shim.api.conditions import find
from shim.api.meta import Object, new_uid, now
from shim.api.schema import Schema
from shim.api.timing import USUAL, Histograms
from shim.server.allocators import DYNAMIC, STATIC, Span, Unavailable, kept_for_the_asking
from shim.server.bootstrap import OURSELVES
from shim.store.cache import Also, Cache

ADDRESSES = "/registry/ipaddresses/"
RANGES = "/registry/servicecidrs/"
FAMILY, MANAGED_BY = "ipaddress.kubernetes.io/ip-family", "ipaddress.kubernetes.io/managed-by"
MANAGER = "ipallocator.k8s.io"
_BAND = (16, 16, 256)  # divisor, least and most addresses kept for those who name one


class Range(NamedTuple):
    """One range of a ServiceCIDR. ``usable``: new Services may get addresses of it."""

    network: ipaddress.IPv4Network
    span: Span
    usable: bool


class ServiceAddresses:
    """The cluster IPs (IPv4) of all Services."""

    def __init__(self, cache: Cache, schema: Schema) -> None:
        self._cache = cache
        self._seen: list[int] = []
        self._ranges: list[Range] = []
        self.given: Counter[tuple[str, ...]] = Counter()
        self.refused: Counter[tuple[str, ...]] = Counter()
        """Addresses that were given, and that were not, by range and by whether they were named."""
        self.took = Histograms(USUAL)
        of_service = {"resource": "services", "namespace": "-", "name": "-"}
        blank = _address("0.0.0.0", of_service)
        self._managed = update_managed_fields(
            None,
            blank,
            definition=schema.for_kind("networking.k8s.io", "v1", "IPAddress"),
            manager=OURSELVES,
        )

    def ranges(self) -> list[Range]:
        """All that ServiceCIDRs name, oldest first. Read anew only when one of them was changed."""
        entries = self._cache.range(RANGES)
        seen = [entry.revision for entry in entries]
        if seen != self._seen:
            objects = sorted((entry.decode() for entry in entries), key=_age)
            self._ranges = [each for obj in objects for each in ranges_of(obj)]
            self._seen = seen
        return self._ranges

    def pick(self, service: Object) -> tuple[str, Also]:
        """A free address, and what takes it. Raises Unavailable."""
        began = perf_counter()
        for each in self.ranges():
            if each.usable:
                number = each.span.pick(lambda number: self._cache.get(ADDRESSES + _text(number)) is not None)
                if number is not None:
                    self._count(each, DYNAMIC, began)
                    return _text(number), self._taken(_text(number), service)
                self.refused[str(each.network), DYNAMIC] += 1
        raise Unavailable("range is full")

    def take(self, address: str, service: Object) -> Also:
        """What takes this address. Raises Unavailable."""
        began, found = perf_counter(), _parsed(address)
        fitting = [each for each in self.ranges() if found and each.usable and int(found) in each.span]
        if not fitting:
            raise Unavailable("the provided network does not match the current range")
        if self._cache.get(ADDRESSES + str(found)) is not None:
            self.refused[str(fitting[0].network), STATIC] += 1
            raise Unavailable("provided IP is already allocated")
        self._count(fitting[0], STATIC, began)
        return self._taken(str(found), service)

    def taken(self) -> Iterator[str]:
        """Every address that is somebody's."""
        for entry in self._cache.range(ADDRESSES):
            if entry.fields["metadata.name"].count(".") == 3:  # and not one of IPv6, which somebody else has made
                yield entry.fields["metadata.name"]

    def try_take(self, address: str) -> str:
        """The address a dry run shows: a stand-in where it was left to the server. Raises Unavailable."""
        ranges = self.ranges()
        if not ranges:
            raise Unavailable("allocator not ready")
        first = ranges[0]
        if not address:
            return str(first.network.network_address)
        found = _parsed(address)
        if found is None or int(found) not in first.span:
            why = f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {first.network}"
            raise Unavailable(why)
        return address

    def give_back(self, address: str, service: Object) -> Also | None:
        """What frees an address of this Service; None when it is not this one's."""
        entry = self._cache.get(ADDRESSES + address)
        if entry is None:
            return None
        obj = entry.decode()
        if not is_for(obj, service):
            return None
        if not obj["metadata"].get("finalizers"):
            return Also(entry.key, None, entry.revision)
        if obj["metadata"].get("deletionTimestamp"):
            return None
        obj["metadata"].update(deletionTimestamp=now(), deletionGracePeriodSeconds=0)
        return Also(entry.key, obj, entry.revision)

    def _count(self, range: Range, scope: str, began: float) -> None:
        self.given[str(range.network), scope] += 1
        self.took[(str(range.network),)].add(perf_counter() - began)

    def _taken(self, address: str, service: Object) -> Also:
        return Also(ADDRESSES + address, self.address_of(address, service), 0)

    def address_of(self, address: str, service: Object) -> Object:
        """The IPAddress of a Service's cluster IP, as it is stored first."""
        obj = _address(address, parent_of(service))
        born = now()
        managed = [{**entry, "time": born} for entry in self._managed or ()]
        obj["metadata"].update(uid=new_uid(), creationTimestamp=born, managedFields=managed)
        return obj


def _address(address: str, parent: Object) -> Object:
    return {
        "kind": "IPAddress",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": address, "labels": {FAMILY: "IPv4", MANAGED_BY: MANAGER}},
        "spec": {"parentRef": parent},
    }


def parent_of(service: Object) -> Object:
    """A Service as its addresses refer to it."""
    metadata = service["metadata"]
    return {"resource": "services", "namespace": metadata["namespace"], "name": metadata["name"]}


def is_for(address: Object, service: Object) -> bool:
    """Whether an IPAddress refers to this Service."""
    found = {name: value for name, value in address["spec"]["parentRef"].items() if value}
    return found == parent_of(service)


def ranges_of(service_cidr: Object) -> list[Range]:
    """The IPv4 ranges of a ServiceCIDR. One that nobody has judged yet is ready."""
    ready = find(service_cidr, "Ready")
    usable = not service_cidr["metadata"].get("deletionTimestamp") and (ready is None or ready.get("status") == "True")
    found = []
    for text in service_cidr["spec"].get("cidrs") or ():
        network = ipaddress.ip_network(text)
        if isinstance(network, ipaddress.IPv4Network):
            found.append(Range(network, span_of(network), usable))
    return found


def span_of(network: ipaddress.IPv4Network) -> Span:
    """The addresses to be had of a range: its first, and the broadcast address, are nobody's."""
    first, size = int(network.network_address), network.num_addresses
    return Span(first + 1, first + size - 2, kept_for_the_asking(size, *_BAND))


def first_address(cidr: str) -> str:
    """Of the kubernetes Service: in every pod's environment and in the server's certificate."""
    return str(ipaddress.IPv4Network(cidr)[1])


def _age(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["creationTimestamp"], obj["metadata"]["name"]


def _text(number: int) -> str:
    return str(ipaddress.IPv4Address(number))


def _parsed(address: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(address)
    except ValueError:
        return None
