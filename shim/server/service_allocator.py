"""A Service's cluster IP and node ports: which it needs, which it keeps, which it gives back."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from shim.api.meta import Object
from shim.api.schema import Schema
from shim.api.status import ApiError, FieldError, internal, invalid
from shim.resources import causes as wording
from shim.resources import service_families
from shim.resources.service_rules import needs_health_check
from shim.server.allocators import Allocation, Unavailable
from shim.server.node_ports import NodePorts, PortClaims
from shim.server.service_addresses import ServiceAddresses
from shim.store.cache import Also, Cache

NONE = "None"


class ServiceAllocator:
    """Cluster IPs (IPv4) and node ports of Services."""

    def __init__(self, cache: Cache, schema: Schema, port_range: str) -> None:
        self.addresses = ServiceAddresses(cache, schema)
        self.ports = NodePorts(cache, port_range)

    def allocate(self, new: Object, old: Object | None, *, dry_run: bool = False) -> Allocation:
        spec, before = new["spec"], old["spec"] if old is not None else None
        allocation = Allocation()
        claims = self.ports.claims(owner_of(new), dry_run=dry_run)
        try:
            if before is not None:
                _keep_given(spec, before)
            service_families.sync(spec, before)
            if causes := service_families.settle(spec, before):
                raise _refuse(new, causes)
            if _wants_address(spec, before):
                self._allocate_address(allocation, new, dry_run)
            if before is None:
                _allocate_ports(allocation, claims, new)
            else:
                _exchange_ports(allocation, claims, new, before)
        except BaseException:
            allocation.undo()
            raise
        if old is not None and spec.get("type") == "ExternalName":
            given_back = (self.addresses.give_back(address, old) for address in cluster_ips(old))
            allocation.also += filter(None, given_back)
        allocation.also += claims.also()
        return allocation

    def release(self, old: Object) -> list[Also]:
        claims = self.ports.claims(owner_of(old))
        for port in ports_of(old):
            claims.free(port)
        addresses = (self.addresses.give_back(address, old) for address in cluster_ips(old))
        return [*filter(None, addresses), *claims.also()]

    def _allocate_address(self, allocation: Allocation, new: Object, dry_run: bool) -> None:
        spec = new["spec"]
        asked = next(iter(spec.get("clusterIPs") or ()), "")
        try:
            if dry_run:
                address = self.addresses.try_take(asked)
            elif asked:
                address = asked
                allocation.also.append(self.addresses.take(asked, new))
            else:
                address, taken = self.addresses.pick(new)
                allocation.also.append(taken)
        except Unavailable as why:
            if not asked:
                raise internal(f'failed to allocate a serviceIP for Service "{_name(new)}": {why}') from None
            text = f"failed to allocate IP {asked}: {why}"
            raise _refuse(new, [wording.invalid("spec.clusterIPs", spec["clusterIPs"], text)]) from None
        if not asked:
            allocation.fill(spec, "clusterIP", address)
            allocation.fill(spec, "clusterIPs", [address])


def _keep_given(spec: Object, before: Object) -> None:
    """What a Service has been given stays its own where an update leaves it out."""
    if _has_address(spec) and _has_address(before):
        if not spec.get("clusterIP"):
            spec["clusterIP"] = before.get("clusterIP", "")
        if not spec.get("clusterIPs") and before.get("clusterIPs"):
            spec["clusterIPs"] = list(before["clusterIPs"])
    if _has_ports(spec) and _has_ports(before):
        ports, had = spec.get("ports") or [], before.get("ports") or []
        used = {port.get("nodePort") or 0 for port in had} & {port.get("nodePort") or 0 for port in ports}
        known = {port.get("name") or "": port.get("nodePort") for port in had}
        for port in ports:
            kept = known.get(port.get("name") or "")
            if not port.get("nodePort") and kept and kept not in used:
                port["nodePort"] = kept
    checked = before.get("healthCheckNodePort")
    if checked and needs_health_check(spec) and needs_health_check(before):
        spec["healthCheckNodePort"] = spec.get("healthCheckNodePort") or checked


def _wants_address(spec: Object, before: Object | None) -> bool:
    """Whether there is one to be taken: a Service keeps its first for as long as it has one."""
    if not _has_address(spec) or (before is not None and _has_address(before)):
        return False
    return NONE not in (spec.get("clusterIPs") or ())


def _allocate_ports(allocation: Allocation, claims: PortClaims, new: Object) -> None:
    """A new Service's ports of one number share a node port. Raises ApiError."""
    spec = new["spec"]
    ports: list[Object] = spec.get("ports") or [] if _has_ports(spec) else []
    shared: dict[int, int] = {}
    for index, port in enumerate(ports):
        asked, number = port.get("nodePort") or 0, port.get("port") or 0
        if not asked and not _picks_ports(spec):
            continue
        if number not in shared:
            asked = next((p["nodePort"] for p in ports if p.get("nodePort") and (p.get("port") or 0) == number), 0)
            if asked:
                _take(claims, new, index, asked)
                if not port.get("nodePort"):
                    allocation.fill(port, "nodePort", asked)
                port["nodePort"] = asked
            else:
                asked = _pick(claims, "failed to allocate a nodePort")
                allocation.fill(port, "nodePort", asked)
            shared[number] = asked
        elif not asked:
            allocation.fill(port, "nodePort", shared[number])
        elif asked != shared[number]:
            _take(claims, new, index, asked)
    if needs_health_check(spec):
        _allocate_health_port(allocation, claims, spec)


