"""What the proxy keeps of the objects it follows: what becomes rules, routes and names. Pure.

A node of a large cluster holds every Service and EndpointSlice, and they say much that is nobody's business here, most
of it again and again. Parts that are equal are kept once: nobody changes what an informer holds.
"""

from __future__ import annotations

from typing import Any, TypeVar

import orjson

from shim.api.meta import Object

T = TypeVar("T")

_METADATA = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")
_LABELS = (
    "kubernetes.io/service-name",
    "service.kubernetes.io/service-proxy-name",
    "topology.kubernetes.io/zone",
)
_ANNOTATIONS = ("endpoints.kubernetes.io/last-change-trigger-time",)
_SERVICE = (
    *("type", "clusterIP", "externalIPs", "externalName", "healthCheckNodePort", "loadBalancerSourceRanges"),
    *("externalTrafficPolicy", "internalTrafficPolicy", "sessionAffinity", "sessionAffinityConfig", "ports"),
)
_NODE = ("podCIDR", "taints")
_EQUAL = ("nodeName", "conditions", "hints")  # much the same in all endpoints

_LARGEST = 2_000  # different parts that are remembered for those that are equal
_parts: dict[bytes, Any] = {}


def service(obj: Object) -> Object:
    """Of a Service."""
    spec = _some(obj.get("spec"), _SERVICE)
    if "ports" in spec:
        spec["ports"] = _once(spec["ports"])
    return {"metadata": _metadata(obj), "spec": spec, "status": _once(_some(obj.get("status"), ("loadBalancer",)))}


def endpoint_slice(obj: Object) -> Object:
    """Of an EndpointSlice."""
    endpoints = [
        {"addresses": tuple(each["addresses"]), **_some(each, ("hostname",)), **_some(each, _EQUAL, once=True)}
        for each in obj.get("endpoints") or ()
    ]
    kept = {"metadata": _metadata(obj), "addressType": _once(obj.get("addressType"))}
    return {**kept, "ports": _once(obj.get("ports")), "endpoints": endpoints}


def node(obj: Object) -> Object:
    """Of a Node."""
    status = _some(obj.get("status"), ("addresses",))
    return {"metadata": _metadata(obj), "spec": _some(obj.get("spec"), _NODE), "status": status}


def _metadata(obj: Object) -> Object:
    metadata = obj["metadata"]
    kept = _some(metadata, _METADATA)
    if "namespace" in kept:
        kept["namespace"] = _once(kept["namespace"])
    for field, names in (("labels", _LABELS), ("annotations", _ANNOTATIONS)):
        if found := _some(metadata.get(field), names):
            kept[field] = found
    return kept


def _some(obj: Object | None, names: tuple[str, ...], *, once: bool = False) -> Object:
    obj = obj or {}
    return {name: _once(obj[name]) if once else obj[name] for name in names if obj.get(name) is not None}


def _once(part: T) -> T:
    """An equal part that is kept already, or this one."""
    if len(_parts) > _LARGEST:
        _parts.clear()
    found: T = _parts.setdefault(orjson.dumps(part), part)
    return found
