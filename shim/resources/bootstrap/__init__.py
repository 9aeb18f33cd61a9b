"""What a fresh cluster holds before anyone writes: ``objects()`` lists it, the server stores what is missing.

The Service ``kubernetes`` and its endpoints are not here: their addresses are the server's to know.
"""

from __future__ import annotations

from shim.api.meta import GVR, Object, now
from shim.resources.bootstrap import flow, rbac
from shim.resources.table import RESOURCES

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")

PRIORITY_CLASSES = (
    (
        "system-cluster-critical",
        2000000000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2000001000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
)

API_SERVICES = {
    # group: where it stands among groups, and its versions among themselves
    "": (18000, {"v1": 1}),
    "apps": (17800, {"v1": 15}),
    "events.k8s.io": (17750, {"v1": 15}),
    "authentication.k8s.io": (17700, {"v1": 15}),
    "authorization.k8s.io": (17600, {"v1": 15}),
    "autoscaling": (17500, {"v1": 15, "v2": 30}),
    "batch": (17400, {"v1": 15}),
    "certificates.k8s.io": (17300, {"v1": 15}),
    "networking.k8s.io": (17200, {"v1": 15}),
    "policy": (17100, {"v1": 15}),
    "rbac.authorization.k8s.io": (17000, {"v1": 15}),
    "storage.k8s.io": (16800, {"v1": 15}),
    "admissionregistration.k8s.io": (16700, {"v1": 15}),
    "apiextensions.k8s.io": (16700, {"v1": 15}),
    "scheduling.k8s.io": (16600, {"v1": 15}),
    "coordination.k8s.io": (16500, {"v1": 15}),
    "node.k8s.io": (16300, {"v1": 15}),
    "discovery.k8s.io": (16200, {"v1": 15}),
    "resource.k8s.io": (16200, {"v1": 21}),
    "flowcontrol.apiserver.k8s.io": (16100, {"v1": 21}),
}

_KINDS = {row.gvr: (row.api_version, row.kind) for row in RESOURCES}


def objects() -> list[tuple[GVR, str | None, Object]]:
    """Everything, namespaces first: (resource, namespace, object without uid and creation time)."""
    time = now()
    found = [*_namespaces(), *_priority_classes(), *rbac.objects(), *flow.objects(time), *_api_services(time)]
    return [(gvr, namespace, _typed(gvr, obj)) for gvr, namespace, obj in found]


def _typed(gvr: GVR, obj: Object) -> Object:
    api_version, kind = _KINDS[gvr]
    return {"kind": kind, "apiVersion": api_version, **obj}


def _namespaces() -> list[tuple[GVR, str | None, Object]]:
    gvr = GVR("", "v1", "namespaces", namespaced=False)
    return [
        (
            gvr,
            None,
            {
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            },
        )
        for name in NAMESPACES
    ]


def _priority_classes() -> list[tuple[GVR, str | None, Object]]:
    gvr = GVR("scheduling.k8s.io", "v1", "priorityclasses", namespaced=False)
    return [
        (
            gvr,
            None,
            {
                "metadata": {"name": name, "generation": 1},
                "value": value,
                "description": description,
                "preemptionPolicy": "PreemptLowerPriority",
            },
        )
        for name, value, description in PRIORITY_CLASSES
    ]


def _api_services(time: str) -> list[tuple[GVR, str | None, Object]]:
    gvr = GVR("apiregistration.k8s.io", "v1", "apiservices", namespaced=False)
    available = {
        "type": "Available",
        "status": "True",
        "lastTransitionTime": time,
        "reason": "Local",
        "message": "Local APIServices are always available",
    }
    found: list[tuple[GVR, str | None, Object]] = []
    for group, (priority, versions) in API_SERVICES.items():
        for version, version_priority in versions.items():
            spec: Object = {"version": version, "groupPriorityMinimum": priority, "versionPriority": version_priority}
            if group:
                spec["group"] = group
            metadata = {
                "name": f"{version}.{group}",
                "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"},
            }
            found.append((gvr, None, {"metadata": metadata, "spec": spec, "status": {"conditions": [dict(available)]}}))
    return found
