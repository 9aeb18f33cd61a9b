"""CronJobs: make a job whenever the schedule is due."""

from __future__ import annotations

import copy
import datetime
import zoneinfo

from shim.api import conditions
from shim.api.meta import Object, controller_of, key_of, parse_time
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers import cron_schedule
from shim.controllers.adoption import is_controlled_by, owner_reference
from shim.controllers.children import Children
from shim.controllers.cron_schedule import Every, Schedule
from shim.controllers.job_plan import is_finished
from shim.controllers.loop import Context, Controller
from shim.controllers.pod_control import namespace_terminating
from shim.controllers.pod_readiness import is_deleted
from shim.controllers.status_write import without_zeros, write_status
from shim.controllers.written import Written

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MANY_MISSED = 100  # more are worth a warning


def zone_of(cron_job: Object) -> datetime.tzinfo:
    """The schedule's time zone. Raises KeyError (ZoneInfoNotFoundError) for an unknown one."""
    name = cron_job["spec"].get("timeZone")
    return zoneinfo.ZoneInfo(name) if name else datetime.UTC


def served_until(cron_job: Object, at: datetime.datetime) -> datetime.datetime:
    """Times up to here need no job any more: they have theirs, or it is too late to start it."""
    status = cron_job.get("status") or {}
    since = parse_time(status.get("lastScheduleTime") or cron_job["metadata"]["creationTimestamp"])
    deadline = cron_job["spec"].get("startingDeadlineSeconds")
    return since if deadline is None else max(since, at - datetime.timedelta(seconds=deadline))


def missed_many(schedule: Schedule | Every, since: datetime.datetime, at: datetime.datetime) -> bool:
    """Whether more times than a few have passed unserved: a clock that jumped, or a controller that was away."""
    moment: datetime.datetime | None = since
    for _ in range(MANY_MISSED + 1):
        moment = schedule.next(moment) if moment is not None else None
        if moment is None or moment > at:
            return False
    return True


def job_for(cron_job: Object, due: datetime.datetime) -> Object:
    """The job of one scheduled time; its name tells the minute, so that it is never made twice."""
    template, metadata = copy.deepcopy(cron_job["spec"]["jobTemplate"]), cron_job["metadata"]
    described = template.get("metadata") or {}
    scheduled = due.astimezone(zone_of(cron_job)).isoformat(timespec="seconds").replace("+00:00", "Z")
    made: Object = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{metadata['name']}-{int(due.timestamp()) // 60}",
            "namespace": metadata["namespace"],
            "annotations": {**(described.get("annotations") or {}), SCHEDULED: scheduled},
            "ownerReferences": [owner_reference(cron_job, "batch/v1", "CronJob")],
        },
        "spec": template["spec"],
    }
    if described.get("labels"):
        made["metadata"]["labels"] = described["labels"]
    return made


def surplus_jobs(cron_job: Object, jobs: list[Object]) -> list[Object]:
    """Finished jobs beyond the history limits, oldest first."""
    found = []
    for kind, limit in (("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")):
        most = cron_job["spec"].get(limit)
        if most is not None:
            ended = sorted((job for job in jobs if conditions.is_true(job, kind)), key=_start)
            found += ended[: max(len(ended) - most, 0)]
    return found


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _timing(cron_job: Object) -> tuple[str, str | None]:
    return cron_job["spec"]["schedule"], cron_job["spec"].get("timeZone")


def _start(job: Object) -> tuple[str, str]:
    return (job.get("status") or {}).get("startTime") or "", job["metadata"]["name"]


def _reference(job: Object) -> Object:
    metadata = job["metadata"]
    return {
        "kind": "Job",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "apiVersion": "batch/v1",
        "resourceVersion": metadata["resourceVersion"],
    }


