"""What must hold of Jobs and CronJobs."""

from __future__ import annotations

from shim.api import names, selectors
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import (
    immutable,
    invalid,
    label_selector,
    named,
    not_negative,
    one_of,
    required,
    too_many,
    unsupported,
)
from shim.resources.pods import validation as pods
from shim.resources.workloads import schedule

UID_LABEL = "batch.kubernetes.io/controller-uid"
NAME_LABEL = "batch.kubernetes.io/job-name"
_COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_MAX_INDEXED = 100_000


def job(obj: Object) -> list[FieldError]:
    spec, metadata = obj["spec"], obj["metadata"]
    causes = [] if spec.get("manualSelector") else _generated(obj)
    causes += job_spec("spec", spec) + _selector(spec)
    completions = spec.get("completions")
    if spec.get("completionMode") == "Indexed" and completions:
        last = f"{metadata.get('name')}-{completions - 1}"
        if names.dns1123_label(last):
            text = f"will not able to create pod with invalid DNS label: {last}"
            causes.append(invalid("metadata.name", metadata.get("name"), text))
    return causes


def job_change(new: Object, old: Object) -> list[FieldError]:
    spec, before = new["spec"], old["spec"]
    causes = job_spec("spec", spec) + _selector(spec)
    completions = spec.get("completions")
    if spec.get("completionMode") != "Indexed":
        causes += immutable("spec.completions", completions, before.get("completions"))
    elif completions is not None and completions not in (before.get("completions"), spec.get("parallelism")):
        text = "can only be modified in tandem with spec.parallelism"
        causes.append(invalid("spec.completions", completions, text))
    causes += immutable("spec.selector", spec.get("selector"), before.get("selector"))
    if not _may_change_template(old):
        causes += immutable("spec.template", spec.get("template"), before.get("template"))
    for field in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        causes += immutable(f"spec.{field}", spec.get(field), before.get(field))
    return causes


def _may_change_template(job: Object) -> bool:
    """A suspended job that has no pods may still be told to make others."""
    status = job.get("status") or {}
    return bool(job["spec"].get("suspend")) and not status.get("startTime") and not status.get("active")


def _generated(obj: Object) -> list[FieldError]:
    spec, metadata = obj["spec"], obj["metadata"]
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    uid, name = metadata.get("uid") or "", metadata.get("name") or ""
    expected = {"controller-uid": uid, "job-name": name, UID_LABEL: uid, NAME_LABEL: name}
    causes: list[FieldError] = []
    for label, value in expected.items():
        at = "spec.template.metadata.labels"
        if label not in labels:
            causes.append(required(at, f"must be '{value}'"))
        elif labels[label] != value:
            causes.append(invalid(at, labels, f"must be '{value}'"))
    selector = spec.get("selector")
    if selector is not None and not selectors.from_object(selector).matches(expected):
        causes.append(invalid("spec.selector", selector, "`selector` not auto-generated"))
    return causes


def _selector(spec: Object) -> list[FieldError]:
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if selector is None:
        return [required("spec.selector")]
    causes = label_selector("spec.selector", selector)
    if not causes and not selectors.from_object(selector).matches(labels):
        text = "`selector` does not match template `labels`"
        causes.append(invalid("spec.template.metadata.labels", labels or None, text))
    return causes


