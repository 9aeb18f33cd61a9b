"""What does a Service's Endpoints object say? Pure.

The older form of the same facts as EndpointSlices: one object, pods grouped by the ports they have in common.
Deprecated since v1.33, but clients still read it.
"""

from __future__ import annotations

import ipaddress
import math

from shim.api.meta import Object
from shim.controllers.pod_readiness import is_ready
from shim.controllers.service_pods import (
    HEADLESS_LABEL,
    addresses,
    has_endpoint,
    hostname_of,
    is_headless,
    port_of,
)
from shim.controllers.template_hash import canonical

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
CAPACITY = 1000  # addresses in one object: it is sent whole at every change


def plan_subsets(service: Object, pods: list[Object]) -> list[Object]:
    """The subsets: every address with the set of ports it has, addresses with the same ports together."""
    unready_too = bool(service["spec"].get("publishNotReadyAddresses"))
    found: dict[bytes, tuple[Object, bool, dict[bytes, Object]]] = {}
    for pod in pods:
        if not has_endpoint(pod, include_terminating=unready_too):
            continue
        address = _address(service, pod)
        if address is None:
            continue
        ready = unready_too or is_ready(pod)
        ports = _ports(service, pod)
        if ports is None:
            continue
        key = canonical([address["ip"], address["targetRef"]["uid"]])
        found[key] = (address, ready, {canonical(port): port for port in ports})
    subsets: dict[tuple[bytes, ...], Object] = {}
    for address, ready, by_key in found.values():
        group = tuple(sorted(by_key))
        subset = subsets.setdefault(group, {"ports": [by_key[key] for key in group]})
        subset.setdefault("addresses" if ready else "notReadyAddresses", []).append(address)
    return [_ordered(subsets[group]) for group in sorted(subsets)]


def _address(service: Object, pod: Object) -> Object | None:
    families = service["spec"].get("ipFamilies") or []
    wanted = families[0] if families else ("IPv6" if ":" in (service["spec"].get("clusterIP") or "") else "IPv4")
    ip = next((each for each in addresses(pod) if f"IPv{ipaddress.ip_address(each).version}" == wanted), None)
    if ip is None:
        return None
    metadata = pod["metadata"]
    made: Object = {"ip": ip}
    hostname = hostname_of(pod, service)
    if hostname:
        made["hostname"] = hostname
    if pod["spec"].get("nodeName"):
        made["nodeName"] = pod["spec"]["nodeName"]
    made["targetRef"] = {
        "kind": "Pod",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return made


def _ports(service: Object, pod: Object) -> list[Object] | None:
    """The ports in this pod; None when it has none of those the Service wants."""
    wanted = service["spec"].get("ports") or ()
    if not wanted:
        return [] if service["spec"].get("clusterIP") == "None" else None
    found = []
    for port in wanted:
        number = port_of(pod, port)
        if number is not None:
            made = {"name": port["name"]} if port.get("name") else {}
            made |= {"port": number, "protocol": port.get("protocol", "TCP")}
            if port.get("appProtocol"):
                made["appProtocol"] = port["appProtocol"]
            found.append(made)
    return found or None


def _ordered(subset: Object) -> Object:
    made: Object = {}
    for field in ("addresses", "notReadyAddresses"):
        if subset.get(field):
            made[field] = sorted(subset[field], key=lambda each: (each["ip"], each["targetRef"]["uid"]))
    if subset["ports"]:
        made["ports"] = subset["ports"]
    return made


def truncate(subsets: list[Object]) -> tuple[list[Object], bool]:
    """At most 1000 addresses, ready ones first, each subset giving up its share; and whether any were left out."""
    ready = sum(len(each.get("addresses") or ()) for each in subsets)
    total = ready + sum(len(each.get("notReadyAddresses") or ()) for each in subsets)
    if total <= CAPACITY:
        return subsets, False
    field, room, of = ("addresses", CAPACITY, ready)
    if ready <= CAPACITY:
        field, room, of = ("notReadyAddresses", CAPACITY - ready, total - ready)
    left, result = room, []
    for each in subsets:
        made = dict(each)
        if field == "addresses":
            made.pop("notReadyAddresses", None)
        share = min(math.ceil(len(each.get(field) or ()) / of * room), left)
        kept = (each.get(field) or [])[:share]
        left -= len(kept)
        if kept:
            made[field] = kept
        else:
            made.pop(field, None)
        if made.get("addresses") or made.get("notReadyAddresses"):
            result.append(made)
    return result, True


def endpoints_labels(service: Object) -> dict[str, str]:
    """The Service's labels and the manager's."""
    labels = {key: value for key, value in (service["metadata"].get("labels") or {}).items() if key != HEADLESS_LABEL}
    if is_headless(service):
        labels[HEADLESS_LABEL] = ""
    return {**labels, MANAGED_BY: MANAGER}
