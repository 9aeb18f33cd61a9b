"""Jobs and CronJobs."""

from __future__ import annotations

from collections.abc import Mapping

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources import metadata
from shim.resources.pods import warnings
from shim.resources.workloads import cron_rules, defaults, job_rules, job_status_rules
from shim.resources.workloads.job_rules import NAME_LABEL, UID_LABEL
from shim.resources.workloads.strategy import TemplateStrategy, hostname_warning

GENERATED = (UID_LABEL, "controller-uid", NAME_LABEL, "job-name")
"""Labels by which a job finds its pods."""


class JobStrategy(TemplateStrategy):
    default_propagation = "Orphan"  # batch/v1 keeps the oldest rule
    default_propagation_warning = (
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or "
        "set propagationPolicy=Orphan to suppress this warning"
    )

    def default(self, obj: Object) -> None:
        defaults.job(obj)

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        if not obj["spec"].get("manualSelector"):
            _generate_selector(obj)

    def validate_metadata(self, obj: Object) -> list[FieldError]:
        labels = obj["metadata"].get("labels")
        if labels and labels.keys() == set(GENERATED):
            # those of a template that had none of its own: upstream's job has them only from when it is read
            obj = {**obj, "metadata": {**obj["metadata"], "labels": {}}}
        return super().validate_metadata(obj)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return job_rules.job(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        """Upstream asks a changed Job everything it asks a new one, and then what concerns the change."""
        created = self.validate(new)
        return [*created, *metadata.validate_update(new, old), *job_rules.job_change(new, old)]

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return [*metadata.validate_update(new, old), *job_status_rules.status_change(new, old)]

    def warnings(self, obj: Object) -> list[str]:
        return [*hostname_warning(obj), *self._spec_warnings(obj)]

    def update_warnings(self, new: Object, old: Object) -> list[str]:
        return self._spec_warnings(new) if self.desired_changed(new, old) else []

    def _spec_warnings(self, obj: Object) -> list[str]:
        return [*job_rules.warnings("spec", obj["spec"]), *TemplateStrategy.warnings(self, obj)]

    unknown_field = 'field label "{}" not supported for Job'

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        return {"status.successful": str((obj.get("status") or {}).get("succeeded") or 0)}


def _generate_selector(job: Object) -> None:
    """Let a job select its own pods by its uid, which no other job ever had."""
    metadata, spec = job["metadata"], job["spec"]
    template = spec["template"]["metadata"]
    # a job without labels takes its template's: by default before this, and here
    same = (metadata.get("labels") or {}) == (template.get("labels") or {})
    template["labels"] = labels = dict(template.get("labels") or {})
    uid = metadata.get("uid", "")
    # a label of the author's is not overwritten: validation refuses the job for it
    for label, value in zip(GENERATED, (uid, uid, metadata.get("name", ""), metadata.get("name", "")), strict=True):
        labels.setdefault(label, value)
    spec["selector"] = selector = dict(spec.get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {})}
    selector["matchLabels"].setdefault(UID_LABEL, uid)
    if same:
        metadata["labels"] = dict(labels)


class CronJobStrategy(TemplateStrategy):
    trusts_metadata = True

    def default(self, obj: Object) -> None:
        defaults.cron_job(obj)

    def validate_body(self, obj: Object) -> list[FieldError]:
        return cron_rules.cron_job(obj)

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return [*metadata.validate_update(new, old), *cron_rules.cron_job(new, old)]

    def warnings(self, obj: Object) -> list[str]:
        return [*hostname_warning(obj), *self._spec_warnings(obj)]

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return []  # nor does upstream ask anything, but what it asks of every object

    def update_warnings(self, new: Object, old: Object) -> list[str]:
        found = self._spec_warnings(new) if self.desired_changed(new, old) else []
        if "TZ" in (new["spec"].get("schedule") or ""):
            more = "see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
            found.append(f"cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, {more}")
        return found

    def _spec_warnings(self, obj: Object) -> list[str]:
        spec, at = (obj["spec"].get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec"
        return [*job_rules.warnings(at, spec), *warnings.pod(f"{at}.template.", spec.get("template") or {})]