def job_spec(at: str, spec: Object) -> list[FieldError]:
    """What a Job and the template in a CronJob share."""
    causes: list[FieldError] = []
    for field in _COUNTS:
        causes += not_negative(f"{at}.{field}", spec.get(field))
    per_index, most_failed = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
    if most_failed is not None and per_index is None:
        causes.append(required(f"{at}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    mode, completions = spec.get("completionMode"), spec.get("completions")
    if mode is not None:
        causes += one_of(f"{at}.completionMode", mode, ("NonIndexed", "Indexed"))
    if mode == "Indexed":
        if completions is None:
            causes.append(required(f"{at}.completions", "when completion mode is Indexed"))
        if (spec.get("parallelism") or 0) > _MAX_INDEXED:
            text = f"must be less than or equal to {_MAX_INDEXED} when completion mode is Indexed"
            causes.append(invalid(f"{at}.parallelism", spec["parallelism"], text))
        if completions is not None and most_failed is not None and most_failed > completions:
            text = "must be less than or equal to completions"
            causes.append(invalid(f"{at}.maxFailedIndexes", most_failed, text))
    else:
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(field) is not None:
                causes.append(invalid(f"{at}.{field}", spec[field], "requires indexed completion mode"))
    if spec.get("podFailurePolicy") is not None:
        causes += _failure_policy(f"{at}.podFailurePolicy.rules", spec)
    if spec.get("successPolicy") is not None and mode != "Indexed":
        causes.append(invalid(f"{at}.successPolicy", spec["successPolicy"], "requires indexed completion mode"))
    causes += _replacement(f"{at}.podReplacementPolicy", spec)
    causes += pods.template(f"{at}.template", spec.get("template") or {})
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") or ""
    at = f"{at}.template.spec.restartPolicy"
    if policy in ("", "Always"):
        causes.append(required(at, 'valid values: "OnFailure", "Never"'))
    elif policy not in ("OnFailure", "Never"):
        causes.append(unsupported(at, policy, ("OnFailure", "Never")))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        causes.append(invalid(at, policy, 'only "Never" is supported when podFailurePolicy is specified'))
    return causes


def _replacement(at: str, spec: Object) -> list[FieldError]:
    policy = spec.get("podReplacementPolicy")
    if policy is None:
        return []
    if spec.get("podFailurePolicy") is not None:
        return one_of(at, policy, ("Failed",))
    return one_of(at, policy, ("Failed", "TerminatingOrFailed"))


def _failure_policy(at: str, spec: Object) -> list[FieldError]:
    rules = spec["podFailurePolicy"].get("rules") or []
    causes = [too_many(at, len(rules), 20)] if len(rules) > 20 else []
    inner = (spec.get("template") or {}).get("spec") or {}
    known = {each.get("name") for field in ("containers", "initContainers") for each in inner.get(field) or ()}
    for index, rule in enumerate(rules):
        here, action = f"{at}[{index}]", rule.get("action") or ""
        if not action:
            causes.append(required(f"{here}.action", 'valid values: ["Count" "FailIndex" "FailJob" "Ignore"]'))
        elif action not in _ACTIONS:
            causes.append(unsupported(f"{here}.action", action, _ACTIONS))
        elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            causes.append(invalid(f"{here}.action", action, "requires the backoffLimitPerIndex to be set"))
        codes, found = rule.get("onExitCodes"), rule.get("onPodConditions") or []
        if codes is not None:
            causes += _exit_codes(f"{here}.onExitCodes", codes, known)
        for condition_index, pattern in enumerate(found):
            place = f"{here}.onPodConditions[{condition_index}]"
            causes += named(f"{place}.type", pattern.get("type") or "", names.qualified_name)
            causes += one_of(f"{place}.status", pattern.get("status") or "", ("False", "True", "Unknown"))
        text = "specifying both OnExitCodes and OnPodConditions is not supported"
        if codes is not None and found:
            causes.append(FieldError("FieldValueInvalid", here, f"Invalid value: {text}"))
        if codes is None and not found:
            text = "specifying one of OnExitCodes and OnPodConditions is required"
            causes.append(FieldError("FieldValueInvalid", here, f"Invalid value: {text}"))
    return causes


def _exit_codes(at: str, codes: Object, known: set[str]) -> list[FieldError]:
    operator, values = codes.get("operator") or "", codes.get("values") or []
    causes = one_of(f"{at}.operator", operator, ("In", "NotIn"))
    container = codes.get("containerName")
    if container is not None and container not in known:
        causes.append(invalid(f"{at}.containerName", container, "must be one of the container or initContainer names"))
    if not values:
        causes.append(invalid(f"{at}.values", values, "at least one value is required"))
    elif len(values) > 255:
        causes.append(too_many(f"{at}.values", len(values), 255))
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            causes.append(invalid(f"{at}.values[{index}]", value, "must not be 0 for the In operator"))
    if values != sorted(values):
        causes.append(invalid(f"{at}.values", values, "must be ordered"))
    return causes


def cron_job(obj: Object, old: Object | None = None) -> list[FieldError]:
    spec, name = obj["spec"], obj["metadata"].get("name") or ""
    text = spec.get("schedule") or ""
    causes: list[FieldError] = []
    if not text:
        causes.append(required("spec.schedule"))
    else:
        complaint = schedule.complaint(text)
        if complaint:
            causes.append(invalid("spec.schedule", text, complaint))
        if "TZ" in text and "TZ" not in ((old or {}).get("spec") or {}).get("schedule", ""):
            reason = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            causes.append(invalid("spec.schedule", text, reason))
    causes += not_negative("spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
    zone = spec.get("timeZone")
    if zone is not None and (old is None or old["spec"].get("timeZone") != zone):
        causes += _time_zone(zone)
    causes += one_of("spec.concurrencyPolicy", spec.get("concurrencyPolicy") or "", ("Allow", "Forbid", "Replace"))
    causes += _job_template(spec.get("jobTemplate") or {})
    for field in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        causes += not_negative(f"spec.{field}", spec.get(field))
    if old is None and len(name) > 52:  # a Job is named after it, with eleven characters more
        causes.append(invalid("metadata.name", name, "must be no more than 52 characters"))
    return causes


def _time_zone(zone: str) -> list[FieldError]:
    if not zone:
        return [invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")]
    if zone.lower() == "local":
        text = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        return [invalid("spec.timeZone", zone, text)]
    return [] if schedule.known_zone(zone) else [invalid("spec.timeZone", zone, f"unknown time zone {zone}")]


def _job_template(template: Object) -> list[FieldError]:
    spec, at = template.get("spec") or {}, "spec.jobTemplate.spec"
    causes: list[FieldError] = []
    if spec.get("manualSelector"):
        causes.append(unsupported(f"{at}.manualSelector", True, ("nil", "false")))
    if spec.get("selector") is not None:
        causes.append(invalid(f"{at}.selector", spec["selector"], "`selector` will be auto-generated"))
    return job_spec(at, spec) + causes
