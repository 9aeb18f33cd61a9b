"""What does a job's status say, and which pods may be let go once it says so? Pure.

The order makes the count safe against a crash between any two steps: write the uids of ended pods, remove their
finalizers, then turn the uids into numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from shim.api.meta import Object, now
from shim.controllers.job_failures import has_failed, judge
from shim.controllers.job_indexes import format_indexes, index_of, is_indexed
from shim.controllers.job_plan import Observed, is_suspended, is_tracked, job_condition
from shim.controllers.pod_readiness import is_deleted, phase

MOST_UNCOUNTED = 500  # uids in one status


@dataclass(frozen=True, slots=True)
class Tracking:
    """The status to write first, the pods whose finalizer may then go, and the condition to finish with at last.

    There is none yet when the status could not take all pods at once: the job is asked again for the others.
    """

    status: Object
    release: list[Object]
    finish: Object | None


def started(job: Object) -> Object:
    """The status as it is, with the time the job started."""
    status = dict(job.get("status") or {})
    if not status.get("startTime") and not is_suspended(job):
        status["startTime"] = now()
    status["uncountedTerminatedPods"] = dict(status.get("uncountedTerminatedPods") or {})
    return status


def living(status: Object, active: int, ready: int, terminating: int) -> Object:
    """The status with the present counts of pods that are not counted by their end."""
    status = {**status, "ready": max(ready, 0), "terminating": terminating}
    status.pop("active", None)
    return {**status, "active": active} if active > 0 else status


def with_suspension(job: Object, status: Object) -> tuple[Object, str | None]:
    """The status that tells whether the job is suspended, and the event's reason if that is new."""
    found = list(status.get("conditions") or ())
    current = next((each for each in found if each["type"] == "Suspended"), None)
    if is_suspended(job):
        if current is not None and current["status"] == "True":
            return status, None
        told, reason = job_condition("Suspended", "JobSuspended", "Job suspended"), "Suspended"
    else:
        if current is None or current["status"] == "False":
            return status, None
        told, reason = job_condition("Suspended", "JobResumed", "Job resumed", status="False"), "Resumed"
    status = {**status, "conditions": _replaced(found, told)}
    if reason == "Suspended":
        status.pop("startTime", None)
    else:
        status["startTime"] = now()
    return status, reason


def _replaced(found: list[Object], told: Object) -> list[Object]:
    if any(each["type"] == told["type"] for each in found):
        return [told if each["type"] == told["type"] else each for each in found]
    return [*found, told]


def track(job: Object, status: Object, seen: Observed, finish: Object | None) -> Tracking:
    """Note the pods that have ended (or that a finishing job gives up)."""
    status = settle(status, {pod["metadata"]["uid"] for pod in seen.pods if is_tracked(pod)})
    uncounted = status["uncountedTerminatedPods"]
    lists = {told: list(uncounted.get(told) or ()) for told in ("succeeded", "failed")}
    indexed, completions = is_indexed(job), job["spec"].get("completions")
    failing = finish is not None and finish["type"] != "SuccessCriteriaMet"
    done, release, full = set(seen.done_before), [], False
    for pod in sorted(seen.pods, key=lambda each: index_of(each) or 0) if indexed else seen.pods:
        if not is_tracked(pod) or not _may_release(job, seen, pod, finish):
            continue
        uid = pod["metadata"]["uid"]
        number = index_of(pod, completions) if indexed else None
        known = not indexed or number is not None
        release.append(pod)
        if phase(pod) == "Succeeded" and uid not in lists["failed"]:
            if number is not None:
                done.add(number)
            elif not indexed and uid not in lists["succeeded"]:
                lists["succeeded"].append(uid)
        elif (has_failed(pod, job) or failing) and uid not in lists["failed"] and known and judge(job, pod).counts:
            lists["failed"].append(uid)
        if len(done) - len(seen.done_before) + len(lists["succeeded"]) + len(lists["failed"]) >= MOST_UNCOUNTED:
            full = True
            break
    status["uncountedTerminatedPods"] = {told: uids for told, uids in lists.items() if uids}
    if indexed:
        status = _with_indexes(status, done, seen.broken)
    if finish is not None and finish["type"] in ("FailureTarget", "SuccessCriteriaMet"):
        found = list(status.get("conditions") or ())
        if not any(each["type"] == finish["type"] and each["status"] == "True" for each in found):
            status["conditions"] = _replaced(found, finish)
        final = "Failed" if finish["type"] == "FailureTarget" else "Complete"
        finish = job_condition(final, finish["reason"], finish["message"])
    return Tracking(status, release, None if full else finish)


def _may_release(job: Object, seen: Observed, pod: Object, finish: Object | None) -> bool:
    if is_deleted(job) or finish is not None or phase(pod) == "Succeeded":
        return True
    if not has_failed(pod, job):
        return False
    number = index_of(pod)
    held = seen.held.get(number) if number is not None else None
    return held is None or held["metadata"]["uid"] != pod["metadata"]["uid"]


def _with_indexes(status: Object, done: set[int], broken: set[int] | None) -> Object:
    status = {**status, "succeeded": len(done), "completedIndexes": format_indexes(done)}
    for field in ("succeeded", "completedIndexes"):
        if not status[field]:
            del status[field]
    if broken is not None:
        status["failedIndexes"] = format_indexes(broken)
    return status


def settle(status: Object, tracked: set[str]) -> Object:
    """Turn the uids of pods that have lost their finalizer into numbers."""
    uncounted, settled = status["uncountedTerminatedPods"], dict(status)
    left = {}
    for told in ("succeeded", "failed"):
        uids = uncounted.get(told) or []
        kept = [uid for uid in uids if uid in tracked]
        if len(uids) > len(kept):
            settled[told] = settled.get(told, 0) + len(uids) - len(kept)
        if kept:
            left[told] = kept
    settled["uncountedTerminatedPods"] = left
    return settled


def finished_status(status: Object, finish: Object | None) -> Object | None:
    """The last status of a job, once every pod is counted and none is terminating; None before."""
    if finish is None or status["uncountedTerminatedPods"] or status.get("terminating"):
        return None
    status = {**status, "conditions": _replaced(list(status.get("conditions") or ()), finish)}
    if finish["type"] == "Complete":
        status["completionTime"] = finish["lastTransitionTime"]
    return status
