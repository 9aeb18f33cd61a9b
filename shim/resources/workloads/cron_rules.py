"""What must hold of CronJobs."""

from __future__ import annotations

import re

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import as_selector, invalid, not_negative, one_of, required, unsupported
from shim.resources.workloads import schedule
from shim.resources.workloads.job_rules import job_spec

_LONGEST_NAME = 52  # a Job is named after it, with eleven characters more
_ZONE_PART = re.compile(r"(?!-)(?!\.\.?\Z)[A-Za-z._0-9+-]{1,14}")


def cron_job(obj: Object, old: Object | None = None) -> list[FieldError]:
    spec, name = obj["spec"], obj["metadata"].get("name") or ""
    before = (old or {}).get("spec") or {}
    zone = spec.get("timeZone")
    causes = _schedule("spec.schedule", spec.get("schedule") or "", zone, "TZ" in (before.get("schedule") or ""))
    causes += not_negative("spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
    if zone is not None and (old is None or before.get("timeZone") != zone):
        causes += _time_zone(zone)
    causes += one_of("spec.concurrencyPolicy", spec.get("concurrencyPolicy") or "", ("Allow", "Forbid", "Replace"))
    causes += _job_template(spec.get("jobTemplate") or {})
    for field in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        causes += not_negative(f"spec.{field}", spec.get(field))
    if old is None and len(name) > _LONGEST_NAME:
        causes.append(invalid("metadata.name", name, f"must be no more than {_LONGEST_NAME} characters"))
    return causes


def _schedule(at: str, text: str, zone: str | None, had_zone: bool) -> list[FieldError]:
    """``had_zone``: an older schedule names a zone in its text, which new ones must not."""
    if not text:
        return [required(at)]
    complaint = schedule.complaint(text)
    causes = [invalid(at, text, complaint)] if complaint else []
    if "TZ" in text and had_zone and zone is not None:
        causes.append(invalid(at, text, "cannot use both timeZone field and TZ or CRON_TZ in schedule"))
    elif "TZ" in text and not had_zone:
        causes.append(invalid(at, text, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
    return causes


def _time_zone(zone: str) -> list[FieldError]:
    at, unknown = "spec.timeZone", f"unknown time zone {zone}"
    if not zone:
        return [invalid(at, zone, "timeZone must be nil or non-empty string")]
    if not all(_ZONE_PART.fullmatch(part) for part in zone.split("/")):
        return [invalid(at, zone, unknown)]
    causes: list[FieldError] = []
    if zone.lower() == "local":
        text = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        causes.append(invalid(at, zone, text))
    if zone != "Local" and not schedule.known_zone(zone):  # Go knows a zone of that name: the machine's
        causes.append(invalid(at, zone, unknown))
    return causes


def _job_template(template: Object) -> list[FieldError]:
    spec, at = template.get("spec") or {}, "spec.jobTemplate.spec"
    causes = job_spec(at, spec)
    if spec.get("selector") is not None:
        text = "`selector` will be auto-generated"
        causes.append(invalid(f"{at}.selector", as_selector(spec["selector"]), text))
    if spec.get("manualSelector"):
        causes.append(unsupported(f"{at}.manualSelector", True, ("nil", "false")))
    return causes
