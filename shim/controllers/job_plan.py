"""What does a job do next? Pure.

A pod counts for its job exactly once: it carries a finalizer until its end is in the job's status, first by uid
(``uncountedTerminatedPods``), and as a number when the finalizer is gone.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from shim.api import conditions
from shim.api.meta import Object, now, parse_time
from shim.controllers.job_failures import Backoff, finished_at, has_failed, judge, only_replaces_failed
from shim.controllers.job_indexes import all_failures_of, failures_of, index_of, is_indexed, parse_indexes
from shim.controllers.pod_ranking import choose_victims
from shim.controllers.pod_readiness import is_active, is_deleted, is_ready, is_terminating, phase

TRACKING = "batch.kubernetes.io/job-tracking"
BURST = 500  # pods made or removed in one step


def is_tracked(pod: Object) -> bool:
    """Whether the pod's end is still to be counted."""
    return TRACKING in (pod["metadata"].get("finalizers") or ())


def is_suspended(job: Object) -> bool:
    return bool(job["spec"].get("suspend"))


def is_finished(job: Object) -> bool:
    return conditions.is_true(job, "Complete") or conditions.is_true(job, "Failed")


def job_condition(kind: str, reason: str, message: str, status: str = "True") -> Object:
    time = now()
    return {
        "type": kind,
        "status": status,
        "lastProbeTime": time,
        "lastTransitionTime": time,
        "reason": reason,
        "message": message,
    }


@dataclass(slots=True)
class Observed:
    """What a job's pods come to."""

    pods: list[Object]
    active: list[Object]
    ready: int
    terminating: int
    new_succeeded: list[Object]
    new_failed: list[Object]
    succeeded: int = 0
    failed: int = 0
    done_before: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    broken: set[int] | None = None  # indexes that failed for good; None without a limit per index
    held: dict[int, Object] = field(default_factory=dict)  # the failed pod of an index, kept until it is replaced


def observe(job: Object, pods: list[Object]) -> Observed:
    """Count the pods, the newly ended ones among them."""
    spec, status = job["spec"], job.get("status") or {}
    uncounted = status.get("uncountedTerminatedPods") or {}
    completions = spec.get("completions") if is_indexed(job) else None

    def newly(told: str) -> list[Object]:
        known = uncounted.get(told) or ()
        tracked = (pod for pod in pods if is_tracked(pod) and pod["metadata"]["uid"] not in known)
        return [pod for pod in tracked if completions is None or index_of(pod, completions) is not None]

    active = [pod for pod in pods if is_active(pod)]
    seen = Observed(
        pods=pods,
        active=active,
        ready=sum(map(is_ready, active)),
        terminating=sum(map(is_terminating, pods)),
        new_succeeded=[pod for pod in newly("succeeded") if phase(pod) == "Succeeded"],
        new_failed=[pod for pod in newly("failed") if has_failed(pod, job)],
    )
    counting = [pod for pod in seen.new_failed if judge(job, pod).counts]
    seen.succeeded = status.get("succeeded", 0) + len(seen.new_succeeded) + len(uncounted.get("succeeded") or ())
    seen.failed = status.get("failed", 0) + len(counting) + len(uncounted.get("failed") or ())
    if completions is not None:
        _observe_indexes(job, seen, completions)
    return seen


def _observe_indexes(job: Object, seen: Observed, completions: int) -> None:
    status = job.get("status") or {}
    tracked = [
        (number, pod) for pod in seen.pods if is_tracked(pod) and (number := index_of(pod, completions)) is not None
    ]
    seen.done_before = parse_indexes(status.get("completedIndexes"), completions)
    seen.done = seen.done_before | {number for number, pod in tracked if phase(pod) == "Succeeded"}
    seen.succeeded = len(seen.done)
    limit = job["spec"].get("backoffLimitPerIndex")
    if limit is None:
        return
    seen.broken = parse_indexes(status.get("failedIndexes"), completions)
    for number, pod in tracked:
        if has_failed(pod, job):
            verdict = judge(job, pod)
            if verdict.action == "FailIndex" or (verdict.counts and failures_of(pod) >= limit):
                seen.broken.add(number)
    alive = {index_of(pod) for pod in seen.active}
    for number, pod in tracked:
        if not has_failed(pod, job) or number in seen.done or number in seen.broken or number in alive:
            continue
        held = seen.held.get(number)
        if held is None or all_failures_of(held) <= all_failures_of(pod):
            seen.held[number] = pod


def decide(job: Object, seen: Observed, at: datetime.datetime) -> Object | None:
    """The condition with which the job is about to finish, if it is."""
    met = conditions.find(job, "SuccessCriteriaMet")
    if met is not None and met["status"] == "True":
        return met
    target = conditions.find(job, "FailureTarget")
    if target is not None and target["status"] == "True":
        return job_condition("Failed", target["reason"], target["message"])
    return _failure(job, seen, at) or _success_policy(job, seen)


