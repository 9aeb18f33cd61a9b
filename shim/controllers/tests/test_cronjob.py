"""CronJobs: which time is due, the job it makes, and what is kept of the past."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shim.api.meta import Object, parse_time
from shim.client import resource as r
from shim.controllers.cron_schedule import parse
from shim.controllers.cronjob import CronJobController, job_for, missed_many, served_until, surplus_jobs
from shim.controllers.tests.builders import EARLIER, template
from shim.controllers.tests.live import world

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


def test_what_has_its_job_or_is_too_late_is_not_due() -> None:
    at = parse_time("2026-01-01T03:30:00Z")
    for wanted, since in (
        (cron_job(), EARLIER),
        (cron_job({"lastScheduleTime": "2026-01-01T03:00:00Z"}), "2026-01-01T03:00:00Z"),
        (cron_job(startingDeadlineSeconds=60), "2026-01-01T03:29:00Z"),
        (cron_job({"lastScheduleTime": "2026-01-01T03:00:00Z"}, startingDeadlineSeconds=7200), "2026-01-01T03:00:00Z"),
    ):
        assert served_until(wanted, at) == parse_time(since)


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


async def test_a_finished_job_is_told_of_before_it_is_forgotten(tmp_path: Path) -> None:
    async with world(tmp_path, [CronJobController]) as here:
        made = await here.client.create(r.CRONJOBS, yearly("c", successfulJobsHistoryLimit=0), "default")
        job = await here.client.create(r.JOBS, job_for(made, parse_time(EARLIER)), "default")
        name = job["metadata"]["name"]
        active = [{"kind": "Job", "name": name, "uid": job["metadata"]["uid"]}]
        await here.client.patch(r.CRONJOBS, "c", {"status": {"active": active}}, "default", subresource="status")
        ends = {"lastTransitionTime": EARLIER, "status": "True"}
        conditions = [{"type": kind, **ends} for kind in ("SuccessCriteriaMet", "Complete")]
        done = {"startTime": EARLIER, "completionTime": EARLIER, "conditions": conditions}
        await here.client.patch(r.JOBS, name, {"status": done}, "default", subresource="status")
        await here.until_gone(r.JOBS)
        assert await here.events("SawCompletedJob") == [f"Saw completed job: {name}, condition: Complete"]
        told = await here.until(r.CRONJOBS, "c", lambda each: "active" not in (each.get("status") or {}))
        assert told["status"] == {"lastSuccessfulTime": EARLIER}


async def test_a_new_schedule_starts_nothing_that_would_have_been_due_before(tmp_path: Path) -> None:
    async with world(tmp_path, [CronJobController]) as here:
        for name in ("first", "second"):
            await here.client.create(r.CRONJOBS, yearly(name), "default")
        long_ago = {"status": {"lastScheduleTime": EARLIER}}
        await here.client.patch(r.CRONJOBS, "first", long_ago, "default", subresource="status")
        await here.client.patch(r.CRONJOBS, "first", {"spec": {"schedule": "0 0 * * *"}}, "default")
        # a time that is due is still served, whatever tells of it
        await here.client.patch(r.CRONJOBS, "second", {"spec": {"schedule": "0 0 * * *"}}, "default")
        await here.client.patch(r.CRONJOBS, "second", long_ago, "default", subresource="status")
        (event,) = await here.events("SuccessfulCreate")
        assert event.startswith("Created job second-")


def yearly(name: str, **spec: Any) -> Object:
    wanted = cron_job(schedule="0 0 1 1 *", **spec)
    wanted["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    return {**wanted, "metadata": {"name": name}}
