"""The conditions a kubelet reports of a pod: can it start containers, is it initialized, is it ready. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nodeagent.kubelet import resize
from nodeagent.kubelet.names import is_sidecar
from nodeagent.kubelet.phase import Phase
from nodeagent.kubelet.policy import may_restart_all
from nodeagent.kubelet.resize import Resizing
from shim.api.meta import Object

NOTHING_RESIZED = Resizing()

RESTARTING = "AllContainersRestarting"
OWNED = (
    *resize.CONDITIONS,
    *("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", RESTARTING),
)
"""The types only the kubelet writes, in the order it writes them."""
DISRUPTION = "DisruptionTarget"
"""Written by whoever sends a pod away: the kubelet, when its node runs short."""


def pod_conditions(
    pod: Object,
    statuses: Mapping[str, Object],
    phase: Phase,
    *,
    sandbox_ready: bool,
    others: Sequence[Object],
    previous: Sequence[Object],
    now: str,
    resizing: Resizing = NOTHING_RESIZED,
    restarting: bool = False,
) -> list[Object]:
    """``others``: conditions that someone else owns, kept as they are; ``previous``: to keep times of transition."""
    before = {condition["type"]: condition for condition in previous}
    ready = _containers_ready(pod, statuses, phase)
    found = {
        "PodReadyToStartContainers": (sandbox_ready, "", ""),
        "Initialized": _initialized(pod, statuses, phase, before),
        "Ready": ready if not ready[0] else _gates_open(pod, others),
        "ContainersReady": ready,
        "PodScheduled": (True, "", ""),
    }
    if may_restart_all(pod):
        found[RESTARTING] = _restarting(phase, going_on=restarting)
    generation = pod["metadata"].get("generation")
    owned = []
    for type_, (true, reason, message) in found.items():
        status = "True" if true else "False"
        old = before.get(type_) or {}
        condition: Object = {
            "type": type_,
            "status": status,
            "lastProbeTime": None,
            "lastTransitionTime": old.get("lastTransitionTime") if old.get("status") == status else now,
        }
        if generation and type_ != RESTARTING:  # upstream tells this one without
            condition["observedGeneration"] = generation
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        owned.append(condition)
    return [*others, *_resize_conditions(resizing, before, now), *owned]


def _restarting(phase: Phase, *, going_on: bool) -> Verdict:
    if phase in _OVER:
        return False, _OVER[phase], ""
    return (going_on, "RestartAllContainersStarted" * going_on, "container exited with restart policy rule" * going_on)


def _resize_conditions(resizing: Resizing, before: Mapping[str, Object], now: str) -> list[Object]:
    """Only while there is something to say: a resize that is done leaves no condition."""
    told: list[Object] = []
    if resizing.refused is not None:
        refused = resizing.refused
        told.append(_resize_condition(resize.PENDING, refused.reason, refused.message, resizing.refused_generation))
    if resizing.in_progress:
        reason = "Error" if resizing.error else ""
        told.append(_resize_condition(resize.IN_PROGRESS, reason, resizing.error, resizing.generation))
    for condition in told:
        old = before.get(condition["type"]) or {}
        unchanged = all(old.get(key) == condition.get(key) for key in ("reason", "message"))
        since = old.get("lastTransitionTime") if old and unchanged else now
        condition["lastProbeTime"] = condition["lastTransitionTime"] = since
    return told


def _resize_condition(type_: str, reason: str, message: str, generation: int) -> Object:
    condition: Object = {"type": type_, "status": "True"}
    if generation:
        condition["observedGeneration"] = generation
    if reason:
        condition["reason"], condition["message"] = reason, message
    return condition


Verdict = tuple[bool, str, str]  # status, reason, message
_OVER: Mapping[Phase, str] = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}


def _listed(names: Sequence[str]) -> str:
    return "[" + " ".join(names) + "]"


def _containers_ready(pod: Object, statuses: Mapping[str, Object], phase: Phase) -> Verdict:
    watched = [c["name"] for c in pod["spec"].get("initContainers") or () if is_sidecar("initContainers", c)]
    watched += [c["name"] for c in pod["spec"]["containers"]]
    unknown = [name for name in watched if name not in statuses]
    unready = [name for name in watched if name in statuses and not statuses[name]["ready"]]
    if phase in _OVER and (phase == "Failed" or not unknown):
        return False, _OVER[phase], ""
    messages = []
    if unknown:
        messages.append(f"containers with unknown status: {_listed(unknown)}")
    if unready:
        messages.append(f"containers with unready status: {_listed(unready)}")
    if messages:
        return False, "ContainersNotReady", ", ".join(messages)
    return True, "", ""


def _gates_open(pod: Object, others: Sequence[Object]) -> Verdict:
    """Readiness gates: conditions of others that the pod's author waits for."""
    told = {condition["type"]: condition["status"] for condition in others}
    messages = []
    for gate in pod["spec"].get("readinessGates") or ():
        type_ = gate["conditionType"]
        if type_ not in told:
            messages.append(f'corresponding condition of pod readiness gate "{type_}" does not exist.')
        elif told[type_] != "True":
            messages.append(f'the status of pod readiness gate "{type_}" is not "True", but {told[type_]}')
    if messages:
        return False, "ReadinessGatesNotReady", ", ".join(messages)
    return True, "", ""


def _initialized(pod: Object, statuses: Mapping[str, Object], phase: Phase, before: Mapping[str, Object]) -> Verdict:
    init = pod["spec"].get("initContainers") or ()
    unknown = [c["name"] for c in init if c["name"] not in statuses]
    incomplete = [c["name"] for c in init if c["name"] in statuses and not _done(c, statuses[c["name"]])]
    if phase == "Succeeded" and not unknown:
        return True, "PodCompleted", ""
    if any(_has_started(statuses.get(c["name"])) for c in pod["spec"]["containers"]):
        return True, "", ""  # an init container that restarts later takes nothing back
    messages = []
    if unknown:
        messages.append(f"containers with unknown status: {_listed(unknown)}")
    if incomplete:
        messages.append(f"containers with incomplete status: {_listed(incomplete)}")
    was = (before.get("Initialized") or {}).get("status") == "True"
    if messages and not was:  # what begins anew takes nothing back either
        return False, "ContainersNotInitialized", ", ".join(messages)
    return True, "", ""


def _done(container: Object, status: Object) -> bool:
    sidecar = is_sidecar("initContainers", container)
    return bool(status.get("started") if sidecar else status["ready"])


def _has_started(status: Object | None) -> bool:
    if status is None:
        return False
    state = status["state"]
    return bool("running" in state or "terminated" in state or status["restartCount"] or status.get("started"))
