"""What must hold of a Job, and what of it may change."""

from __future__ import annotations

from typing import Any

from shim.api import conditions, names, selectors
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import (
    IMMUTABLE,
    as_map,
    as_selector,
    domain_prefixed_path,
    immutable,
    invalid,
    label_selector,
    not_negative,
    one_of,
    required,
    too_long,
    unsupported,
)
from shim.resources.pods import validation as pods
from shim.resources.printed import go_struct
from shim.resources.workloads import job_policies

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
_MANY = 100_000  # completions up to which every index can be told apart in the status
_AT_ONCE = 10_000  # pods, or failed indexes, where there are more completions than that
_MAX_MANAGED_BY = 63
_POD = "core.v1.PodSpec"


def job(obj: Object) -> list[FieldError]:
    spec, metadata = obj["spec"], obj["metadata"]
    causes = [] if spec.get("manualSelector") else _generated(obj)
    causes += job_spec("spec", spec) + _selector(spec)
    completions = spec.get("completions") or 0
    if spec.get("completionMode") == "Indexed" and completions > 0:
        last = f"{metadata.get('name') or ''}-{completions - 1}"
        if names.dns1123_label(last):
            text = f"will not able to create pod with invalid DNS label: {last}"
            causes.append(invalid("metadata.name", metadata.get("name") or "", text))
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
    selector = as_selector(spec.get("selector"))
    if selector != as_selector(before.get("selector")):
        causes.append(invalid("spec.selector", selector, IMMUTABLE))
    causes += _template_change(spec["template"], old)
    for field in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        if spec.get(field) != before.get(field):
            causes.append(invalid(f"spec.{field}", job_policies.printed(field, spec.get(field)), IMMUTABLE))
    return causes


def _template_change(template: Object, old: Object) -> list[FieldError]:
    """A suspended job without pods may be told where others shall run, and with how much (KEP-2926, KEP-5440)."""
    before = old["spec"]["template"]
    if not _may_change_template(old):
        shown = go_struct("core.v1.PodTemplateSpec", template)
        return [] if template == before else [invalid("spec.template", shown, IMMUTABLE)]
    spec, was = template["spec"], before["spec"]
    affinity, had = spec.get("affinity"), was.get("affinity") or {}
    allowed = {**was, **{name: spec.get(name) for name in ("nodeSelector", "tolerations", "schedulingGates")}}
    if affinity is None:
        allowed["affinity"] = {name: rule for name, rule in had.items() if name != "nodeAffinity"}
    else:
        allowed["affinity"] = {**had, "nodeAffinity": affinity.get("nodeAffinity")}
    for name in ("containers", "initContainers"):
        wanted, found = spec.get(name) or [], was.get(name) or []
        if len(wanted) == len(found):
            allowed[name] = [
                {**each, "resources": asked.get("resources")} if asked.get("name") == each.get("name") else each
                for asked, each in zip(wanted, found, strict=True)
            ]
    return [] if _given(allowed) == _given(spec) else [invalid("spec.template.spec", go_struct(_POD, spec), IMMUTABLE)]


def _given(value: Any) -> Any:
    """Without what is not set: null, or empty."""
    if isinstance(value, dict):
        return {key: found for key, item in value.items() if (found := _given(item)) not in (None, {}, [])}
    return [_given(item) for item in value] if isinstance(value, list) else value


def _may_change_template(job: Object) -> bool:
    """Whether the job is suspended and has no pods: it never started, or was stopped."""
    spec, status = job["spec"], job.get("status") or {}
    stopped = not status.get("startTime") or conditions.is_true(job, "Suspended")
    return bool(spec.get("suspend")) and stopped and not status.get("active")


def _generated(obj: Object) -> list[FieldError]:
    spec, metadata = obj["spec"], obj["metadata"]
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    uid, name = metadata.get("uid") or "", metadata.get("name") or ""
    expected = {"controller-uid": uid, "job-name": name, UID_LABEL: uid, NAME_LABEL: name}
    causes: list[FieldError] = []
    selector = spec.get("selector")
    if selector is None:
        return causes  # said elsewhere
    for label, value in expected.items():
        at = f"spec.template.metadata.labels[{label}]"
        if label not in labels:
            causes.append(required(at, f"must be '{value}'"))
        elif labels[label] != value:
            causes.append(invalid(at, as_map(labels), f"must be '{value}'"))
    if _matches(selector, expected) is False:
        causes.append(invalid("spec.selector", as_selector(selector), "`selector` not auto-generated"))
    return causes


