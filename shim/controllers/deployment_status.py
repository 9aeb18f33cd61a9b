"""What does a Deployment's status say, given its ReplicaSets? Pure.

Of a condition that is set again only what is new counts: with the same status and reason nothing changes, so that
``lastUpdateTime`` of Progressing is when progress was last made, and the deadline runs from there.
"""

from __future__ import annotations

import datetime

from shim.api import conditions
from shim.api.meta import Object, now, parse_time
from shim.controllers.deployment_rollout import fenceposts, spec_replicas, status_count
from shim.controllers.status_write import without_zeros

NEW_SET, FOUND_SET, SET_ERROR = "NewReplicaSetCreated", "FoundNewReplicaSet", "ReplicaSetCreateError"
UPDATED, COMPLETE, TIMED_OUT = "ReplicaSetUpdated", "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"
NO_DEADLINE = 2**31 - 1


def condition(kind: str, status: str, reason: str, message: str) -> Object:
    time = now()
    return {
        "type": kind,
        "status": status,
        "lastUpdateTime": time,
        "lastTransitionTime": time,
        "reason": reason,
        "message": message,
    }


def with_condition(found: list[Object], new: Object) -> list[Object]:
    """The conditions with this one set, last; unchanged if it has the same status and reason already."""
    current = next((each for each in found if each["type"] == new["type"]), None)
    if current is not None and current["status"] == new["status"]:
        if current.get("reason") == new["reason"]:
            return found
        new = {**new, "lastTransitionTime": current.get("lastTransitionTime")}
    return [*without_condition(found, new["type"]), new]


def without_condition(found: list[Object], kind: str) -> list[Object]:
    return [each for each in found if each["type"] != kind]


def has_deadline(deployment: Object) -> bool:
    return deployment["spec"].get("progressDeadlineSeconds") not in (None, NO_DEADLINE)


def paused_condition(deployment: Object) -> Object | None:
    """The condition that tells of a pause or its end, if it is not told yet."""
    current = conditions.find(deployment, "Progressing")
    reason = current["reason"] if current is not None else None
    if not has_deadline(deployment) or reason == TIMED_OUT:
        return None
    paused = bool(deployment["spec"].get("paused"))
    if paused and reason != PAUSED:
        return condition("Progressing", "Unknown", PAUSED, "Deployment is paused")
    if not paused and reason == PAUSED:
        return condition("Progressing", "Unknown", RESUMED, "Deployment is resumed")
    return None


def counted_status(deployment: Object, new: Object | None, old: list[Object]) -> Object:
    """The counts and the Available condition."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    sets = [*old, new] if new is not None else list(old)
    available = status_count(sets, "availableReplicas")
    if available >= spec["replicas"] - fenceposts(deployment)[1]:
        minimum = condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        minimum = condition(
            "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
        )
    return {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": status_count(sets, "replicas"),
        "updatedReplicas": status_count([new], "replicas") if new is not None else 0,
        "readyReplicas": status_count(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(spec_replicas(sets) - available, 0),
        "terminatingReplicas": _terminating(sets),
        "collisionCount": status.get("collisionCount"),
        "conditions": with_condition(list(status.get("conditions") or ()), minimum),
    }


def _terminating(sets: list[Object]) -> int | None:
    """The pods still terminating; None if a ReplicaSet's controller does not count them."""
    total = 0
    for each in sets:
        status = each.get("status") or {}
        count = status.get("terminatingReplicas")
        if count is None and status.get("observedGeneration"):
            return None
        total += count or 0
    return total


def finished(status: Object) -> Object:
    """As the API writes a status: zero counts are left out."""
    terminating = status.get("terminatingReplicas") is not None
    return without_zeros(
        {**status, "collisionCount": None} if status.get("collisionCount") is None else status,
        keep=(("terminatingReplicas",) if terminating else ())
        + (("collisionCount",) if status.get("collisionCount") is not None else ()),
    )


def plain_status(deployment: Object, new: Object | None, old: list[Object]) -> Object:
    """The status while paused, scaling or being deleted: progress is not judged."""
    return finished(counted_status(deployment, new, old))


def is_complete(deployment: Object, status: Object) -> bool:
    """Whether every wanted pod is of the present revision and available, and no other is left."""
    replicas = deployment["spec"]["replicas"]
    counts = (status.get(field, 0) for field in ("updatedReplicas", "replicas", "availableReplicas"))
    observed = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return all(count == replicas for count in counts) and observed


def is_progressing(before: Object, after: Object) -> bool:
    """Whether more is new, ready or available, or less is old, than before."""

    def old_replicas(status: Object) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    grown = (
        after.get(field, 0) > before.get(field, 0)
        for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    return any(grown) or old_replicas(after) < old_replicas(before)


def is_timed_out(deployment: Object, at: datetime.datetime) -> bool:
    current = conditions.find(deployment, "Progressing")
    if current is None or current.get("reason") == COMPLETE:
        return False
    if current.get("reason") == TIMED_OUT:
        return True
    left = seconds_to_deadline(deployment, at)
    return left is not None and left < 0


def seconds_to_deadline(deployment: Object, at: datetime.datetime) -> float | None:
    """How long the rollout may still go without progress."""
    current = conditions.find(deployment, "Progressing")
    if current is None or not has_deadline(deployment) or not current.get("lastUpdateTime"):
        return None
    limit = datetime.timedelta(seconds=deployment["spec"]["progressDeadlineSeconds"])
    return (parse_time(current["lastUpdateTime"]) + limit - at).total_seconds()


def rollout_status(deployment: Object, new: Object | None, old: list[Object], at: datetime.datetime) -> Object:
    """The status during and after a rollout, with the Progressing and ReplicaFailure conditions."""
    before = deployment.get("status") or {}
    status = counted_status(deployment, new, old)
    found: list[Object] = status["conditions"]
    current = conditions.find(deployment, "Progressing")
    what = f'ReplicaSet "{new["metadata"]["name"]}"' if new is not None else None
    what = what or f'Deployment "{deployment["metadata"]["name"]}"'
    if not has_deadline(deployment):
        found = without_condition(found, "Progressing")
    elif not (
        status["replicas"] == status["updatedReplicas"] and current is not None and current.get("reason") == COMPLETE
    ):
        if is_complete(deployment, status):
            found = with_condition(
                found, condition("Progressing", "True", COMPLETE, f"{what} has successfully progressed.")
            )
        elif is_progressing(before, status):
            progress = condition("Progressing", "True", UPDATED, f"{what} is progressing.")
            if current is not None and current["status"] == "True":
                progress["lastTransitionTime"] = current.get("lastTransitionTime")
            # set anew even if nothing but the time changes: the deadline runs from here
            found = [*without_condition(found, "Progressing"), progress]
        elif is_timed_out(deployment, at):
            found = with_condition(
                found, condition("Progressing", "False", TIMED_OUT, f"{what} has timed out progressing.")
            )
    failure = replica_failure(new, old)
    if failure is not None:
        found = with_condition(found, failure)
    else:
        found = without_condition(found, "ReplicaFailure")
    return finished({**status, "conditions": found})


def replica_failure(new: Object | None, old: list[Object]) -> Object | None:
    """Why pods could not be made or removed, as a ReplicaSet tells it; the new one's word counts first."""
    for each in ([new] if new is not None else []) + old:
        told = conditions.find(each, "ReplicaFailure")
        if told is not None:
            return {
                "type": told["type"],
                "status": told["status"],
                "lastUpdateTime": told.get("lastTransitionTime"),
                "lastTransitionTime": told.get("lastTransitionTime"),
                "reason": told.get("reason"),
                "message": told.get("message"),
            }
    return None
