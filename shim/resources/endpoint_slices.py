"""EndpointSlices: a part of a Service's endpoints, small enough to be sent whenever one of them changes (KEP-752)."""

from __future__ import annotations

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.addresses import canonical_ip, endpoint_ip, ip_address, ip_warnings, parse
from shim.resources.causes import (
    IMMUTABLE,
    duplicate,
    invalid,
    named,
    one_of,
    required,
    too_many,
    unsupported,
)
from shim.resources.metadata import NameRule
from shim.resources.pods.containers import PROTOCOLS
from shim.resources.strategy import Check, Strategy

_MAX_ENDPOINTS = 1000
_MAX_ADDRESSES = 100
_MAX_PORTS = 20000
_MAX_HINTS = 8
_MANAGERS = ("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")
_HOST = "kubernetes.io/hostname"


class EndpointSliceStrategy(Strategy):
    update_checks = (Check.METADATA, Check.CHANGE)
    counts_as_sent = True

    def default(self, obj: Object) -> None:
        for port in obj.get("ports") or ():
            if port.get("name") is None:
                port["name"] = ""
            if port.get("protocol") is None:
                port["protocol"] = "TCP"
        for endpoint in obj.get("endpoints") or ():
            if endpoint.get("conditions") is None:
                endpoint["conditions"] = {}

    def prepare_for_create(self, obj: Object) -> None:
        _drop_topology(obj, {})

    def prepare_for_update(self, new: Object, old: Object) -> None:
        if new.get("endpoints") != old.get("endpoints"):
            _drop_topology(new, old)

    def desired_changed(self, new: Object, old: Object) -> bool:
        """Labels say which Service a slice belongs to: they count as well."""
        labels = [of["metadata"].get("labels") or {} for of in (new, old)]
        return labels[0] != labels[1] or super().desired_changed(new, old)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return _kind_and_ports(obj) + _endpoints(obj)

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        causes = _kind_and_ports(new)
        if new.get("endpoints") != old.get("endpoints"):  # old servers took more, which may stay
            causes += _endpoints(new)
        kind = new.get("addressType") or ""
        if kind != (old.get("addressType") or ""):
            causes.append(invalid("addressType", kind, IMMUTABLE))
        return causes

    def warnings(self, obj: Object) -> list[str]:
        deprecated = obj.get("addressType") == "FQDN"
        found = ["spec.addressType: FQDN endpoints are deprecated"] if deprecated else []
        return found + self.update_warnings(obj, obj)

    def update_warnings(self, new: Object, old: Object) -> list[str]:
        labels = new["metadata"].get("labels") or {}
        if labels.get("endpointslice.kubernetes.io/managed-by") in _MANAGERS:
            return []  # they only repeat what others wrote
        return [
            text
            for index, endpoint in enumerate(new.get("endpoints") or ())
            for place, address in enumerate(endpoint.get("addresses") or ())
            for text in ip_warnings(f"endpoints[{index}].addresses[{place}]", address)
        ]


def _drop_topology(new: Object, old: Object) -> None:
    """The topology of v1beta1 cannot be written any more; a node named there alone is kept under its new name."""
    known = {(each.get("deprecatedTopology") or {}).get(_HOST) for each in old.get("endpoints") or ()}
    for endpoint in new.get("endpoints") or ():
        node = (endpoint.pop("deprecatedTopology", None) or {}).get(_HOST)
        if node and node in known and endpoint.get("nodeName") is None and not names.dns1123_subdomain(node):
            endpoint["nodeName"] = node


