"""What a fresh cluster holds before anyone writes: ``objects()`` lists it, the server stores what is missing.

The Service ``kubernetes`` and its endpoints are not here: their addresses are the server's to know.
"""

from __future__ import annotations

from shim.api.meta import GVR, Object, now
from shim.resources.bootstrap import api_services, flow, rbac
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

_KINDS = {row.gvr: (row.api_version, row.kind) for row in RESOURCES}


def objects() -> list[tuple[GVR, str | None, Object]]:
    """Everything, namespaces first: (resource, namespace, object without uid and creation time)."""
    time = now()
    found = [*_namespaces(), *_priority_classes(), *rbac.objects(), *flow.objects(time), *api_services.objects(time)]
    found.append(_token_tracking(time))
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


def _token_tracking(time: str) -> tuple[GVR, str | None, Object]:
    """Since when uses of tokens in Secrets are noted: what was not used until now may have been used before."""
    metadata = {"name": "kube-apiserver-legacy-service-account-token-tracking"}
    data = {"since": time.partition("T")[0]}
    return GVR("", "v1", "configmaps"), "kube-system", {"metadata": metadata, "data": data}


def _priority_classes() -> list[tuple[GVR, str | None, Object]]:
    gvr = GVR("scheduling.k8s.io", "v1", "priorityclasses", namespaced=False)
    return [
        (
            gvr,
            None,
            {
                "metadata": {"name": name},
                "value": value,
                "description": description,
                "preemptionPolicy": "PreemptLowerPriority",
            },
        )
        for name, value, description in PRIORITY_CLASSES
    ]
