"""Which EndpointSlices should a Service have, and what must change for it? Pure.

Pods with the same port numbers share slices of at most 100 endpoints. An endpoint stays in the slice it is in, so that
one pod's change touches one slice: watchers on every node are sent only that.
"""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from shim.api import names
from shim.api.meta import Object
from shim.controllers import topology_hints
from shim.controllers.adoption import owner_reference
from shim.controllers.pod_readiness import is_deleted, is_ready
from shim.controllers.service_pods import (
    HEADLESS_LABEL,
    TRIGGER_TIME,
    addresses,
    has_endpoint,
    hostname_of,
    is_headless,
    port_of,
)
from shim.controllers.template_hash import canonical

MANAGER = "endpointslice-controller.k8s.io"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
SERVICE_NAME = "kubernetes.io/service-name"
NEAR = ("PreferSameZone", "PreferClose", "PreferSameNode")
MOST = 100  # endpoints in a slice: a slice stays small enough to be sent to every node at every change
_RESERVED = (SERVICE_NAME, MANAGED_BY, HEADLESS_LABEL)


@dataclass(slots=True)
class Changes:
    """What to write. The objects of ``create`` have no name yet."""

    create: list[Object] = field(default_factory=list)
    update: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    hints: dict[str, str | None] = field(default_factory=dict)
    """By family, where they are asked for: None, or why there are none."""


def address_types(service: Object) -> list[str]:
    """IPv4, IPv6 or both, by the Service's families."""
    families = service["spec"].get("ipFamilies")
    if families:
        return list(families)
    return ["IPv6"] if ":" in (service["spec"].get("clusterIP") or "") else ["IPv4"]


