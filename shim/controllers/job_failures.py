"""What does a failed pod mean for its job, and how long until the next one is tried? Pure."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from shim.api import conditions
from shim.api.meta import Object, parse_time
from shim.controllers.pod_readiness import is_deleted, phase

FIRST_BACKOFF, LONGEST_BACKOFF = 10.0, 600.0  # seconds, as upstream


def only_replaces_failed(job: Object) -> bool:
    """Whether a terminating pod is replaced only when it has ended."""
    spec = job["spec"]
    return bool(spec.get("podReplacementPolicy") == "Failed" or spec.get("podFailurePolicy"))


def has_failed(pod: Object, job: Object) -> bool:
    """Whether the pod counts as failed: being deleted is enough, unless the job waits for the end."""
    if phase(pod) == "Failed":
        return True
    return not only_replaces_failed(job) and is_deleted(pod) and phase(pod) != "Succeeded"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the pod failure policy says of a pod."""

    counts: bool = True
    action: str | None = None
    message: str | None = None  # set when the whole job fails


def judge(job: Object, pod: Object) -> Verdict:
    """The first rule that matches decides; without one the failure counts."""
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules") or ()
    metadata = pod["metadata"]
    name = f"{metadata['namespace']}/{metadata['name']}"
    for index, rule in enumerate(rules):
        action = rule["action"]
        if rule.get("onExitCodes"):
            status = _with_exit_code(pod, rule["onExitCodes"])
            if status is None:
                continue
            code = status["state"]["terminated"]["exitCode"]
            what = f"Container {status['name']} for pod {name} failed with exit code {code}"
        else:
            matched = _with_condition(pod, rule.get("onPodConditions") or ())
            if matched is None:
                continue
            what = f"Pod {name} has condition {matched['type']}"
        if action == "FailJob":
            return Verdict(True, action, f"{what} matching {action} rule at index {index}")
        return Verdict(action != "Ignore", action)
    return Verdict()


def _with_exit_code(pod: Object, wanted: Object) -> Object | None:
    status = pod.get("status") or {}
    for found in [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]:
        code = ((found.get("state") or {}).get("terminated") or {}).get("exitCode", 0)
        if code == 0 or wanted.get("containerName") not in (None, found["name"]):
            continue
        if (code in wanted["values"]) == (wanted["operator"] == "In"):
            return dict(found)
    return None


def _with_condition(pod: Object, patterns: Any) -> Object | None:
    for found in (pod.get("status") or {}).get("conditions") or ():
        for pattern in patterns:
            if (found["type"], found["status"]) == (pattern["type"], pattern.get("status") or "True"):
                return dict(found)
    return None


def finished_at(pod: Object) -> datetime.datetime:
    """When the pod ended: by its containers, else by its readiness, its deletion, or at worst its creation."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    ends = [
        ((found.get("state") or {}).get("terminated") or {}).get("finishedAt")
        for found in status.get("containerStatuses") or ()
    ]
    if ends and all(ends):
        return max(parse_time(end) for end in ends if end)
    ready = conditions.find(pod, "Ready")
    if ready is not None and ready["status"] == "False" and ready.get("lastTransitionTime"):
        return parse_time(ready["lastTransitionTime"])
    if metadata.get("deletionTimestamp"):
        grace = datetime.timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
        return parse_time(metadata["deletionTimestamp"]) - grace
    return parse_time(metadata["creationTimestamp"])


@dataclass(frozen=True, slots=True)
class Backoff:
    """Failures since the last success, and when the last one was."""

    failures: int = 0
    last: datetime.datetime | None = None

    def after(self, succeeded: list[Object], failed: list[Object]) -> Backoff:
        """The record once these newly ended pods are counted."""
        if not succeeded and not failed:
            return self
        times = [finished_at(pod) for pod in failed]
        if not succeeded:
            return Backoff(self.failures + len(failed), max(times))
        success = max(finished_at(pod) for pod in succeeded)
        later = [time for time in times if time > success]
        return Backoff(len(later), max(later, default=None))

    def remaining(self, at: datetime.datetime) -> float:
        """Seconds until the next pod may be made."""
        if self.failures == 0 or self.last is None:
            return 0.0
        delay = min(FIRST_BACKOFF * 2.0 ** min(self.failures - 1, 30), LONGEST_BACKOFF)
        return max(delay - (at - self.last).total_seconds(), 0.0)
