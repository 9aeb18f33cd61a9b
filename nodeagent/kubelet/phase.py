"""The phase of a pod, from the states of its containers as status reports them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from nodeagent.kubelet.names import is_sidecar
from nodeagent.kubelet.policy import RESTARTING_ALL, restarts_after
from shim.api.meta import Object

Phase = Literal["Pending", "Running", "Succeeded", "Failed"]
TERMINAL = frozenset({"Succeeded", "Failed"})


def phase_of(pod: Object, statuses: Mapping[str, Object], *, for_good: bool, initialized: bool) -> Phase:
    """``for_good``: nothing will be started again. ``initialized``: a main container runs, whatever sidecars do."""
    pending_init = failed_init = 0
    pending_sidecars = 0
    running = waiting = stopped = final = succeeded = unknown = 0

    for container in pod["spec"].get("initContainers") or ():
        status = statuses.get(container["name"])
        state = status["state"] if status else {}
        last = (status.get("lastState") or {}).get("terminated") if status else None
        if is_sidecar("initContainers", container):
            if not status:
                unknown += 1
            elif "running" in state:
                running += 1
                pending_sidecars += not status.get("started")
            elif "waiting" in state and not last:
                pending_sidecars += 1
                waiting += 1
            continue
        ended = state.get("terminated") or ("waiting" in state and last) or None
        if not ended:
            pending_init += 1
        elif ended["exitCode"] != 0 and not _returns(pod, container, ended):
            failed_init += 1

    for container in pod["spec"]["containers"]:
        status = statuses.get(container["name"])
        if not status:
            unknown += 1
            continue
        state = status["state"]
        last = (status.get("lastState") or {}).get("terminated")
        if "running" in state:
            running += 1
        elif "terminated" in state:
            stopped += 1
            succeeded += state["terminated"]["exitCode"] == 0
            final += not _returns(pod, container, state["terminated"])
        elif last:
            stopped += 1
            final += not _returns(pod, container, last)
        else:
            waiting += 1

    if failed_init:
        return "Failed"
    if pending_init or (pending_sidecars and not initialized) or waiting:
        return "Pending"
    if running and not unknown:
        return "Running"
    if stopped and not running and not unknown:
        if not for_good and final != stopped:
            return "Running"  # between two runs
        return "Succeeded" if stopped == succeeded else "Failed"
    return "Pending"


def _returns(pod: Object, container: Object, ended: Object) -> bool:
    """Whether another run follows the one that ended."""
    return ended.get("reason") == RESTARTING_ALL or restarts_after(pod, container, ended["exitCode"])
