"""Whether a container that ended is run again. Pure.

The pod's restartPolicy decides; a container may have its own, and rules on exit codes before it. Such a rule may ask
for more than the container itself: all of the pod's begin anew, from its first init container on (KEP-5532).
"""

from __future__ import annotations

from nodeagent.kubelet.names import ContainerKind, is_sidecar, lasting_of
from nodeagent.kubelet.observed import Run
from shim.api.meta import Object

RESTARTS_ALL = "RestartAllContainers"
RESTARTING_ALL = "RestartingAllContainers"
"""The reason why a container ended that another one took with it."""


def _action_after(container: Object, exit_code: int) -> str:
    """What the first rule that fits asks for."""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        listed = exit_code in (codes.get("values") or ())
        if codes and listed == (codes.get("operator") == "In"):
            return str(rule.get("action") or "")
    return ""


def may_restart_all(pod: Object) -> bool:
    """Whether any container has a rule by which all begin anew."""
    return any(
        rule.get("action") == RESTARTS_ALL
        for container in lasting_of(pod)
        for rule in container.get("restartPolicyRules") or ()
    )


def restarts_all(container: Object, run: Run | None) -> bool:
    """Whether the end of this run means that all of the pod's containers begin anew."""
    return run is not None and run.phase == "exited" and _action_after(container, run.exit_code) == RESTARTS_ALL


def restarts_after(pod: Object, container: Object, exit_code: int) -> bool:
    """Whether an end with this code is followed by another run."""
    if _action_after(container, exit_code) in ("Restart", RESTARTS_ALL):
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