def _failure(job: Object, seen: Observed, at: datetime.datetime) -> Object | None:
    spec = job["spec"]
    for pod in seen.pods if spec.get("podFailurePolicy") else ():
        message = judge(job, pod).message if has_failed(pod, job) else None
        if message is not None:
            return job_condition("FailureTarget", "PodFailurePolicy", message)
    if seen.failed > spec.get("backoffLimit", 6) or _restarted_too_often(job, seen):
        return job_condition("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = seconds_to_deadline(job, at)
    if left is not None and left <= 0:
        return job_condition("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")
    if seen.broken:
        most = spec.get("maxFailedIndexes")
        if most is not None and len(seen.broken) > most:
            message = "Job has exceeded the specified maximal number of failed indexes"
            return job_condition("FailureTarget", "MaxFailedIndexesExceeded", message)
        if len(seen.broken) + len(seen.done) >= spec["completions"]:
            return job_condition("FailureTarget", "FailedIndexes", "Job has failed indexes")
    return None


def _restarted_too_often(job: Object, seen: Observed) -> bool:
    """Containers restarted in place (OnFailure) count like failed pods."""
    if job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    restarts = 0
    for pod in seen.pods:
        if phase(pod) in ("Running", "Pending"):
            status = pod.get("status") or {}
            for each in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
                restarts += each.get("restartCount", 0)
    limit = job["spec"].get("backoffLimit", 6)
    return restarts > 0 if limit == 0 else restarts >= limit


def seconds_to_deadline(job: Object, at: datetime.datetime) -> float | None:
    """How long the job may still be active."""
    limit, start = job["spec"].get("activeDeadlineSeconds"), (job.get("status") or {}).get("startTime")
    if limit is None or start is None or is_suspended(job):
        return None
    return (parse_time(start) + datetime.timedelta(seconds=limit) - at).total_seconds()


def seconds_to_live(job: Object, at: datetime.datetime) -> float | None:
    """How long a finished job stays; None for ever, or while it has not finished."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None or is_deleted(job) or not is_finished(job):
        return None
    ends = [
        condition["lastTransitionTime"]
        for condition in job["status"]["conditions"]
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
    ]
    return (parse_time(ends[0]) + datetime.timedelta(seconds=ttl) - at).total_seconds()


def _success_policy(job: Object, seen: Observed) -> Object | None:
    rules = (job["spec"].get("successPolicy") or {}).get("rules") or ()
    if not is_indexed(job) or not seen.done:
        return None
    for index, rule in enumerate(rules):
        counted = seen.done
        if rule.get("succeededIndexes") is not None:
            wanted = parse_indexes(rule["succeededIndexes"], job["spec"]["completions"])
            counted = seen.done & wanted
            if wanted and counted == wanted:
                return job_condition("SuccessCriteriaMet", "SuccessPolicy", f"Matched rules at index {index}")
        if rule.get("succeededCount") is not None and len(counted) >= rule["succeededCount"]:
            return job_condition("SuccessCriteriaMet", "SuccessPolicy", f"Matched rules at index {index}")
    return None


def completed(job: Object, seen: Observed, active: int) -> Object | None:
    """The condition of a job that has all its successes and no pod alive."""
    completions = job["spec"].get("completions")
    if active > 0 or seen.succeeded < (1 if completions is None else completions):
        return None
    return job_condition("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods")


@dataclass(slots=True)
class PodPlan:
    """Pods to make (how many, or for which indexes), pods to remove, and when to look again."""

    create: int = 0
    indexes: list[int] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    wait: float | None = None


def plan_pods(job: Object, seen: Observed, backoff: Backoff, at: datetime.datetime) -> PodPlan:
    """What brings the number of active pods to what the job wants now."""
    spec, active = job["spec"], len(seen.active)
    if is_suspended(job):
        return PodPlan(delete=list(seen.active))
    parallelism = spec.get("parallelism", 1)
    if spec.get("completions") is None:
        wanted = active if seen.succeeded > 0 else parallelism
    else:
        wanted = max(min(spec["completions"] - seen.succeeded, parallelism), 0)
    surplus = _to_remove(job, seen, max(active - wanted, 0), at)
    if surplus:
        return PodPlan(delete=surplus[:BURST])
    missing = wanted - active - (seen.terminating if only_replaces_failed(job) else 0)
    if missing <= 0:
        return PodPlan()
    if seen.broken is None:
        wait = backoff.remaining(at)
        if wait > 0:
            return PodPlan(wait=wait)
    missing = min(missing, BURST)
    if not is_indexed(job):
        return PodPlan(create=missing)
    pending = _pending_indexes(job, seen)[:missing]
    waits = {number: _index_backoff(seen.held[number], at) for number in pending if number in seen.held}
    ready = [number for number in pending if waits.get(number, 0.0) <= 0]
    later = min((left for left in waits.values() if left > 0), default=None)
    return PodPlan(create=len(ready), indexes=ready, wait=later)


def _index_backoff(pod: Object, at: datetime.datetime) -> float:
    return Backoff(all_failures_of(pod) + 1, finished_at(pod)).remaining(at)


def _pending_indexes(job: Object, seen: Observed) -> list[int]:
    taken = {index_of(pod) for pod in seen.active} | seen.done | (seen.broken or set())
    if only_replaces_failed(job):
        taken |= {index_of(pod) for pod in seen.pods if is_terminating(pod)}
    return [number for number in range(job["spec"]["completions"]) if number not in taken]


def _to_remove(job: Object, seen: Observed, count: int, at: datetime.datetime) -> list[Object]:
    """Of an Indexed job, first those whose index is double or not wanted; then the least valuable."""
    removed: list[Object] = []
    left = seen.active
    if is_indexed(job):
        groups: dict[int | None, list[Object]] = {}
        for pod in seen.active:
            groups.setdefault(index_of(pod, job["spec"]["completions"]), []).append(pod)
        removed = groups.pop(None, [])
        left = []
        for group in groups.values():
            ranked = choose_victims(group, [], len(group) - 1, at) if len(group) > 1 else []
            removed += ranked
            left += [pod for pod in group if pod not in ranked]
    more = count - len(removed)
    return removed + (choose_victims(left, [], more, at) if more > 0 else [])
