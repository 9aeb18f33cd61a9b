"""Whether a container that ended is run again. Pure.

The pod's restartPolicy decides; a container may have its own, and rules on exit codes before it.
"""

from __future__ import annotations

from nodeagent.kubelet.names import ContainerKind, is_sidecar
from nodeagent.kubelet.observed import Run
from shim.api.meta import Object


def restarts_after(pod: Object, container: Object, exit_code: int) -> bool:
    """Whether an end with this code is followed by another run."""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        if rule.get("action") == "Restart" and codes:
            listed = exit_code in (codes.get("values") or ())
            if listed == (codes.get("operator") == "In"):
                return True
    policy = container.get("restartPolicy") or pod["spec"].get("restartPolicy") or "Always"
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def should_start(pod: Object, kind: ContainerKind, container: Object, run: Run | None) -> bool:
    """Whether the container ought to run and does not; ``run`` is its newest life."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    if run is None or run.phase == "created":
        return True  # created and not running: an agent died between the two
    if run.phase == "running" or kind == "ephemeralContainers":
        return False
    if kind == "initContainers" and not is_sidecar(kind, container) and run.exit_code == 0:
        return False
    return restarts_after(pod, container, run.exit_code)
