"""Which cluster IPs and node ports are taken? Services get theirs here, and give them back when they go.

What is taken is derived from the Services in the cache at start, and changed with every write of a Service; a
reservation is made before the write and undone when the write fails. Addresses asked for by name and those
picked here come from different bands as long as possible
(https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/), so the two seldom collide.
"""

from __future__ import annotations

import ipaddress
import json
import random
from collections.abc import Iterable
from typing import Any, Protocol

from shim.api.meta import Object
from shim.api.status import ApiError, FieldError, internal, invalid
from shim.store.cache import Cache

NONE = "None"
_IP_BAND = (16, 16, 256)  # divisor, least and most addresses kept for those who name one
_PORT_BAND = (32, 16, 128)


class Reservation:
    """What a write has taken and what it will give back; undone unless the write succeeds."""

    __slots__ = ("_freed", "_pools", "_taken")

    def __init__(self) -> None:
        self._taken: list[tuple[Pool, int]] = []
        self._freed: list[tuple[Pool, int]] = []

    def take(self, pool: Pool, number: int) -> None:
        pool.used.add(number)
        self._taken.append((pool, number))

    def free(self, pool: Pool, number: int) -> None:
        self._freed.append((pool, number))

    def commit(self) -> None:
        for pool, number in self._freed:
            pool.used.discard(number)

    def revert(self) -> None:
        for pool, number in self._taken:
            pool.used.discard(number)


class Allocator(Protocol):
    """Hands out what must be unique among all objects of one resource."""

    def adopt(self, new: Object, old: Object) -> None:
        """Carry over from ``old`` what was allocated and ``new`` leaves out; before validation."""

    def reserve(self, new: Object, old: Object | None) -> Reservation:
        """Fill in what is missing and take it; after validation. Raises 422 when something is taken."""

    def release(self, old: Object) -> None:
        """The object is gone."""


