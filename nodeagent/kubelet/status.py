"""The status of a pod as the API shows it, from what is true on the node. Pure: no clock, no I/O.

A terminal phase is told only once everything has stopped: whoever sees Succeeded or Failed may rely on it.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from nodeagent.kubelet import resources
from nodeagent.kubelet.conditions import DISRUPTION, NOTHING_RESIZED, OWNED, RESTARTING, pod_conditions
from nodeagent.kubelet.containerspec import readonly_below
from nodeagent.kubelet.names import RUNTIME, STATUSES, ContainerKind, containers_of, is_sidecar, lasting_of, statuses_of
from nodeagent.kubelet.observed import Observed, Run
from nodeagent.kubelet.phase import TERMINAL, phase_of
from nodeagent.kubelet.policy import RESTARTING_ALL, restarts_all, should_start
from nodeagent.kubelet.resize import Resizing, given
from shim.api.conditions import is_true
from shim.api.meta import Object

GONE = "ContainerStatusUnknown"
START_FAILED_CODE = 128  # what runtimes report for a process that never ran


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the kubelet itself ends a pod, e.g. ``DeadlineExceeded``."""

    reason: str
    message: str
    grace: int | None = None  # seconds its containers have to end, instead of the pod's own
    disruption: str = ""  # what a condition says of a pod that did nothing wrong


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as metav1.Time."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_status(
    pod: Object,
    observed: Observed,
    *,
    previous: Object,
    host_ip: str,
    now: float,
    for_good: bool = False,
    ended: bool = False,
    verdict: Verdict | None = None,
    resizing: Resizing = NOTHING_RESIZED,
) -> Object:
    """The whole PodStatus.

    ``previous``: the status before; times, ids of containers that are gone and restart counts are kept from it.
    ``for_good``: nothing will be started again. ``ended``: and nothing runs, not even the sandbox.
    """
    generation = pod["metadata"].get("generation")
    api_phase = (pod.get("status") or {}).get("phase")
    lists = {kind: _container_statuses(pod, kind, observed, previous) for kind in STATUSES}
    statuses = {status["name"]: status for kind in ("initContainers", "containers") for status in lists[kind]}
    main = [observed.latest(c["name"]) for c in pod["spec"]["containers"]]
    phase = phase_of(pod, statuses, for_good=for_good, initialized=any(run and run.phase != "exited" for run in main))
    # who is sent away is as ready as before until it has ended; whose time is over is not
    until_then = phase if verdict is not None and verdict.grace is not None and not ended else None
    if verdict is not None:
        phase = "Failed"
    for earlier in (previous.get("phase"), api_phase):
        if earlier in TERMINAL:
            phase = earlier
    others = [c for c in (pod.get("status") or {}).get("conditions") or () if c["type"] not in OWNED]
    if verdict is not None and verdict.disruption:
        others = [*(c for c in others if c["type"] != DISRUPTION), _disruption(pod, verdict, now)]
    conditions = pod_conditions(
        pod,
        statuses,
        until_then or phase,
        sandbox_ready=observed.sandbox_ready and bool(observed.ip or pod["spec"].get("hostNetwork")),
        others=others,
        previous=previous.get("conditions") or (),
        now=timestamp(now),
        resizing=resizing if phase not in TERMINAL else NOTHING_RESIZED,
        restarting=_all_restart(pod, observed),
    )
    if ended:
        _account_for_all(pod, lists, previous)
        phase = phase if phase in TERMINAL else "Failed"
    shown: str = phase
    if phase in TERMINAL and api_phase not in TERMINAL and (observed.running or observed.sandbox_ready):
        shown = previous.get("phase") or api_phase or "Pending"

    status: Object = {
        "phase": shown,
        "conditions": conditions,
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "qosClass": resources.qos_class(pod),
        "startTime": previous.get("startTime") or timestamp(now),
        # those in force: as long as a resize goes on, what they were
        "resources": (previous.get("resources") if resizing.in_progress else None) or resources.reported(pod),
    }
    if generation:
        status["observedGeneration"] = generation
    if shown == phase and phase == "Failed" and verdict is not None:
        status["reason"], status["message"] = verdict.reason, verdict.message
    elif shown == previous.get("phase"):
        status.update({key: previous[key] for key in ("reason", "message") if previous.get(key)})
    if requests := resources.pod_totals(pod, "requests"):
        status["allocatedResources"] = resources.texts(requests)
    ip = host_ip if pod["spec"].get("hostNetwork") else _told_ip(observed) or previous.get("podIP") or ""
    if ip:
        status["podIP"], status["podIPs"] = ip, [{"ip": ip}]
    for kind, key in STATUSES.items():
        if lists[kind]:
            status[key] = lists[kind]
    for key in ("nominatedNodeName", "resize", "resourceClaimStatuses", "extendedResourceClaimStatus"):
        if key in (pod.get("status") or {}):
            status[key] = pod["status"][key]  # others' fields
    return status


