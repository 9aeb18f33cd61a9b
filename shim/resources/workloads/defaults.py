"""What the author of a workload may leave out, and what it then is; one function per kind."""

from __future__ import annotations

from typing import Any

from shim.api.meta import Object
from shim.resources.pods import defaults as pods

_MAX_INT32 = 2**31 - 1


def _fill(obj: Object, **values: Any) -> None:
    for field, value in values.items():
        if obj.get(field) is None:
            obj[field] = value


def _part(obj: Object, field: str) -> Object:
    """A part of an object that is a plain struct in Go: always there."""
    found: Object | None = obj.get(field)
    if found is None:
        found = obj[field] = {}
    return found


def deployment(obj: Object) -> None:
    spec = _part(obj, "spec")
    pods.template(_part(spec, "template"))
    _fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = _part(spec, "strategy")
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        _fill(_part(strategy, "rollingUpdate"), maxUnavailable="25%", maxSurge="25%")


def replica_set(obj: Object) -> None:
    spec = _part(obj, "spec")
    if spec.get("template") is not None:
        pods.template(spec["template"])
    else:
        pods.template(_part(spec, "template"))
    _fill(spec, replicas=1)


def replication_controller(obj: Object) -> None:
    """The selector and the labels of the oldest kind may come from its template."""
    spec = _part(obj, "spec")
    template = spec.get("template")
    if template is not None:
        pods.template(template)
        labels = template["metadata"].get("labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            if not obj["metadata"].get("labels"):
                obj["metadata"]["labels"] = dict(labels)
    _fill(spec, replicas=1)


def daemon_set(obj: Object) -> None:
    spec = _part(obj, "spec")
    pods.template(_part(spec, "template"))
    update = _part(spec, "updateStrategy")
    if not update.get("type"):
        update["type"] = "RollingUpdate"
    if update["type"] == "RollingUpdate":
        _fill(_part(update, "rollingUpdate"), maxUnavailable=1, maxSurge=0)
    elif update.get("rollingUpdate") is not None:
        _fill(update["rollingUpdate"], maxUnavailable=0, maxSurge=0)  # upstream's conversion knows no absence
    _fill(spec, revisionHistoryLimit=10)


def stateful_set(obj: Object) -> None:
    spec = _part(obj, "spec")
    pods.template(_part(spec, "template"))
    if not spec.get("podManagementPolicy"):
        spec["podManagementPolicy"] = "OrderedReady"
    update = _part(spec, "updateStrategy")
    if not update.get("type"):
        update["type"] = "RollingUpdate"
        _part(update, "rollingUpdate")
    if update["type"] == "RollingUpdate" and update.get("rollingUpdate") is not None:
        _fill(update["rollingUpdate"], partition=0)
    _fill(_part(spec, "persistentVolumeClaimRetentionPolicy"), whenDeleted="Retain", whenScaled="Retain")
    _fill(spec, replicas=1, revisionHistoryLimit=10)
    for claim in spec.get("volumeClaimTemplates") or ():
        claim |= {"kind": "PersistentVolumeClaim", "apiVersion": "v1"}  # whatever it says it is
        pods.claim_spec(_part(claim, "spec"))
        _fill(_part(claim, "status"), phase="Pending")


def job_spec(spec: Object) -> None:
    """What jobs and the template in a CronJob share (a CronJob fills in the rest when it makes the Job)."""
    pods.template(_part(spec, "template"))
    policy = spec.get("podFailurePolicy")
    for rule in (policy or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            if not pattern.get("status"):
                pattern["status"] = "True"


def job(obj: Object) -> None:
    spec = _part(obj, "spec")
    job_spec(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    _fill(
        spec,
        parallelism=1,
        backoffLimit=6 if spec.get("backoffLimitPerIndex") is None else _MAX_INT32,
        completionMode="NonIndexed",
        suspend=False,
        podReplacementPolicy="TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed",
        manualSelector=False,
    )
    labels = spec["template"]["metadata"].get("labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)


def cron_job(obj: Object) -> None:
    spec = _part(obj, "spec")
    template = _part(spec, "jobTemplate")
    _part(template, "metadata")
    job_spec(_part(template, "spec"))
    if not spec.get("concurrencyPolicy"):
        spec["concurrencyPolicy"] = "Allow"
    _fill(spec, suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)


def pod_template(obj: Object) -> None:
    pods.template(_part(obj, "template"))