class Pool:
    """A range of numbers of which some are used."""

    def __init__(self, first: int, last: int, band: tuple[int, int, int]) -> None:
        divisor, least, most = band
        size = last - first + 1
        self.first, self.last = first, last
        self.used: set[int] = set()
        kept = min(max(least, size // divisor), most)
        self._dynamic = first + (kept if kept < size else 0)

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last

    def pick(self) -> int | None:
        """A free number: any of the upper band, and of the lower one when that is full; None when all are used."""
        for low, high in ((self._dynamic, self.last), (self.first, self._dynamic - 1)):
            if high < low:
                continue
            for _ in range(16):  # guessing is quick while less than nine tenths are used
                number: int = random.randint(low, high)
                if number not in self.used:
                    return number
            start = random.randint(low, high)
            for number in (*range(start, high + 1), *range(low, start)):
                if number not in self.used:
                    return number
        return None


class ServiceAllocator:
    """Cluster IPs (IPv4) and node ports of Services."""

    def __init__(self, cidr: str, port_range: str) -> None:
        self.network = ipaddress.IPv4Network(cidr)
        base = int(self.network.network_address)
        # the network's own address and its broadcast address are nobody's; the first is the kubernetes Service's
        self.addresses = Pool(base + 1, base + self.network.num_addresses - 2, _IP_BAND)
        low, _, high = port_range.partition("-")
        self.ports = Pool(int(low), int(high), _PORT_BAND)
        self.port_range = port_range

    @property
    def first_address(self) -> str:
        """Of the kubernetes Service: in every pod's environment and in the server's certificate."""
        return str(ipaddress.IPv4Address(self.addresses.first))

    def rebuild(self, cache: Cache) -> None:
        """Read what is taken from the stored Services."""
        self.addresses.used = {self.addresses.first}
        self.ports.used = set()
        for entry in cache.range("/registry/services/"):
            service = entry.decode()
            self.addresses.used.update(_addresses(service))
            self.ports.used.update(_ports(service))

    def adopt(self, new: Object, old: Object) -> None:
        now, before = new.get("spec") or {}, old.get("spec") or {}
        if _has_address(now) and _has_address(before):
            if not now.get("clusterIP"):
                now["clusterIP"] = before.get("clusterIP", "")
            if not now.get("clusterIPs") and now["clusterIP"] == before.get("clusterIP"):
                now["clusterIPs"] = list(before.get("clusterIPs") or ())
            if "ipFamilyPolicy" not in now and "ipFamilyPolicy" in before:
                now["ipFamilyPolicy"] = before["ipFamilyPolicy"]
            if not now.get("ipFamilies") and before.get("ipFamilies"):
                now["ipFamilies"] = list(before["ipFamilies"])
        if _has_ports(now) and _has_ports(before):
            known = {_port_key(port): port.get("nodePort") for port in before.get("ports") or ()}
            named = {port["nodePort"] for port in now.get("ports") or () if port.get("nodePort")}
            for port in now.get("ports") or ():
                kept = known.get(_port_key(port))
                if not port.get("nodePort") and kept and kept not in named:
                    port["nodePort"] = kept
        checked = before.get("healthCheckNodePort")
        if checked and _has_health_port(now) and _has_health_port(before):
            now["healthCheckNodePort"] = now.get("healthCheckNodePort") or checked

    def reserve(self, new: Object, old: Object | None) -> Reservation:
        reservation = Reservation()
        try:
            self._families(new)
            self._take_address(new, old, reservation)
            self._take_ports(new, old, reservation)
        except BaseException:
            reservation.revert()
            raise
        if old is not None:
            for address in set(_addresses(old)) - set(_addresses(new)):
                reservation.free(self.addresses, address)
            for port in set(_ports(old)) - set(_ports(new)):
                reservation.free(self.ports, port)
        return reservation

    def release(self, old: Object) -> None:
        self.addresses.used.difference_update(_addresses(old))
        self.addresses.used.add(self.addresses.first)
        self.ports.used.difference_update(_ports(old))

    def _families(self, service: Object) -> None:
        """Settle ipFamilyPolicy and ipFamilies for a cluster that has IPv4 alone."""
        spec = service["spec"]
        if not _has_address(spec):
            return
        dual_headless = spec.get("clusterIP") == NONE and not spec.get("selector")
        policy = spec.setdefault("ipFamilyPolicy", "RequireDualStack" if dual_headless else "SingleStack")
        families = spec.setdefault("ipFamilies", [])
        if dual_headless:
            if not families:
                families.append("IPv4")
            if len(families) < 2 and policy != "SingleStack":
                families.append("IPv6" if families[0] == "IPv4" else "IPv4")
            return
        causes = []
        if policy == "RequireDualStack":
            text = "this cluster is not configured for dual-stack services"
            causes.append(_invalid("spec.ipFamilyPolicy", policy, text))
        for index, family in enumerate(families):
            if family != "IPv4":
                causes.append(_invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster"))
        if causes:
            raise _refuse(service, causes)
        if not families:
            families.append("IPv4")

    def _take_address(self, new: Object, old: Object | None, reservation: Reservation) -> None:
        spec = new["spec"]
        if not _has_address(spec) or spec.get("clusterIP") == NONE or NONE in (spec.get("clusterIPs") or ()):
            return
        asked = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
        if old is not None and asked and asked in ((old.get("spec") or {}).get("clusterIPs") or ()):
            return
        if not asked:
            picked = self.addresses.pick()
            if picked is None:
                raise internal("failed to allocate a serviceIP: range is full")
            reservation.take(self.addresses, picked)
            asked = str(ipaddress.IPv4Address(picked))
        else:
            number = _number(asked)
            why = ""
            if number is None or number not in self.addresses:
                why = "the provided network does not match the current range"
            elif number in self.addresses.used and not (number == self.addresses.first and _is_kubernetes(new)):
                why = "provided IP is already allocated"
            if number is None or why:
                text = f"failed to allocate IP {asked}: {why}"
                raise _refuse(new, [_invalid("spec.clusterIPs", spec.get("clusterIPs") or [asked], text)])
            reservation.take(self.addresses, number)
        spec["clusterIP"] = asked
        spec["clusterIPs"] = [asked]

    def _take_ports(self, new: Object, old: Object | None, reservation: Reservation) -> None:
        spec = new["spec"]
        held = set(_ports(old)) if old is not None else set()
        if _has_ports(spec) and not (
            spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False
        ):
            wanted: dict[int, set[str]] = {}
            for index, port in enumerate(spec.get("ports") or ()):
                if port.get("nodePort"):
                    protocols = wanted.setdefault(port["nodePort"], set())
                    # one port may serve several protocols of one Service
                    if port["nodePort"] not in held and (not protocols or port.get("protocol") in protocols):
                        self._take_port(new, f"spec.ports[{index}].nodePort", port["nodePort"], reservation)
                    protocols.add(port.get("protocol", "TCP"))
            for port in spec.get("ports") or ():
                if not port.get("nodePort"):
                    port["nodePort"] = self._pick_port(reservation)
        elif _has_ports(spec):
            for index, port in enumerate(spec.get("ports") or ()):
                if port.get("nodePort") and port["nodePort"] not in held:
                    self._take_port(new, f"spec.ports[{index}].nodePort", port["nodePort"], reservation)
        if _has_health_port(spec):
            asked = spec.get("healthCheckNodePort")
            if not asked:
                spec["healthCheckNodePort"] = self._pick_port(reservation)
            elif asked not in held:
                self._take_port(new, "spec.healthCheckNodePort", asked, reservation)

    def _take_port(self, service: Object, field: str, port: int, reservation: Reservation) -> None:
        if port not in self.ports:
            why = f"provided port is not in the valid range. The range of valid ports is {self.port_range}"
        elif port in self.ports.used:
            why = "provided port is already allocated"
        else:
            reservation.take(self.ports, port)
            return
        raise _refuse(service, [_invalid(field, port, why)])

    def _pick_port(self, reservation: Reservation) -> int:
        port = self.ports.pick()
        if port is None:
            raise internal("failed to allocate a nodePort: range is full")
        reservation.take(self.ports, port)
        return port


def _has_address(spec: Object) -> bool:
    return bool(spec.get("type", "ClusterIP") != "ExternalName")


def _has_ports(spec: Object) -> bool:
    return str(spec.get("type")) in ("NodePort", "LoadBalancer")


def _has_health_port(spec: Object) -> bool:
    return str(spec.get("type")) == "LoadBalancer" and str(spec.get("externalTrafficPolicy")) == "Local"


def _is_kubernetes(service: Object) -> bool:
    meta = service["metadata"]
    return (meta.get("namespace"), meta.get("name")) == ("default", "kubernetes")


def _port_key(port: Object) -> tuple[Any, Any]:
    return port.get("protocol", "TCP"), port.get("port")


def _number(address: str) -> int | None:
    try:
        return int(ipaddress.IPv4Address(address))
    except ValueError:
        return None


def _addresses(service: Object) -> Iterable[int]:
    for address in (service.get("spec") or {}).get("clusterIPs") or ():
        if (number := _number(address)) is not None:
            yield number


def _ports(service: Object) -> Iterable[int]:
    spec = service.get("spec") or {}
    for port in spec.get("ports") or ():
        if port.get("nodePort"):
            yield port["nodePort"]
    if spec.get("healthCheckNodePort"):
        yield spec["healthCheckNodePort"]


def _invalid(field: str, value: Any, why: str) -> FieldError:
    shown = json.dumps(value, separators=(",", ":"))
    return FieldError("FieldValueInvalid", field, f"Invalid value: {shown}: {why}")


def _refuse(service: Object, causes: list[FieldError]) -> ApiError:
    return invalid("", "Service", service["metadata"].get("name", ""), causes)
