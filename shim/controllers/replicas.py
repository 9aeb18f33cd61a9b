"""What is a set of replicas' status, given its pods? Shared by ReplicaSets and ReplicationControllers; pure."""

from __future__ import annotations

import datetime

from shim.api import conditions
from shim.api.meta import Object, now
from shim.controllers.pod_readiness import is_available, is_ready
from shim.controllers.status_write import without_zeros


def wanted_replicas(owner: Object) -> int:
    """``spec.replicas``, which the server defaults to 1."""
    replicas = owner["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def failure_condition(pods: int, wanted: int, failure: Exception) -> Object:
    """The ReplicaFailure condition that tells why the replicas are not there, or not gone."""
    reason = "FailedCreate" if pods < wanted else "FailedDelete"
    message = str(failure) if pods < wanted else f"unable to delete pods: {failure}"
    return {
        "type": "ReplicaFailure",
        "status": "True",
        "lastTransitionTime": now(),
        "reason": reason,
        "message": message,
    }


def replicas_status(
    owner: Object,
    pods: list[Object],
    terminating: int | None,
    failure: Exception | None,
    at: datetime.datetime,
) -> Object:
    """The status of a ReplicaSet with these active pods; ``terminating`` is None where the kind does not count them."""
    labels = ((owner["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    min_ready = int(owner["spec"].get("minReadySeconds") or 0)
    found: list[Object] = list((owner.get("status") or {}).get("conditions") or ())
    had_failed = conditions.find(owner, "ReplicaFailure") is not None
    if failure is not None and not had_failed:
        found.append(failure_condition(len(pods), wanted_replicas(owner), failure))
    elif failure is None and had_failed:
        found = [condition for condition in found if condition["type"] != "ReplicaFailure"]
    return without_zeros(
        {
            "replicas": len(pods),
            "fullyLabeledReplicas": sum(
                labels.items() <= (pod["metadata"].get("labels") or {}).items() for pod in pods
            ),
            "readyReplicas": sum(map(is_ready, pods)),
            "availableReplicas": sum(is_available(pod, min_ready, at) for pod in pods),
            "terminatingReplicas": terminating,
            "observedGeneration": owner["metadata"].get("generation", 0),
            "conditions": found,
        },
        keep=("replicas", "terminatingReplicas") if terminating is not None else ("replicas",),
    )
