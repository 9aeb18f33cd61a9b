"""What is shown of pods: the one word that says how a pod is doing is found here."""

from __future__ import annotations

from typing import Any

from shim.api import conditions
from shim.api.meta import Object
from shim.resources.columns.common import AGE, NAME, NONE, at, containers, doc, labels, since, text, wide


def _terminated(state: Object, prefix: str = "") -> str:
    """Why a container ended, in a word."""
    if state.get("reason"):
        return f"{prefix}{state['reason']}"
    if state.get("signal"):
        return f"{prefix}Signal:{state['signal']}"
    return f"{prefix}ExitCode:{state.get('exitCode') or 0}"


def _sidecars(pod: Object) -> set[str]:
    """Init containers that keep running beside the others."""
    found = pod["spec"].get("initContainers") or ()
    return {each["name"] for each in found if each.get("restartPolicy") == "Always"}


def _initializing(pod: Object, sidecars: set[str]) -> str:
    """What the init containers are at; empty once they are through."""
    status, total = pod.get("status") or {}, len(pod["spec"].get("initContainers") or ())
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if container.get("name") in sidecars and container.get("started"):
            continue
        if terminated is not None:
            return _terminated(terminated, "Init:")
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{total}"
    return ""


def _running(pod: Object, reason: str) -> str:
    """What the containers are at, the first one having the last word."""
    found = (pod.get("status") or {}).get("containerStatuses") or ()
    running, error = False, ""
    for container in reversed(found):
        state = container.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated is not None:
            reason = _terminated(terminated)
            if terminated.get("exitCode"):
                error = reason
        elif container.get("ready") and state.get("running") is not None:
            running = True
    if reason != "Completed":
        return reason
    if running and conditions.is_true(pod, "Ready"):
        return "Running"
    if error:
        return error
    return "NotReady" if running else reason


def status(pod: Object) -> str:
    """Pending, Running, CrashLoopBackOff, Init:0/1, Completed, Terminating ..."""
    found = pod.get("status") or {}
    phase = found.get("phase") or ""
    reason = found.get("reason") or phase
    scheduled = conditions.find(pod, "PodScheduled")
    if scheduled and scheduled.get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    initializing = _initializing(pod, _sidecars(pod))
    if initializing and not conditions.is_true(pod, "Initialized"):
        reason = initializing
    else:
        reason = _running(pod, initializing or reason)
    if pod["metadata"].get("deletionTimestamp"):
        if found.get("reason") == "NodeLost":
            return "Unknown"
        if phase not in ("Succeeded", "Failed"):
            return "Terminating"
    return reason


def ready(pod: Object) -> str:
    """``1/2``: containers and sidecars that take traffic, of all."""
    sidecars, found = _sidecars(pod), pod.get("status") or {}
    running = 0
    for container in found.get("containerStatuses") or ():
        state = container.get("state") or {}
        waits = (state.get("waiting") or {}).get("reason")
        running += bool(container.get("ready") and state.get("running") is not None and not waits)
    initializing = _initializing(pod, sidecars)
    if initializing and not conditions.is_true(pod, "Initialized"):
        running = 0
    for container in found.get("initContainerStatuses") or ():
        if container.get("name") in sidecars and container.get("started"):
            running += bool(container.get("ready"))
    return f"{running}/{len(pod['spec'].get('containers') or ()) + len(sidecars)}"


def restarts(pod: Object) -> str:
    """``3 (2m ago)``."""
    found, sidecars = pod.get("status") or {}, _sidecars(pod)
    init = found.get("initContainerStatuses") or ()
    if _initializing(pod, sidecars) and not conditions.is_true(pod, "Initialized"):
        counted = list(init)
    else:
        counted = [each for each in init if each.get("name") in sidecars] + (found.get("containerStatuses") or [])
    times = sum(each.get("restartCount") or 0 for each in counted)
    ends = [((each.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or "" for each in counted]
    last = max(ends, default="")
    return f"{times} ({since(last)} ago)" if times and last else str(times)


def _readiness_gates(pod: Object) -> str:
    gates = pod["spec"].get("readinessGates") or ()
    if not gates:
        return NONE
    return f"{sum(conditions.is_true(pod, gate['conditionType']) for gate in gates)}/{len(gates)}"


def _ip(pod: Object) -> Any:
    found = (pod.get("status") or {}).get("podIPs") or ()
    return (found[0].get("ip") if found else "") or NONE


PODS = (
    NAME,
    text("Ready", "The aggregate readiness state of this pod for accepting traffic.", ready),
    text("Status", "The aggregate status of the containers in this pod.", status),
    text(
        "Restarts",
        "The number of times the containers in this pod have been restarted and when the last container in this pod "
        "has restarted.",
        restarts,
    ),
    AGE,
    wide("IP", doc("core.v1.PodStatus", "podIP"), _ip),
    wide("Node", doc("core.v1.PodSpec", "nodeName"), lambda pod: at("spec.nodeName")(pod) or NONE),
    wide(
        "Nominated Node",
        doc("core.v1.PodStatus", "nominatedNodeName"),
        lambda pod: at("status.nominatedNodeName")(pod) or NONE,
    ),
    wide("Readiness Gates", doc("core.v1.PodSpec", "readinessGates"), _readiness_gates),
)

POD_TEMPLATES = (
    NAME,
    text("Containers", "Names of each container in the template.", containers("template.spec.containers", "name")),
    text(
        "Images",
        "Images referenced by each container in the template.",
        containers("template.spec.containers", "image"),
    ),
    text(
        "Pod Labels",
        "The labels for the pod template.",
        lambda obj: labels(at("template.metadata.labels", None)(obj)),
    ),
)
