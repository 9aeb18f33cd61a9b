"""Where is a pod in its life: active, ready, available, terminating or finished?

The only questions the workload controllers ask about a pod; all are pure functions of the pod and the present.
"""

from __future__ import annotations

import datetime

from shim.api import conditions
from shim.api.meta import Object, parse_time


def phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def is_ready(pod: Object) -> bool:
    """Whether the Ready condition is True."""
    return conditions.is_true(pod, "Ready")


def ready_since(pod: Object) -> datetime.datetime | None:
    """When a ready pod became ready."""
    found = conditions.find(pod, "Ready")
    if found is None or found.get("status") != "True" or not found.get("lastTransitionTime"):
        return None
    return parse_time(found["lastTransitionTime"])


def is_available(pod: Object, min_ready_seconds: int, now: datetime.datetime) -> bool:
    """Whether the pod has been ready for at least ``min_ready_seconds``."""
    if not is_ready(pod):
        return False
    if min_ready_seconds <= 0:
        return True
    since = ready_since(pod)
    return since is not None and since + datetime.timedelta(seconds=min_ready_seconds) <= now


def seconds_until_available(pods: list[Object], min_ready_seconds: int, now: datetime.datetime) -> float | None:
    """How long until the next of these ready pods becomes available; None when none is on its way."""
    waits = []
    for pod in pods:
        since = ready_since(pod)
        if since is not None and min_ready_seconds > 0:
            wait = (since + datetime.timedelta(seconds=min_ready_seconds) - now).total_seconds()
            if wait > 0:
                waits.append(wait)
    return min(waits, default=None)


def is_deleted(obj: Object) -> bool:
    """Whether deletion has been asked for."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def is_finished(pod: Object) -> bool:
    """Whether the pod has run to its end: Succeeded or Failed."""
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Whether the pod counts as a replica: not finished, not being deleted."""
    return not is_finished(pod) and not is_deleted(pod)


def is_terminating(pod: Object) -> bool:
    """Whether the pod is being deleted but has not ended yet."""
    return is_deleted(pod) and not is_finished(pod)