def _matches(selector: Object | None, labels: dict[str, str]) -> bool | None:
    """None where the selector cannot be understood, which is said elsewhere."""
    try:
        return selectors.from_object(selector).matches(labels)
    except selectors.SelectorError:
        return None


def _selector(spec: Object) -> list[FieldError]:
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    causes = [required("spec.selector")] if selector is None else label_selector("spec.selector", selector)
    if _matches(selector, labels or {}) is False:
        text = "`selector` does not match template `labels`"
        causes.append(invalid("spec.template.metadata.labels", as_map(labels), text))
    return causes


def job_spec(at: str, spec: Object) -> list[FieldError]:
    """What a Job and the template in a CronJob share."""
    causes: list[FieldError] = []
    for field in _COUNTS:
        causes += not_negative(f"{at}.{field}", spec.get(field))
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        causes.append(required(f"{at}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if spec.get("managedBy") is not None:
        causes += domain_prefixed_path(f"{at}.managedBy", spec["managedBy"])
        if len(spec["managedBy"]) > _MAX_MANAGED_BY:
            causes.append(too_long(f"{at}.managedBy", _MAX_MANAGED_BY))
    mode = spec.get("completionMode")
    if mode is not None:
        causes += one_of(f"{at}.completionMode", mode, ("NonIndexed", "Indexed"))
    if mode == "Indexed":
        causes += _indexed(at, spec)
    elif mode in (None, "NonIndexed"):
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(field) is not None:
                causes.append(invalid(f"{at}.{field}", spec[field], "requires indexed completion mode"))
    if spec.get("podFailurePolicy") is not None:
        causes += job_policies.failure(f"{at}.podFailurePolicy.rules", spec)
    if spec.get("successPolicy") is not None:
        causes += job_policies.success(f"{at}.successPolicy", spec)
    causes += _replacement(f"{at}.podReplacementPolicy", spec)
    causes += pods.template(f"{at}.template", spec.get("template") or {})
    return causes + _restarts(f"{at}.template.spec.restartPolicy", spec)


def _indexed(at: str, spec: Object) -> list[FieldError]:
    completions, parallelism, most_failed = map(spec.get, ("completions", "parallelism", "maxFailedIndexes"))
    causes: list[FieldError] = []
    if completions is None:
        causes.append(required(f"{at}.completions", "when completion mode is Indexed"))
    if (parallelism or 0) > _MANY:
        text = f"must be less than or equal to {_MANY} when completion mode is Indexed"
        causes.append(invalid(f"{at}.parallelism", parallelism, text))
    if completions is not None and most_failed is not None and most_failed > completions:
        causes.append(invalid(f"{at}.maxFailedIndexes", most_failed, "must be less than or equal to completions"))
    if (most_failed or 0) > _MANY:
        causes.append(invalid(f"{at}.maxFailedIndexes", most_failed, f"must be less than or equal to {_MANY}"))
    if (completions or 0) > _MANY and spec.get("backoffLimitPerIndex") is not None:
        if most_failed is None:
            text = f"must be specified when completions is above {_MANY}"
            causes.append(required(f"{at}.maxFailedIndexes", text))
        text = (
            f"must be less than or equal to {_AT_ONCE} when completions are above {_MANY} "
            "and used with backoff limit per index"
        )
        for field, value in (("parallelism", parallelism), ("maxFailedIndexes", most_failed)):
            if (value or 0) > _AT_ONCE:
                causes.append(invalid(f"{at}.{field}", value, text))
    return causes


def _replacement(at: str, spec: Object) -> list[FieldError]:
    policy = spec.get("podReplacementPolicy")
    if policy is None:
        return []
    if spec.get("podFailurePolicy") is not None:
        return one_of(at, policy, ("Failed",))
    return one_of(at, policy, ("Failed", "TerminatingOrFailed"))


def _restarts(at: str, spec: Object) -> list[FieldError]:
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") or ""
    if policy in ("", "Always"):
        return [required(at, 'valid values: "OnFailure", "Never"')]
    if policy not in ("OnFailure", "Never"):
        return [unsupported(at, policy, ("OnFailure", "Never"))]
    if spec.get("podFailurePolicy") is not None and policy != "Never":
        return [invalid(at, policy, 'only "Never" is supported when podFailurePolicy is specified')]
    return []


def warnings(at: str, spec: Object) -> list[str]:
    if spec.get("completionMode") != "Indexed":
        return []
    if (spec.get("completions") or 0) <= _MANY or (spec.get("parallelism") or 0) <= _AT_ONCE:
        return []
    text = (
        "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes "
        "might not be able to track completedIndexes when a big number of indexes fail"
    )
    return [f"{at}: {text}"]
