"""A Service's cluster IP and node ports: which it needs, which it keeps, which it gives back."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from typing import Any

from shim.api.meta import Object
from shim.api.schema import Schema
from shim.api.status import ApiError, FieldError, internal, invalid
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

    def allocate(self, new: Object, old: Object | None, *, dry_run: bool = False) -> Allocation:
        allocation = Allocation()
        try:
            _families(new)
            self._allocate_address(allocation, new, old, dry_run)
            claims = self.ports.claims(owner_of(new), dry_run=dry_run)
            _allocate_ports(allocation, claims, new, old)
        except BaseException:
            allocation.undo()
            raise
        if old is not None:
            for address in set(cluster_ips(old)) - set(cluster_ips(new)):
                if back := self.addresses.give_back(address, old):
                    allocation.also.append(back)
            for port in set(ports_of(old)) - set(ports_of(new)):
                claims.free(port)
        allocation.also += claims.also()
        return allocation

    def release(self, old: Object) -> list[Also]:
        claims = self.ports.claims(owner_of(old))
        for port in ports_of(old):
            claims.free(port)
        addresses = (self.addresses.give_back(address, old) for address in cluster_ips(old))
        return [*filter(None, addresses), *claims.also()]

    def _allocate_address(self, allocation: Allocation, new: Object, old: Object | None, dry_run: bool) -> None:
        spec = new["spec"]
        if not _has_address(spec) or spec.get("clusterIP") == NONE or NONE in (spec.get("clusterIPs") or ()):
            return
        asked = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
        if old is not None and asked and asked in cluster_ips(old):
            return
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
            raise _refuse(new, [_invalid("spec.clusterIPs", spec.get("clusterIPs") or [asked], text)]) from None
        if asked:
            spec["clusterIP"], spec["clusterIPs"] = address, [address]
        else:
            allocation.fill(spec, "clusterIP", address)
            allocation.fill(spec, "clusterIPs", [address])


def _families(service: Object) -> None:
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


def _allocate_ports(allocation: Allocation, claims: PortClaims, new: Object, old: Object | None) -> None:
    """Take what is named, then pick what is missing. Raises ApiError."""
    spec, held = new["spec"], set(ports_of(old)) if old is not None else set()
    ports: list[Object] = spec.get("ports") or [] if _has_ports(spec) else []
    taken: dict[int, set[str]] = {}  # by node port: one may serve several protocols of one Service
    shared: dict[int, int] = {}  # a new Service's ports of one number get one node port
    for index, port in enumerate(ports):
        asked = port.get("nodePort")
        if not asked:
            continue
        protocol = port.get("protocol", "TCP")
        protocols = taken.setdefault(asked, set())
        if asked not in held and (not protocols or protocol in protocols):
            try:
                claims.take(asked)
            except Unavailable as why:
                raise _refuse(new, [_invalid(f"spec.ports[{index}].nodePort", asked, str(why))]) from None
        protocols.add(protocol)
        shared.setdefault(port["port"], asked)
    if not (spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False):
        for port in ports:
            if not port.get("nodePort"):
                picked = shared.get(port["port"]) if old is None else None
                picked = picked or _pick(claims, "failed to allocate a nodePort")
                allocation.fill(port, "nodePort", picked)
                shared[port["port"]] = picked
    if _has_health_port(spec):
        asked = spec.get("healthCheckNodePort")
        if not asked:
            allocation.fill(spec, "healthCheckNodePort", _pick(claims, "failed to allocate a HealthCheck NodePort 0"))
        elif asked not in held:
            try:
                claims.take(asked)
            except Unavailable as why:
                raise internal(f"failed to allocate requested HealthCheck NodePort {asked}: {why}") from None


def _pick(claims: PortClaims, failed: str) -> int:
    try:
        return claims.pick()
    except Unavailable as why:
        raise internal(f"{failed}: {why}") from None


def _has_address(spec: Object) -> bool:
    return bool(spec.get("type", "ClusterIP") != "ExternalName")


def _has_ports(spec: Object) -> bool:
    return str(spec.get("type")) in ("NodePort", "LoadBalancer")


def _has_health_port(spec: Object) -> bool:
    return str(spec.get("type")) == "LoadBalancer" and str(spec.get("externalTrafficPolicy")) == "Local"


def _port_key(port: Object) -> tuple[Any, Any]:
    return port.get("protocol", "TCP"), port.get("port")


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


def _invalid(field: str, value: Any, why: str) -> FieldError:
    shown = json.dumps(value, separators=(",", ":"))
    return FieldError("FieldValueInvalid", field, f"Invalid value: {shown}: {why}")


def _refuse(service: Object, causes: list[FieldError]) -> ApiError:
    return invalid("", "Service", _name(service), causes)