def endpoint(pod: Object, service: Object, node: Object | None, found: list[str]) -> Object:
    """What a slice says of one pod."""
    serving, terminating = is_ready(pod), is_deleted(pod)
    metadata = pod["metadata"]
    made: Object = {
        "addresses": found,
        "conditions": {
            "ready": bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
    hostname = hostname_of(pod, service)
    if hostname:
        made["hostname"] = hostname
    if pod["spec"].get("nodeName"):
        made["nodeName"] = pod["spec"]["nodeName"]
    zone = ((node or {}).get("metadata", {}).get("labels") or {}).get(topology_hints.ZONE)
    if zone:
        made["zone"] = zone
    distribution = None if topology_hints.is_wanted(service) else service["spec"].get("trafficDistribution")
    if made["conditions"]["ready"] and (found_hints := hints(distribution, made)):
        made["hints"] = found_hints
    return made


def hints(distribution: str | None, endpoint: Object) -> Object:
    """Whose clients an endpoint is meant for, by the Service's ``trafficDistribution`` (KEP-4444, KEP-3015)."""
    found: Object = {}
    if distribution in NEAR and endpoint.get("zone"):
        found["forZones"] = [{"name": endpoint["zone"]}]
    if distribution == "PreferSameNode" and endpoint.get("nodeName"):
        found["forNodes"] = [{"name": endpoint["nodeName"]}]
    return found


def endpoint_ports(service: Object, pod: Object) -> list[Object]:
    """The Service's ports as they are in this pod."""
    found = []
    for port in service["spec"].get("ports") or ():
        number = port_of(pod, port)
        if number is not None:
            made = {"name": port.get("name", ""), "protocol": port.get("protocol", "TCP"), "port": number}
            if port.get("appProtocol"):
                made["appProtocol"] = port["appProtocol"]
            found.append(made)
    return found


def ports_key(ports: list[Object] | None) -> bytes:
    """Equal for the same set of ports, whatever their order."""
    return b"\n".join(sorted(canonical(port) for port in ports or ()))


def slice_labels(service: Object) -> dict[str, str]:
    """The Service's own labels and those that say whose slice it is."""
    labels = {key: value for key, value in (service["metadata"].get("labels") or {}).items() if key not in _RESERVED}
    if is_headless(service):
        labels[HEADLESS_LABEL] = ""
    return {**labels, SERVICE_NAME: service["metadata"]["name"], MANAGED_BY: MANAGER}


def new_slice(service: Object, family: str, ports: list[Object], endpoints: list[Object]) -> Object:
    metadata = service["metadata"]
    prefix = f"{metadata['name']}-"
    if names.dns1123_subdomain(names.mask_trailing_dash(prefix)):
        prefix = metadata["name"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": prefix,
            "namespace": metadata["namespace"],
            "labels": slice_labels(service),
            "ownerReferences": [owner_reference(service, "v1", "Service")],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports,
    }


def plan_slices(
    service: Object,
    pods: list[Object],
    nodes: dict[str, Object],
    existing: list[Object],
    ratios: Mapping[str, float] | None = None,
) -> Changes:
    """Everything that must be written so that the slices say what the pods are.

    ``ratios``: each zone's part of the cluster, for Services that ask for hints by it.
    """
    families = address_types(service)
    changes = Changes(delete=[each for each in existing if each["addressType"] not in families])
    for family in families:
        mine = [each for each in existing if each["addressType"] == family]
        _plan_family(service, pods, nodes, mine, family, changes, ratios or {})
    _reuse(service, changes)
    return changes


def _plan_family(
    service: Object,
    pods: list[Object],
    nodes: dict[str, Object],
    existing: list[Object],
    family: str,
    changes: Changes,
    ratios: Mapping[str, float],
) -> None:
    uid = service["metadata"]["uid"]
    by_ports: dict[bytes, list[Object]] = {}
    before = len(changes.delete)
    for each in existing:
        if any(reference["uid"] == uid for reference in each["metadata"].get("ownerReferences") or ()):
            by_ports.setdefault(ports_key(each.get("ports")), []).append(each)
        else:
            changes.delete.append(each)
    wanted: dict[bytes, tuple[list[Object], dict[str, Object]]] = {}
    for pod in pods:
        if not has_endpoint(pod, include_terminating=True):
            continue
        found = [ip for ip in addresses(pod) if _family(ip) == family]
        if not found:
            continue
        ports = endpoint_ports(service, pod)
        made = endpoint(pod, service, nodes.get(pod["spec"].get("nodeName", "")), found)
        wanted.setdefault(ports_key(ports), (ports, {}))[1][_identity(made)] = made
    if topology_hints.is_wanted(service):
        changes.hints[family] = _give_to_zones(
            [made for _, found in wanted.values() for made in found.values()], existing, ratios
        )
    creates = len(changes.create)
    for key, (ports, endpoints) in wanted.items():
        _plan_ports(service, family, ports, endpoints, by_ports.pop(key, []), changes)
    for leftover in by_ports.values():
        changes.delete.extend(leftover)
    if len(changes.delete) - before == len(existing) and len(changes.create) == creates:
        # an empty slice tells watchers that the Service is known and has no endpoints
        placeholder = new_slice(service, family, [], [])
        if len(existing) == 1 and _is_placeholder(existing[0], placeholder):
            changes.delete.remove(existing[0])
        else:
            changes.create.append(placeholder)


def _give_to_zones(endpoints: list[Object], existing: list[Object], ratios: Mapping[str, float]) -> str | None:
    """Put hints into ready endpoints, in proportion to the zones; the answer is why that cannot be."""
    ready = {_identity(each): each for each in endpoints if each["conditions"]["ready"]}
    told = (
        each for one in existing for each in one.get("endpoints") or () if (each.get("hints") or {}).get("forZones")
    )
    before = {_identity(each): str(each["hints"]["forZones"][0]["name"]) for each in told}
    zones = {name: str(each.get("zone") or "") for name, each in ready.items()}
    try:
        assigned = topology_hints.assign(zones, before, ratios)
    except topology_hints.NoHints as error:
        return str(error)
    for name, zone in assigned.items():
        ready[name]["hints"] = {"forZones": [{"name": zone}]}
    return None


def _family(ip: str) -> str:
    return f"IPv{ipaddress.ip_address(ip).version}"


def _identity(each: Object) -> str:
    """Endpoints are the same one, perhaps changed, when they are the same pod at the same address."""
    uid = (each.get("targetRef") or {}).get("uid", "")
    return f"{uid}/{','.join(sorted(each['addresses']))}/{each.get('nodeName', '')}"


def _is_placeholder(each: Object, placeholder: Object) -> bool:
    return (
        not each.get("endpoints")
        and not each.get("ports")
        and (each["metadata"].get("labels") or {}) == placeholder["metadata"]["labels"]
    )


def _plan_ports(
    service: Object,
    family: str,
    ports: list[Object],
    wanted: dict[str, Object],
    existing: list[Object],
    changes: Changes,
) -> None:
    """Keep endpoints where they are; put new ones into slices that change anyway, that have room, or are new."""
    missing = dict(wanted)
    labels = slice_labels(service)
    touched: list[Object] = []
    untouched: list[Object] = []
    for each in existing:
        before = each.get("endpoints") or []
        after = [missing.pop(_identity(old)) for old in before if _identity(old) in missing]
        if not after and before:
            changes.delete.append(each)
        elif after != before or (each["metadata"].get("labels") or {}) != labels:
            touched.append(_changed(each, after, labels))
        else:
            untouched.append(each)
    rest = list(missing.values())
    for each in sorted(touched, key=lambda found: -len(found["endpoints"])):
        _fill(each, rest)
    while rest:
        fitting = [each for each in untouched if len(rest) + len(each.get("endpoints") or ()) <= MOST]
        if fitting and len(rest) < MOST:
            fullest = max(fitting, key=lambda found: len(found.get("endpoints") or ()))
            untouched.remove(fullest)
            filled = _changed(fullest, list(fullest.get("endpoints") or ()), labels)
            touched.append(filled)
        else:
            filled = new_slice(service, family, ports, [])
            changes.create.append(filled)
        _fill(filled, rest)
    changes.update.extend(touched)


def _changed(each: Object, endpoints: list[Object], labels: dict[str, str]) -> Object:
    changed = copy.copy(each)
    changed["endpoints"], changed["metadata"] = endpoints, {**each["metadata"], "labels": labels}
    return changed


def _fill(each: Object, rest: list[Object]) -> None:
    room = MOST - len(each["endpoints"])
    each["endpoints"] = each["endpoints"] + rest[:room]
    del rest[:room]


def _reuse(service: Object, changes: Changes) -> None:
    """Overwrite a slice rather than delete it and create another: one change to tell instead of two."""
    for doomed in list(changes.delete):
        owned = any(
            reference["uid"] == service["metadata"]["uid"]
            for reference in doomed["metadata"].get("ownerReferences") or ()
        )
        fitting = next((each for each in changes.create if each["addressType"] == doomed["addressType"]), None)
        if fitting is None or not owned:
            continue
        changes.create.remove(fitting)
        changes.delete.remove(doomed)
        metadata = {**doomed["metadata"], "labels": fitting["metadata"]["labels"]}
        changes.update.append({**doomed, **fitting, "metadata": metadata})


def with_trigger_time(obj: Object, time: str | None) -> Object:
    """Note when what is written here happened; without a time the old note goes."""
    annotations = {
        key: value for key, value in (obj["metadata"].get("annotations") or {}).items() if key != TRIGGER_TIME
    }
    if time is not None:
        annotations[TRIGGER_TIME] = time
    metadata = {key: value for key, value in obj["metadata"].items() if key != "annotations"}
    if annotations:
        metadata["annotations"] = annotations
    return {**obj, "metadata": metadata}