def _kind_and_ports(obj: Object) -> list[FieldError]:
    kind, ports = obj.get("addressType") or "", obj.get("ports") or []
    causes = one_of("addressType", kind, ("FQDN", "IPv4", "IPv6")) if kind else [required("addressType")]
    if len(ports) > _MAX_PORTS:
        return [*causes, too_many("ports", len(ports), _MAX_PORTS)]
    seen: set[str] = set()
    for index, port in enumerate(ports):
        at, name = f"ports[{index}]", port.get("name") or ""
        if name:
            causes += named(f"{at}.name", name, names.dns1123_label)
        if name in seen:
            causes.append(duplicate(f"{at}.name", name))
        seen.add(name)
        if port.get("protocol") not in PROTOCOLS:
            causes.append(unsupported(f"{at}.protocol", port.get("protocol") or "", PROTOCOLS))
        if port.get("appProtocol") is not None:
            causes += named(f"{at}.appProtocol", port["appProtocol"], names.qualified_name)
    return causes


def _endpoints(obj: Object) -> list[FieldError]:
    kind, endpoints = obj.get("addressType") or "", obj.get("endpoints") or []
    if len(endpoints) > _MAX_ENDPOINTS:
        return [too_many("endpoints", len(endpoints), _MAX_ENDPOINTS)]
    causes: list[FieldError] = []
    for index, endpoint in enumerate(endpoints):
        causes += _endpoint(f"endpoints[{index}]", endpoint, kind)
    return causes


def _endpoint(at: str, endpoint: Object, kind: str) -> list[FieldError]:
    addresses = endpoint.get("addresses") or []
    causes: list[FieldError] = []
    if not addresses:
        causes.append(required(f"{at}.addresses", "must contain at least 1 address"))
    elif len(addresses) > _MAX_ADDRESSES:
        causes.append(too_many(f"{at}.addresses", len(addresses), _MAX_ADDRESSES))
    for index, address in enumerate(addresses):
        causes += _address(f"{at}.addresses", f"{at}.addresses[{index}]", address, kind)
    if endpoint.get("nodeName") is not None:
        causes += named(f"{at}.nodeName", endpoint["nodeName"], names.dns1123_subdomain)
    if endpoint.get("hostname") is not None:
        causes += named(f"{at}.hostname", endpoint["hostname"], names.dns1123_label)
    hints = endpoint.get("hints") or {}
    for field, rule in (("forZones", names.label_value), ("forNodes", names.dns1123_subdomain)):
        found = _hints(f"{at}.hints.{field}", hints.get(field) or [], rule)
        causes += found
        if len(hints.get(field) or ()) > _MAX_HINTS:
            break
    return causes


def _address(every: str, at: str, address: str, kind: str) -> list[FieldError]:
    if kind == "FQDN":
        return _domain(at, address)
    if kind not in ("IPv4", "IPv6"):
        return []
    causes = ip_address(at, address) if kind == "IPv4" else canonical_ip(at, address)
    if causes:
        return causes
    found = parse(address)
    if found is not None and f"IPv{found.version}" != kind:
        causes.append(invalid(every, address, f"must be an {kind} address"))
    return causes + endpoint_ip(at, address)


def _domain(at: str, name: str) -> list[FieldError]:
    """A whole domain name, the dot at its end optional."""
    if not name:
        return [required(at)]
    name = name.removesuffix(".")
    complaints = names.dns1123_subdomain(name)
    if complaints:
        return [invalid(at, name, ",".join(complaints))]
    if "." not in name:
        return [invalid(at, name, "should be a domain with at least two segments separated by dots")]
    for label in name.split("."):
        if complaints := names.dns1123_label(label):
            return [invalid(at, label, ",".join(complaints))]
    return []


def _hints(at: str, found: list[Object], rule: NameRule) -> list[FieldError]:
    """Whom traffic to an endpoint should come from."""
    if len(found) > _MAX_HINTS:
        return [too_many(at, len(found), _MAX_HINTS)]
    causes: list[FieldError] = []
    seen: set[str] = set()
    for index, each in enumerate(found):
        here, name = f"{at}[{index}].name", each.get("name") or ""
        if name in seen:
            causes.append(duplicate(here, name))
        seen.add(name)
        causes += named(here, name, rule)
    return causes