def _exchange_ports(allocation: Allocation, claims: PortClaims, new: Object, before: Object) -> None:
    """Take what an update needs beside what the Service has, and give back what it no longer has. Raises ApiError."""
    spec = new["spec"]
    held = {port["nodePort"] for port in before.get("ports") or () if port.get("nodePort")}
    ports: list[Object] = spec.get("ports") or [] if _has_ports(spec) else []
    taken: set[int] = set()
    seen: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        asked = port.get("nodePort")
        if not asked and not _picks_ports(spec):
            continue
        if not asked:
            allocation.fill(port, "nodePort", _pick(claims, "failed to allocate a nodePort"))
        elif asked not in held and asked not in taken:
            _take(claims, new, index, asked)
            taken.add(asked)
        use = (port.get("protocol") or "", port["nodePort"])
        if use in seen:
            raise ApiError(500, "", f"duplicate nodePort: {{{use[0]} {use[1]}}}")
        seen.add(use)
    for port in held - {port.get("nodePort") for port in ports}:
        claims.free(port)
    if needs_health_check(spec) and not needs_health_check(before):
        _allocate_health_port(allocation, claims, spec)
    elif needs_health_check(before) and not needs_health_check(spec) and before.get("healthCheckNodePort"):
        claims.free(before["healthCheckNodePort"])


def _allocate_health_port(allocation: Allocation, claims: PortClaims, spec: Object) -> None:
    asked = spec.get("healthCheckNodePort")
    if not asked:
        picked = _pick(claims, "failed to allocate a HealthCheck NodePort 0")
        allocation.fill(spec, "healthCheckNodePort", picked)
        return
    try:
        claims.take(asked)
    except Unavailable as why:
        raise internal(f"failed to allocate requested HealthCheck NodePort {asked}: {why}") from None


def _take(claims: PortClaims, new: Object, index: int, asked: int) -> None:
    try:
        claims.take(asked)
    except Unavailable as why:
        raise _refuse(new, [wording.invalid(f"spec.ports[{index}].nodePort", asked, str(why))]) from None


def _pick(claims: PortClaims, failed: str) -> int:
    try:
        return claims.pick()
    except Unavailable as why:
        raise internal(f"{failed}: {why}") from None


def _has_address(spec: Object) -> bool:
    return bool(spec.get("type", "ClusterIP") != "ExternalName")


def _has_ports(spec: Object) -> bool:
    return str(spec.get("type")) in ("NodePort", "LoadBalancer")


def _picks_ports(spec: Object) -> bool:
    """Whether ports that name no node port are given one."""
    return not (spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False)


def _name(service: Object) -> str:
    return str(service["metadata"].get("name", ""))


def owner_of(service: Object) -> str:
    """A Service as its node ports name it."""
    return f"{service['metadata']['namespace']}/{_name(service)}"


def cluster_ips(service: Object) -> list[str]:
    """The IPv4 addresses a Service has, as IPAddresses are named."""
    found = []
    for address in (service.get("spec") or {}).get("clusterIPs") or ():
        try:
            found.append(str(ipaddress.IPv4Address(address)))
        except ValueError:
            continue  # None, or IPv6 from another time
    return found


def ports_of(service: Object) -> Iterator[int]:
    """The node ports a Service has."""
    spec = service.get("spec") or {}
    for port in spec.get("ports") or ():
        if port.get("nodePort"):
            yield port["nodePort"]
    if spec.get("healthCheckNodePort"):
        yield spec["healthCheckNodePort"]


def _refuse(service: Object, causes: list[FieldError]) -> ApiError:
    return invalid("", "Service", _name(service), causes)
