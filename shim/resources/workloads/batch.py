"""Jobs and CronJobs."""

from __future__ import annotations

from collections.abc import Mapping

from shim.api.meta import Object
from shim.resources.strategy import Strategy
from shim.resources.workloads import defaults

UID_LABEL = "batch.kubernetes.io/controller-uid"
NAME_LABEL = "batch.kubernetes.io/job-name"


class JobStrategy(Strategy):
    has_status = True
    default_propagation = "Orphan"  # batch/v1 keeps the oldest rule

    def default(self, obj: Object) -> None:
        defaults.job(obj)

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        if not obj["spec"].get("manualSelector"):
            _generate_selector(obj)

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        return {"status.successful": str((obj.get("status") or {}).get("succeeded") or 0)}


def _generate_selector(job: Object) -> None:
    """Let a job select its own pods by its uid, which no other job ever had."""
    metadata, spec = job["metadata"], job["spec"]
    template = spec["template"]["metadata"]
    # a job without labels takes its template's: by default before this, and here
    same = not metadata.get("labels") or metadata["labels"] == template.get("labels")
    template["labels"] = labels = dict(template.get("labels") or {})
    uid = metadata.get("uid", "")
    for label in (UID_LABEL, "controller-uid"):
        labels[label] = uid
    for label in (NAME_LABEL, "job-name"):
        labels[label] = metadata.get("name", "")
    # a label of the author's is not overwritten: validation refuses the job for it
    spec["selector"] = selector = dict(spec.get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {})}
    selector["matchLabels"].setdefault(UID_LABEL, uid)
    if same:
        metadata["labels"] = dict(labels)


class CronJobStrategy(Strategy):
    has_status = True

    def default(self, obj: Object) -> None:
        defaults.cron_job(obj)