def _account_for_all(pod: Object, lists: Mapping[ContainerKind, list[Object]], previous: Object) -> None:
    """Nothing of the pod runs, and nothing will: whatever had its turn has ended, even if nobody knows how."""
    init, main = lists["initContainers"], lists["containers"]
    turns = [at for at, status in enumerate(init) if "waiting" not in status["state"] or status.get("lastState")]
    had_turn = init[: turns[-1] + 1] if turns else init[:1]
    if not init or _had_all_initialized(pod, previous):
        had_turn = [*had_turn, *main]
    unknown = _unknown_end("The container could not be located when the pod was terminated")
    for status in had_turn:
        if "terminated" not in status["state"]:
            status["state"] = {"terminated": unknown}


def _had_all_initialized(pod: Object, told: Object) -> bool:
    main = told.get("containerStatuses") or ()
    if any("waiting" not in status["state"] or status.get("lastState") for status in main):
        return True
    if not (init := told.get("initContainerStatuses") or ()):
        return False
    last = init[-1]
    if is_sidecar("initContainers", pod["spec"]["initContainers"][-1]):
        return "running" in last["state"] and bool(last.get("started"))
    ends = (last["state"].get("terminated"), (last.get("lastState") or {}).get("terminated"))
    return any(end is not None and end["exitCode"] == 0 for end in ends)


def _unknown_end(message: str) -> Object:
    return {"exitCode": 137, "reason": GONE, "message": message, "startedAt": None, "finishedAt": None}


def _disruption(pod: Object, verdict: Verdict, now: float) -> Object:
    condition: Object = {
        "type": DISRUPTION,
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": timestamp(now),
        "reason": "TerminationByKubelet",
        "message": verdict.disruption,
    }
    if generation := pod["metadata"].get("generation"):
        condition["observedGeneration"] = generation
    return condition


def overtakes(told: Object, status: Object) -> bool:
    """Whether ``status`` is of a later moment in the same life of a container: ``told`` ought to be heard before it."""
    later = {each["containerID"]: each for each in statuses_of(status) if each.get("containerID")}
    return any(
        each.get(key) != later[life].get(key)
        for each in statuses_of(told)
        if (life := each.get("containerID")) in later
        for key in ("state", "started", "ready")
    )


def rejected_status(pod: Object, why: Verdict, now: float) -> Object:
    """Of a pod that this node does not admit: what others told of it, and that it has failed."""
    before = pod.get("status") or {}
    status: Object = {
        **before,
        "phase": "Failed",
        "reason": why.reason,
        "message": f"Pod was rejected: {why.message}",
        "qosClass": resources.qos_class(pod),
        "startTime": before.get("startTime") or timestamp(now),
    }
    if generation := pod["metadata"].get("generation"):
        status["observedGeneration"] = generation
    return status


def _told_ip(observed: Observed) -> str:
    """The address, from the first try to start a container on: earlier nobody could answer there."""
    tried = any(observed.runs.values()) or any(observed.waiting) or observed.held_back
    return observed.ip if tried else ""


def _all_restart(pod: Object, observed: Observed) -> bool:
    """Whether a container has ended after which all of the pod's begin anew."""
    return any(restarts_all(container, observed.latest(container["name"])) for container in lasting_of(pod))


def _container_statuses(pod: Object, kind: ContainerKind, observed: Observed, previous: Object) -> list[Object]:
    before = {status["name"]: status for status in previous.get(STATUSES[kind]) or ()}
    forgotten = is_true({"status": previous}, RESTARTING)
    return [
        _container_status(pod, kind, container, observed, before.get(container["name"]), forgotten)
        for of, container in containers_of(pod)
        if of == kind
    ]