class CronJobController(Controller):
    """Owns jobs."""

    name = "cronjob"
    component = "cronjob-controller"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.cron_jobs = ctx.informer(r.CRONJOBS)
        self.jobs = ctx.informer(r.JOBS)
        self.children = Children(self.jobs)
        self.written, self.written_jobs = Written(self.cron_jobs), Written(self.jobs)
        self.recorder = ctx.recorder(self.component)
        self.cron_jobs.on_change(self.cron_job_changed)
        self.jobs.on_change(self.job_changed)

    def cron_job_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        if old is not None and _timing(old) != _timing(new):
            # what the new schedule would have been due for in the past is no reason to start now
            try:
                self.look_again(new, cron_schedule.parse(new["spec"]["schedule"], zone_of(new)), _now())
            except (KeyError, OSError, ValueError):
                self.queue.add(key_of(new))  # to say what is wrong with it
            return
        self.queue.add(key_of(new))

    def job_changed(self, old: Object | None, new: Object | None) -> None:
        for job in (old, new):
            reference = controller_of(job) if job is not None else None
            if job is not None and reference is not None and reference.get("kind") == "CronJob":
                self.queue.add(f"{job['metadata']['namespace']}/{reference['name']}")

    async def reconcile(self, key: str) -> None:
        cron_job = self.written.get(key)
        if cron_job is None:
            return
        namespace = cron_job["metadata"]["namespace"]
        unseen = [job for job in self.written_jobs.unseen() if is_controlled_by(job, cron_job)]
        jobs = self.written_jobs.overlay(self.children.owned_by(cron_job)) + unseen
        jobs = [job for job in jobs if job["metadata"]["namespace"] == namespace]
        status = dict(cron_job.get("status") or {})
        status["active"] = list(status.get("active") or ())
        self.see_jobs(cron_job, jobs, status)
        try:
            if not is_deleted(cron_job):
                await self.start_if_due(cron_job, jobs, status)
            for job in surplus_jobs(cron_job, jobs):
                await self.delete(cron_job, job, status)
        finally:
            wanted = without_zeros(status)
            if wanted != (cron_job.get("status") or {}):
                self.written.remember(await write_status(self.ctx.client, r.CRONJOBS, cron_job, wanted))

    def see_jobs(self, cron_job: Object, jobs: list[Object], status: Object) -> None:
        """Take finished and missing jobs out of the active ones."""
        by_uid = {job["metadata"]["uid"]: job for job in jobs}
        listed = {each["uid"]: each for each in status["active"]}
        for uid, job in by_uid.items():
            name = job["metadata"]["name"]
            if not is_finished(job):
                if uid not in listed:
                    message = f"Saw a job that the controller did not create or forgot: {name}"
                    self.recorder.event(cron_job, "Warning", "UnexpectedJob", message)
                continue
            if listed.pop(uid, None) is not None:
                ended = "Complete" if conditions.is_true(job, "Complete") else "Failed"
                message = f"Saw completed job: {name}, condition: {ended}"
                self.recorder.event(cron_job, "Normal", "SawCompletedJob", message)
            time = job["status"].get("completionTime")
            if time and (not status.get("lastSuccessfulTime") or time > status["lastSuccessfulTime"]):
                status["lastSuccessfulTime"] = time
        for uid in [uid for uid in listed if uid not in by_uid]:
            message = f"Active job went missing: {listed.pop(uid)['name']}"
            self.recorder.event(cron_job, "Normal", "MissingJob", message)
        status["active"] = list(listed.values())

    def schedule_of(self, cron_job: Object) -> Schedule | Every | None:
        text = cron_job["spec"]["schedule"]
        try:
            return cron_schedule.parse(text, zone_of(cron_job))
        except (KeyError, OSError) as error:
            message = f'invalid timeZone: "{cron_job["spec"].get("timeZone")}": {error}'
            self.recorder.event(cron_job, "Warning", "UnknownTimeZone", message)
        except ValueError as error:
            self.recorder.event(cron_job, "Warning", "UnparseableSchedule", f'unparseable schedule: "{text}" : {error}')
        return None

    async def start_if_due(self, cron_job: Object, jobs: list[Object], status: Object) -> None:
        schedule = self.schedule_of(cron_job)
        if schedule is None or cron_job["spec"].get("suspend"):
            return
        at = _now()
        self.look_again(cron_job, schedule, at)
        since = served_until(cron_job, at)
        due = schedule.latest(since, at)
        if due is None:
            if schedule.next(at) is None:
                why = "time difference between two schedules is less than 1 second"  # upstream's, who has no other word
                message = f"invalid schedule: {cron_job['spec']['schedule']} : {why}"
                self.recorder.event(cron_job, "Warning", "InvalidSchedule", message)
            return
        if missed_many(schedule, since, at):
            message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            self.recorder.event(cron_job, "Warning", "TooManyMissedTimes", message)
        wanted = job_for(cron_job, due)
        if any(each["name"] == wanted["metadata"]["name"] for each in status["active"]):
            return
        policy = cron_job["spec"].get("concurrencyPolicy", "Allow")
        if policy == "Forbid" and status["active"]:
            message = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self.recorder.event(cron_job, "Normal", "JobAlreadyActive", message)
            return
        if policy == "Replace":
            for job in jobs:
                if any(each["uid"] == job["metadata"]["uid"] for each in status["active"]):
                    await self.delete(cron_job, job, status)
        await self.start(cron_job, wanted, status, due)

    def look_again(self, cron_job: Object, schedule: Schedule | Every, at: datetime.datetime) -> None:
        """Be called when the next job is due."""
        following = schedule.next(at)
        if following is not None:
            # a little later, so that the time has certainly come by this machine's clock
            self.queue.add_after(key_of(cron_job), (following - at).total_seconds() + 0.1)

    async def start(self, cron_job: Object, wanted: Object, status: Object, due: datetime.datetime) -> None:
        name, namespace = wanted["metadata"]["name"], wanted["metadata"]["namespace"]
        try:
            made = await self.ctx.client.create(r.JOBS, wanted, namespace)
        except ApiError as error:
            if namespace_terminating(error):
                return
            if error.code != 409:
                self.recorder.event(cron_job, "Warning", "FailedCreate", f"Error creating job: {error.message}")
                raise
            # made before a crash kept us from noting it
            made = await self.ctx.client.get(r.JOBS, name, namespace)
            if not is_controlled_by(made, cron_job):
                return
        else:
            self.recorder.event(cron_job, "Normal", "SuccessfulCreate", f"Created job {name}")
        self.written_jobs.remember(made)
        if not is_finished(made):
            status["active"] = [*status["active"], _reference(made)]
        status["lastScheduleTime"] = due.strftime("%Y-%m-%dT%H:%M:%SZ")

    async def delete(self, cron_job: Object, job: Object, status: Object) -> None:
        metadata = job["metadata"]
        try:
            await self.ctx.client.delete(r.JOBS, metadata["name"], metadata["namespace"], propagation="Background")
        except ApiError as error:
            if error.code != 404:
                self.recorder.event(cron_job, "Warning", "FailedDelete", f"Deleted job: {error.message}")
                raise
        else:
            self.recorder.event(cron_job, "Normal", "SuccessfulDelete", f"Deleted job {metadata['name']}")
        self.written_jobs.remember_deleted(job)
        status["active"] = [each for each in status["active"] if each["uid"] != metadata["uid"]]
