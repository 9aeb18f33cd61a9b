"""What must hold of a Job's status, and how it may change, whoever manages the Job (KEP-4368).

A rule is only asked when what it concerns has changed: a status that was written before the rule came stays writable.
"""

from __future__ import annotations

from shim.api import conditions
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import duplicate, invalid, invalid_without_value, not_negative, required
from shim.resources.workloads.job_policies import count_indexes

_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")
_CONDITIONS = "status.conditions"
_TERMINAL = ("Failed", "Complete", "FailureTarget")


class _Stage:
    """A Job as it was or will be, and how far it has come."""

    def __init__(self, job: Object) -> None:
        self.spec, self.status = job["spec"], job.get("status") or {}
        self.complete, self.failed = conditions.is_true(job, "Complete"), conditions.is_true(job, "Failed")
        self.finished = self.complete or self.failed
        self.failing = conditions.is_true(job, "FailureTarget")
        self.succeeding = conditions.is_true(job, "SuccessCriteriaMet")
        self.suspended = conditions.find(job, "Suspended")

    def number(self, name: str) -> int:
        return self.status.get(name) or 0


def status_change(new: Object, old: Object) -> list[FieldError]:
    now, before = _Stage(new), _Stage(old)
    causes: list[FieldError] = []
    for name in _COUNTS:
        causes += not_negative(f"status.{name}", now.status.get(name))
    causes += _uncounted(now.status)
    causes += _finishing(now, before) + _indexes(now, before) + _together(now, before)
    causes += _terminal(now, before)
    return causes


def _changed(now: _Stage, before: _Stage, *names: str) -> bool:
    return any((now.status.get(name) or None) != (before.status.get(name) or None) for name in names)


