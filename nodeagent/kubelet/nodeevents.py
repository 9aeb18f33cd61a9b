"""What happened to the node, in the words kubelets use: its conditions as they change, and who may come. Pure."""

from __future__ import annotations

from shim.api.meta import Object

STARTING = "Starting", "Starting kubelet."
ENFORCED = "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods"
_PRESSURES = {  # of a condition that is False, and True
    "MemoryPressure": ("NodeHasSufficientMemory", "NodeHasInsufficientMemory"),
    "DiskPressure": ("NodeHasNoDiskPressure", "NodeHasDiskPressure"),
    "PIDPressure": ("NodeHasSufficientPID", "NodeHasInsufficientPID"),
}


def not_enforced(why: str) -> tuple[str, str]:
    """Reason and message."""
    return "FailedNodeAllocatableEnforcement", f"Failed to update Node Allocatable Limits: {why}"


def message(name: str, reason: str) -> str:
    return f"Node {name} status is now: {reason}"


def of_status(old: Object, new: Object) -> list[str]:
    """The reasons for events when a status changes; a Ready condition that is new tells nothing."""
    before = {each["type"]: each["status"] for each in old.get("conditions") or ()}
    reasons = []
    for condition in new.get("conditions") or ():
        kind, status = condition["type"], condition["status"]
        if before.get(kind) == status:
            continue
        if kind in _PRESSURES and status != "Unknown":
            reasons.append(_PRESSURES[kind][status == "True"])
        elif kind == "Ready" and kind in before:
            reasons.append("NodeReady" if status == "True" else "NodeNotReady")
    return reasons


def of_spec(old: Object, new: Object) -> list[str]:
    """The same when someone cordons the node, or lets pods come again."""
    closed = bool(new.get("unschedulable"))
    return [] if closed == bool(old.get("unschedulable")) else ["NodeNotSchedulable" if closed else "NodeSchedulable"]
