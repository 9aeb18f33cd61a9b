"""CronJobs: which time is due, the job it makes, and what is kept of the past."""

from __future__ import annotations

from typing import Any

from shim.api.meta import Object, parse_time
from shim.controllers.cron_schedule import parse
from shim.controllers.cronjob import due_time, job_for, missed_many, surplus_jobs
from shim.controllers.tests.builders import EARLIER, template

HOURLY = parse("0 * * * *")


def cron_job(status: Object | None = None, **spec: Any) -> Object:
    job_template = {"metadata": {"labels": {"x": "y"}}, "spec": {"template": template()}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "c", "namespace": "ns", "uid": "uid-c", "creationTimestamp": EARLIER},
        "spec": {"schedule": "0 * * * *", "jobTemplate": job_template, **spec},
        "status": status or {},
    }


def finished(name: str, start: str, kind: str = "Complete") -> Object:
    conditions = [{"type": kind, "status": "True"}]
    return {"metadata": {"name": name}, "status": {"startTime": start, "conditions": conditions}}


def test_the_last_time_is_due_once() -> None:
    at = parse_time("2026-01-01T03:30:00Z")
    assert due_time(cron_job(), HOURLY, at) == parse_time("2026-01-01T03:00:00Z")
    assert due_time(cron_job({"lastScheduleTime": "2026-01-01T03:00:00Z"}), HOURLY, at) is None


def test_what_is_too_late_is_not_started() -> None:
    at = parse_time("2026-01-01T03:30:00Z")
    assert due_time(cron_job(startingDeadlineSeconds=60), HOURLY, at) is None
    assert due_time(cron_job(startingDeadlineSeconds=1900), HOURLY, at) is not None


def test_many_missed_times_are_noticed() -> None:
    since = parse_time(EARLIER)
    assert missed_many(HOURLY, since, parse_time("2026-01-10T00:00:00Z"))
    assert not missed_many(HOURLY, since, parse_time("2026-01-02T00:00:00Z"))


def test_the_job_tells_its_time() -> None:
    made = job_for(cron_job(timeZone="Europe/Berlin"), parse_time("2026-01-01T03:00:00Z"))
    metadata = made["metadata"]
    assert metadata["name"] == "c-29453940"
    assert metadata["annotations"] == {"batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-01-01T04:00:00+01:00"}
    assert metadata["labels"] == {"x": "y"}
    assert metadata["ownerReferences"][0]["controller"] is True
    assert job_for(cron_job(), parse_time(EARLIER))["metadata"]["annotations"] == {
        "batch.kubernetes.io/cronjob-scheduled-timestamp": EARLIER
    }


def test_only_so_many_finished_jobs_are_kept() -> None:
    jobs = [finished(f"j{hour}", f"2026-01-01T0{hour}:00:00Z") for hour in range(3)]
    broken = finished("broken", EARLIER, "Failed")
    wanted = cron_job(successfulJobsHistoryLimit=1, failedJobsHistoryLimit=0)
    assert [job["metadata"]["name"] for job in surplus_jobs(wanted, [*jobs[::-1], broken])] == ["j0", "j1", "broken"]
    assert surplus_jobs(cron_job(), jobs) == []