def _uncounted(status: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    seen: set[str] = set()
    for outcome in ("succeeded", "failed"):
        for index, uid in enumerate((status.get("uncountedTerminatedPods") or {}).get(outcome) or ()):
            at = f"status.uncountedTerminatedPods.{outcome}[{index}]"
            if not uid:
                causes.append(invalid(at, uid, "must not be empty"))
            elif uid in seen:
                causes.append(duplicate(at, uid))
            seen.add(uid)
    return causes


def _finishing(now: _Stage, before: _Stage) -> list[FieldError]:
    status, causes = now.status, list[FieldError]()
    began, ended = status.get("startTime"), status.get("completionTime")
    completed = now.complete != before.complete
    finished = now.finished != before.finished
    if (completed or now.failed != before.failed) and now.complete and now.failed:
        causes.append(invalid_without_value(_CONDITIONS, "cannot set Complete=True and Failed=true conditions"))
    if (completed or now.failing != before.failing) and now.complete and now.failing:
        causes.append(invalid_without_value(_CONDITIONS, "cannot set Complete=True and FailureTarget=true conditions"))
    if completed or _changed(now, before, "completionTime"):
        if ended and not now.complete:
            text = "cannot set completionTime when there is no Complete=True condition"
            causes.append(invalid("status.completionTime", ended, text))
        if not ended and now.complete:
            causes.append(required("status.completionTime", "completionTime is required for Complete jobs"))
    if _changed(now, before, "startTime", "completionTime") and began and ended and ended < began:
        causes.append(invalid("status.completionTime", ended, "must be equal to or after `startTime`"))
    if (now.failed != before.failed or _changed(now, before, "failedIndexes")) and now.failed and not now.failing:
        text = "cannot set Failed=True condition without the FailureTarget=true condition"
        causes.append(invalid_without_value(_CONDITIONS, text))
    if (completed or now.succeeding != before.succeeding) and now.complete and not now.succeeding:
        text = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
        causes.append(invalid_without_value(_CONDITIONS, text))
    if (finished or _changed(now, before, "active")) and now.finished and now.number("active") > 0:
        causes.append(invalid("status.active", status["active"], "active>0 is invalid for finished job"))
    empty = now.spec.get("suspend") and now.spec.get("completions") == 0
    if (finished or _changed(now, before, "startTime")) and not empty and now.finished and not began:
        causes.append(required("status.startTime", "startTime is required for finished job"))
    uncounted = status.get("uncountedTerminatedPods") or {}
    if (finished or _changed(now, before, "uncountedTerminatedPods")) and now.finished and any(uncounted.values()):
        shown = {"Succeeded": uncounted.get("succeeded"), "Failed": uncounted.get("failed")}
        causes.append(invalid("status.uncountedTerminatedPods", shown, "must be empty for finished job"))
    return causes


def _indexes(now: _Stage, before: _Stage) -> list[FieldError]:
    spec, causes = now.spec, list[FieldError]()
    done, failed = now.status.get("completedIndexes") or "", now.status.get("failedIndexes")
    completions, per_index = spec.get("completions"), spec.get("backoffLimitPerIndex")
    done_changed = _changed(now, before, "completedIndexes")
    failed_changed = failed != before.status.get("failedIndexes")  # an empty text is one
    checked = [("completedIndexes", done, done_changed)]
    if per_index is not None and failed is not None:
        checked.append(("failedIndexes", failed, failed_changed))
    for name, text, changed in checked:
        if changed and completions is not None:
            try:
                count_indexes(text, completions)
            except ValueError as error:
                causes.append(invalid(f"status.{name}", text, f"error parsing {name}: {error}"))
    if done_changed and done and spec.get("completionMode") != "Indexed":
        text = "cannot set non-empty completedIndexes when non-indexed completion mode"
        causes.append(invalid("status.completedIndexes", done, text))
    if failed_changed and failed is not None and per_index is None:
        text = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        causes.append(invalid("status.failedIndexes", failed, text))
    if (done_changed or failed_changed) and completions is not None and failed is not None:
        overlap = _overlap(_intervals(done), _intervals(failed))
        if overlap is not None:
            text = f"failedIndexes and completedIndexes overlap at index: {overlap}"
            causes.append(invalid("status.failedIndexes", failed, text))
    return causes


def _intervals(text: str) -> list[tuple[int, int]]:
    """The parts of ``1,3-5`` that can be read, in order."""
    found: list[tuple[int, int]] = []
    for part in text.split(",") if text else ():
        low, _, high = part.partition("-")
        if low.isdecimal() and (high or low).isdecimal():
            found.append((int(low), int(high or low)))
    return sorted(found)


def _overlap(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> int | None:
    """The first index in both."""
    i = j = 0
    while i < len(left) and j < len(right):
        low, high = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if low <= high:
            return low
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return None


def _together(now: _Stage, before: _Stage) -> list[FieldError]:
    """What cannot be true at one time, changed or not."""
    status, causes = now.status, list[FieldError]()
    told = now.finished != before.finished or _changed(now, before, "terminating")
    if told and now.finished and now.number("terminating") > 0:
        causes.append(invalid("status.terminating", status["terminating"], "terminating>0 is invalid for finished job"))
    told = status.get("ready") is not None and _changed(now, before, "ready", "active")
    if told and now.number("ready") > now.number("active"):
        causes.append(invalid("status.ready", status["ready"], "cannot set more ready pods than active"))
    for other, held in (("Failed", now.failed), ("FailureTarget", now.failing)):
        if now.succeeding and held:
            text = f"cannot set SuccessCriteriaMet=True and {other}=true conditions"
            causes.append(invalid_without_value(_CONDITIONS, text))
    if now.spec.get("successPolicy") is not None and now.complete and not now.succeeding:
        text = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        causes.append(invalid_without_value(_CONDITIONS, text))
    return causes


def _terminal(now: _Stage, before: _Stage) -> list[FieldError]:
    """What is never taken back."""
    status, was, causes = now.status, before.status, list[FieldError]()
    held = zip(_TERMINAL, _terminal_of(before), _terminal_of(now), strict=True)
    for name, had, has in held:
        if had and not has:
            causes.append(invalid_without_value(_CONDITIONS, f"cannot disable the terminal {name}=True condition"))
    if now.number("failed") < before.number("failed"):
        causes.append(invalid("status.failed", now.number("failed"), "cannot decrease the failed counter"))
    # where completions follow parallelism, scaling down forgets the indexes above
    spec = now.spec
    scalable = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    if not scalable and now.number("succeeded") < before.number("succeeded"):
        causes.append(invalid("status.succeeded", now.number("succeeded"), "cannot decrease the succeeded counter"))
    ended, had_ended = status.get("completionTime"), was.get("completionTime")
    if ended and had_ended and ended != had_ended:
        causes.append(invalid("status.completionTime", ended, "field is immutable"))
    began, had_begun = status.get("startTime"), was.get("startTime")
    if had_begun and began != had_begun and not spec.get("suspend") and not _resumes(now, before):
        causes.append(invalid("status.startTime", began, "field is immutable for unsuspended job once set"))
    if before.succeeding and not now.succeeding:
        causes.append(invalid_without_value(_CONDITIONS, "cannot disable the SuccessCriteriaMet=True condition"))
    if before.complete and not before.succeeding and now.succeeding:
        text = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        causes.append(invalid_without_value(_CONDITIONS, text))
    return causes


def _terminal_of(stage: _Stage) -> tuple[bool, ...]:
    return stage.failed, stage.complete, stage.failing


def _resumes(now: _Stage, before: _Stage) -> bool:
    """Whether the controller tells of a resumption: the job starts again."""
    was, suspended = before.suspended or {}, now.suspended or {}
    return was.get("status") == "True" and suspended.get("status") == "False"
