"""Which pods go first when there are too many?

Not yet placed before placed, pending before running, unready before ready; then the lower deletion cost, the pod with
more siblings on its node, the one ready for the shorter time, the more restarted, the younger.
Ages are compared by their power of two, so that pods of about the same age are picked by chance (their uid).
"""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Iterable

from shim.api.meta import Object, parse_time
from shim.controllers.pod_readiness import is_active, is_ready, phase, ready_since

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def choose_victims(pods: list[Object], related: Iterable[Object], count: int, now: datetime.datetime) -> list[Object]:
    """The ``count`` pods to delete; ``related`` are all pods of the same owner's other controllers and its own."""
    if count >= len(pods):
        return list(pods)
    on_node = Counter(node_of(pod) for pod in related if is_active(pod))
    return sorted(pods, key=lambda pod: _rank(pod, on_node[node_of(pod)], now))[:count]


def node_of(pod: Object) -> str:
    return str(pod["spec"].get("nodeName") or "")


def deletion_cost(pod: Object) -> int:
    try:
        return int((pod["metadata"].get("annotations") or {}).get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _magnitude(since: datetime.datetime | None, now: datetime.datetime) -> int:
    """The age in powers of two of nanoseconds; unknown counts as youngest."""
    nanoseconds = (now - since).total_seconds() * 1e9 if since is not None else 0
    return int(math.log2(nanoseconds)) if nanoseconds > 0 else -1


def _restarts(pod: Object) -> tuple[int, int]:
    status = pod.get("status") or {}
    sidecars = {
        container["name"]
        for container in pod["spec"].get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    regular = max((state.get("restartCount", 0) for state in status.get("containerStatuses") or ()), default=0)
    side = max(
        (
            state.get("restartCount", 0)
            for state in status.get("initContainerStatuses") or ()
            if state["name"] in sidecars
        ),
        default=0,
    )
    return regular, side


def _rank(pod: Object, siblings: int, now: datetime.datetime) -> tuple[object, ...]:
    ready = is_ready(pod)
    regular, sidecars = _restarts(pod)
    created = pod["metadata"].get("creationTimestamp")
    return (
        bool(node_of(pod)),
        _PHASES.get(phase(pod), 0),
        ready,
        deletion_cost(pod),
        -siblings,
        _magnitude(ready_since(pod), now) if ready else 0,
        -regular,
        -sidecars,
        _magnitude(parse_time(created) if created else None, now),
        pod["metadata"].get("uid", ""),
    )
