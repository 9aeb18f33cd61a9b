"""Small objects for tests, as the server would hand them out."""

from __future__ import annotations

from typing import Any

from shim.api.meta import Object

NOW = "2026-01-01T00:01:00Z"
EARLIER = "2026-01-01T00:00:00Z"


def owned(owner: Object | None) -> list[Object]:
    if owner is None:
        return []
    return [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def pod(name: str, owner: Object | None = None, *, ready: bool = True, phase: str = "Running", **more: Any) -> Object:
    """A pod; ``more``: labels, node, ip, deleted, since, annotations, created, finalizers, hostname, subdomain."""
    metadata: Object = {
        "name": name,
        "namespace": "ns",
        "uid": f"uid-{name}",
        "labels": more.get("labels", {"app": "a"}),
        "annotations": more.get("annotations", {}),
        "creationTimestamp": more.get("created", EARLIER),
        "ownerReferences": owned(owner),
        "resourceVersion": "1",
    }
    if more.get("deleted"):
        metadata["deletionTimestamp"] = NOW
    if more.get("finalizers"):
        metadata["finalizers"] = more["finalizers"]
    spec: Object = {"nodeName": more.get("node", "n1"), "containers": [{"name": "c", "image": "i"}]}
    spec |= {field: more[field] for field in ("hostname", "subdomain") if field in more}
    is_ready = ready and phase == "Running"
    condition = {"type": "Ready", "status": str(is_ready), "lastTransitionTime": more.get("since", EARLIER)}
    status: Object = {"phase": phase, "conditions": [condition]}
    if more.get("ip"):
        status |= {"podIP": more["ip"], "podIPs": [{"ip": more["ip"]}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def template(image: str = "i") -> Object:
    return {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": image}]}}


def deployment(replicas: int = 3, image: str = "i", **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "ns", "uid": "uid-d", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "a"}},
            "template": template(image),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            **spec,
        },
        "status": {},
    }


def replica_set(
    name: str,
    replicas: int,
    available: int | None = None,
    *,
    image: str = "i",
    desired: int = 3,
    created: str = EARLIER,
) -> Object:
    """A ReplicaSet of :func:`deployment` with so many replicas, all of them available unless said otherwise."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": f"uid-{name}",
            "generation": 1,
            "creationTimestamp": created,
            "annotations": {
                "deployment.kubernetes.io/desired-replicas": str(desired),
                "deployment.kubernetes.io/max-replicas": str(desired + 1),
                "deployment.kubernetes.io/revision": "1",
            },
            "ownerReferences": owned(deployment()),
        },
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "a"}}, "template": template(image)},
        "status": {
            "replicas": replicas,
            "readyReplicas": replicas if available is None else available,
            "availableReplicas": replicas if available is None else available,
            "terminatingReplicas": 0,
            "observedGeneration": 1,
        },
    }


def service(**spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": "ns", "uid": "uid-s", "creationTimestamp": EARLIER},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.9",
            "ipFamilies": ["IPv4"],
            "selector": {"app": "a"},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
            **spec,
        },
    }


def node(name: str, labels: dict[str, str] | None = None, taints: list[Object] | None = None) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"taints": taints or []},
    }