def _container_status(
    pod: Object, kind: ContainerKind, container: Object, observed: Observed, before: Object | None, forgotten: bool
) -> Object:
    name = container["name"]
    runs = observed.runs.get(name, ())
    if runs:
        status = _status_of_run(container, runs, before)
    elif before and forgotten and "waiting" not in before["state"]:
        status = _status_of_forgotten(container, before)
    else:
        status = _status_without_run(pod, container, before)
    if mounts := _volume_mounts(container):
        status["volumeMounts"] = mounts

    run = runs[0] if runs else None
    waiting = observed.waiting.get(name)
    if waiting is not None and should_start(pod, kind, container, run):
        if "terminated" in status["state"]:
            status["lastState"] = status["state"]
        status["state"] = {"waiting": {"reason": waiting.reason}}
        if waiting.message:
            status["state"]["waiting"]["message"] = waiting.message

    if kind == "ephemeralContainers":
        return {**status, "ready": False}  # as upstream: nobody waits for them, whether they have started is not told

    running = run is not None and run.phase == "running"
    health = observed.health_of(run) if run else None
    status["started"] = bool(running and health and health.started)
    if kind == "initContainers" and not is_sidecar(kind, container):
        status["ready"] = (status["state"].get("terminated") or {}).get("exitCode") == 0
    else:
        status["ready"] = bool(status["started"] and health and health.ready)
    return status


def _status_of_run(container: Object, runs: tuple[Run, ...], before: Object | None) -> Object:
    run = runs[0]
    status: Object = {
        "name": container["name"],
        "image": run.image,
        "imageID": run.image_id,
        "containerID": f"{RUNTIME}://{run.id}",
        "restartCount": max(run.attempt, (before or {}).get("restartCount") or 0),
        "state": _state(run),
        "lastState": {},
        "resources": _container_resources(given(run, container)),
    }
    if len(runs) > 1:
        status["lastState"] = _state(runs[1])
    elif before:  # the run before is gone, what it was is still known
        if before.get("containerID") != status["containerID"] and "terminated" in before["state"]:
            status["lastState"] = {"terminated": before["state"]["terminated"]}
        elif "terminated" in (before.get("lastState") or {}):
            status["lastState"] = before["lastState"]
    if requests := (container.get("resources") or {}).get("requests"):
        status["allocatedResources"] = dict(requests)
    if run.user is not None:
        uid, gid, groups = run.user
        status["user"] = {"linux": {"uid": uid, "gid": gid, "supplementalGroups": list(groups)}}
    return status


def _container_resources(told: Object) -> Object:
    return {key: dict(told[key]) for key in ("limits", "requests") if told.get(key)}


def _status_of_forgotten(container: Object, before: Object) -> Object:
    """However its last life ended, it was forgotten, so that all begin anew."""
    why = {"reason": RESTARTING_ALL, "message": "The container is removed because RestartAllContainers in place"}
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "restartCount": (before.get("restartCount") or 0) + 1,
        "state": {"waiting": why},
        "lastState": {"terminated": {**why, "exitCode": 137, "startedAt": None, "finishedAt": None}},
    }


def _status_without_run(pod: Object, container: Object, before: Object | None) -> Object:
    """No run is known: it was never made, or it is gone and only the earlier status tells of it."""
    if before and "terminated" in before["state"]:
        return {**before}
    initializing = bool(pod["spec"].get("initContainers"))
    status: Object = {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "restartCount": 0,
        "state": {"waiting": {"reason": "PodInitializing" if initializing else "ContainerCreating"}},
        "lastState": {},
    }
    if before:
        status["restartCount"] = before.get("restartCount") or 0
        status["lastState"] = before.get("lastState") or {}
        if "running" in before["state"] and not status["lastState"]:
            said = "The container could not be located when the pod was deleted.  The container used to be Running"
            status["lastState"] = {"terminated": _unknown_end(said)}
        if "running" in before["state"] and not pod["metadata"].get("deletionTimestamp"):
            status["restartCount"] += 1
    return status


def _state(run: Run) -> Object:
    if run.phase == "running":
        return {"running": {"startedAt": timestamp(run.started_at)}}
    if run.phase == "created":
        return {"waiting": {"reason": "ContainerCreating"}}
    code = START_FAILED_CODE if run.start_error else run.exit_code
    reason = "StartError" if run.start_error else "OOMKilled" if run.oom_killed else "Error" if code else "Completed"
    ended: Object = {
        "exitCode": code,
        "reason": reason,
        "startedAt": timestamp(run.started_at),
        "finishedAt": timestamp(run.finished_at),
        "containerID": f"{RUNTIME}://{run.id}",
    }
    if message := run.start_error or run.message:
        ended["message"] = message
    return {"terminated": ended}


def _volume_mounts(container: Object) -> list[Object]:
    mounts = []
    for mount in container.get("volumeMounts") or ():
        shown: Object = {"name": mount["name"], "mountPath": mount["mountPath"]}
        if mount.get("readOnly"):
            shown["readOnly"] = True
            shown["recursiveReadOnly"] = "Enabled" if readonly_below(mount) else "Disabled"
        mounts.append(shown)
    return mounts
