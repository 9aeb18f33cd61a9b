"""Jobs and CronJobs."""

from __future__ import annotations

from collections.abc import Mapping

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import metadata
from shim.resources.pods import warnings
from shim.resources.workloads import batch_rules, defaults
from shim.resources.workloads.batch_rules import NAME_LABEL, UID_LABEL
from shim.resources.workloads.strategy import TemplateStrategy


class JobStrategy(TemplateStrategy):
    default_propagation = "Orphan"  # batch/v1 keeps the oldest rule

    def default(self, obj: Object) -> None:
        defaults.job(obj)

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        if not obj["spec"].get("manualSelector"):
            _generate_selector(obj)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return batch_rules.job(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return [*metadata.validate_update(new, old), *batch_rules.job_change(new, old)]

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


class CronJobStrategy(TemplateStrategy):
    def default(self, obj: Object) -> None:
        defaults.cron_job(obj)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return batch_rules.cron_job(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return [*metadata.validate_update(new, old), *batch_rules.cron_job(new, old)]

    def warnings(self, obj: Object) -> list[str]:
        template = ((obj["spec"].get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
        return warnings.pod_spec("spec.jobTemplate.spec.template.spec", template.get("spec") or {})
