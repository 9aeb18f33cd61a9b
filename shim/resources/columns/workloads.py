"""What is shown of workloads."""

from __future__ import annotations

from shim.api import conditions
from shim.api.meta import Object, now, split_api_version
from shim.api.meta import controller_of as owner_of
from shim.resources.columns.common import (
    AGE,
    NAME,
    NONE,
    UNSET,
    at,
    boolean,
    count,
    dig,
    doc,
    human,
    integer,
    labels,
    number,
    seconds_between,
    selector,
    since,
    template_columns,
    text,
    wide,
)

_READY = "Number of the pod with ready state"


def _ready(obj: Object) -> str:
    return f"{dig(obj, 'status.readyReplicas') or 0}/{dig(obj, 'spec.replicas') or 0}"


def _deployment_selector(obj: Object) -> str:
    found = selector(dig(obj, "spec.selector"))
    return "" if found == NONE else found


DEPLOYMENTS = (
    NAME,
    text("Ready", _READY, _ready),
    text("Up-to-date", doc("apps.v1.DeploymentStatus", "updatedReplicas"), number("status.updatedReplicas")),
    text("Available", doc("apps.v1.DeploymentStatus", "availableReplicas"), number("status.availableReplicas")),
    AGE,
    *template_columns("spec.template"),
    wide("Selector", doc("apps.v1.DeploymentSpec", "selector"), _deployment_selector),
)

REPLICA_SETS = (
    NAME,
    integer("Desired", doc("apps.v1.ReplicaSetSpec", "replicas"), number("spec.replicas")),
    integer("Current", doc("apps.v1.ReplicaSetStatus", "replicas"), number("status.replicas")),
    integer("Ready", doc("apps.v1.ReplicaSetStatus", "readyReplicas"), number("status.readyReplicas")),
    AGE,
    *template_columns("spec.template"),
    wide("Selector", doc("apps.v1.ReplicaSetSpec", "selector"), lambda obj: selector(dig(obj, "spec.selector"))),
)

REPLICATION_CONTROLLERS = (
    NAME,
    integer("Desired", doc("core.v1.ReplicationControllerSpec", "replicas"), number("spec.replicas")),
    integer("Current", doc("core.v1.ReplicationControllerStatus", "replicas"), number("status.replicas")),
    integer("Ready", doc("core.v1.ReplicationControllerStatus", "readyReplicas"), number("status.readyReplicas")),
    AGE,
    *template_columns("spec.template"),
    wide(
        "Selector",
        doc("core.v1.ReplicationControllerSpec", "selector"),
        lambda obj: labels(dig(obj, "spec.selector")),
    ),
)

SCALES = (
    NAME,
    integer("Desired", doc("autoscaling.v1.ScaleSpec", "replicas"), number("spec.replicas")),
    integer("Available", doc("autoscaling.v1.ScaleStatus", "replicas"), number("status.replicas")),
    AGE,
)

_DAEMON = "apps.v1.DaemonSetStatus"

DAEMON_SETS = (
    NAME,
    integer("Desired", doc(_DAEMON, "desiredNumberScheduled"), number("status.desiredNumberScheduled")),
    integer("Current", doc(_DAEMON, "currentNumberScheduled"), number("status.currentNumberScheduled")),
    integer("Ready", doc(_DAEMON, "numberReady"), number("status.numberReady")),
    integer("Up-to-date", doc(_DAEMON, "updatedNumberScheduled"), number("status.updatedNumberScheduled")),
    integer("Available", doc(_DAEMON, "numberAvailable"), number("status.numberAvailable")),
    text(
        "Node Selector",
        doc("core.v1.PodSpec", "nodeSelector"),
        lambda obj: labels(dig(obj, "spec.template.spec.nodeSelector")),
    ),
    AGE,
    *template_columns("spec.template"),
    wide("Selector", doc("apps.v1.DaemonSetSpec", "selector"), lambda obj: selector(dig(obj, "spec.selector"))),
)

STATEFUL_SETS = (NAME, text("Ready", _READY, _ready), AGE, *template_columns("spec.template"))


def _job_status(job: Object) -> str:
    for condition, word in (("Complete", "Complete"), ("Failed", "Failed")):
        if conditions.is_true(job, condition):
            return word
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for condition in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if conditions.is_true(job, condition):
            return condition
    return "Running"


def _completions(job: Object) -> str:
    done, wanted = dig(job, "status.succeeded") or 0, dig(job, "spec.completions")
    if wanted is not None:
        return f"{done}/{wanted}"
    parallelism = dig(job, "spec.parallelism") or 0
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _duration(job: Object) -> str:
    start, end = dig(job, "status.startTime"), dig(job, "status.completionTime")
    return human(seconds_between(start, end or now())) if start else ""


JOBS = (
    NAME,
    text("Status", "Status of the job.", _job_status),
    text("Completions", doc("batch.v1.JobStatus", "succeeded"), _completions),
    text("Duration", "Time required to complete the job.", _duration),
    AGE,
    *template_columns("spec.template"),
    wide("Selector", doc("batch.v1.JobSpec", "selector"), lambda obj: selector(dig(obj, "spec.selector"))),
)


def _suspended(obj: Object) -> str:
    found = dig(obj, "spec.suspend")
    return UNSET if found is None else str(bool(found))


def _last_schedule(obj: Object) -> str:
    found = dig(obj, "status.lastScheduleTime")
    return since(found) if found else NONE


CRON_JOBS = (
    NAME,
    text("Schedule", doc("batch.v1.CronJobSpec", "schedule"), at("spec.schedule")),
    text("Timezone", doc("batch.v1.CronJobSpec", "timeZone"), at("spec.timeZone", NONE)),
    boolean("Suspend", doc("batch.v1.CronJobSpec", "suspend"), _suspended),
    integer("Active", doc("batch.v1.CronJobStatus", "active"), count("status.active")),
    text("Last Schedule", doc("batch.v1.CronJobStatus", "lastScheduleTime"), _last_schedule),
    AGE,
    *template_columns("spec.jobTemplate.spec.template"),
    wide(
        "Selector",
        doc("batch.v1.JobSpec", "selector"),
        lambda obj: selector(dig(obj, "spec.jobTemplate.spec.selector")),
    ),
)


def _controller(obj: Object) -> str:
    owner = owner_of(obj)
    if owner is None:
        return NONE
    group = split_api_version(owner["apiVersion"])[0]
    kind = f"{owner['kind']}.{group}" if group else owner["kind"]
    return f"{kind.lower()}/{owner['name']}"


CONTROLLER_REVISIONS = (
    NAME,
    text("Controller", "Controller of the object", _controller),
    text("Revision", doc("apps.v1.ControllerRevision", "revision"), at("revision", 0)),
    AGE,
)
