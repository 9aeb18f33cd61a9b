"""Jobs: run pods to their end, so many times, and count every end exactly once."""

from __future__ import annotations

import asyncio
import datetime

from shim.api import selectors
from shim.api.meta import Object, controller_of, key_of
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.adoption import claim, is_controlled_by, owner_reference, plan_claims
from shim.controllers.children import Adopters, Children
from shim.controllers.expectations import Expectations
from shim.controllers.job_failures import Backoff, judge
from shim.controllers.job_indexes import FAILURES, IGNORED_FAILURES, failures_of, ignored_failures_of, with_index
from shim.controllers.job_plan import (
    TRACKING,
    Observed,
    PodPlan,
    completed,
    decide,
    is_finished,
    is_tracked,
    observe,
    plan_pods,
    seconds_to_deadline,
)
from shim.controllers.job_status import finished_status, living, settle, started, track, with_suspension
from shim.controllers.loop import Context, Controller
from shim.controllers.pod_control import (
    PodControl,
    all_or_first_failure,
    namespace_terminating,
    pod_from_template,
    slow_start,
)
from shim.controllers.pod_readiness import is_deleted, is_ready
from shim.controllers.written import Written

JOB_CONTROLLER = "kubernetes.io/job-controller"
ORPHAN = "orphan:"  # queue keys of pods whose job is gone, among the keys of jobs
RELEASE = {"metadata": {"$deleteFromPrimitiveList/finalizers": [TRACKING]}}


class JobController(Controller):
    """Owns pods, each with a finalizer until it is counted."""

    name = "job"
    component = "job-controller"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.jobs = ctx.informer(r.JOBS)
        self.pods = ctx.informer(r.PODS)
        self.children = Children(self.pods)
        self.adopters = Adopters(self.jobs)
        self.written, self.written_pods = Written(self.jobs), Written(self.pods)
        self.expectations = Expectations(self.pods, self.queue.add)
        self.backoffs: dict[str, Backoff] = {}
        self.recorder = ctx.recorder(self.component)
        self.control = PodControl(ctx.client, self.recorder)
        self.jobs.on_change(self.job_changed)
        self.pods.on_change(self.pod_changed)

    # --- what wakes a job ---

    def job_changed(self, old: Object | None, new: Object | None) -> None:
        for job in (old, new):
            if job is None:
                continue
            key = key_of(job)
            if new is None or is_finished(new):
                self.backoffs.pop(job["metadata"]["uid"], None)
                for pod in self.children.owned_by(job):
                    self.queue.add(ORPHAN + key_of(pod))
            if new is None:
                self.expectations.forget(key)
            self.queue.add(key)

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        for pod in (old, new):
            if pod is None:
                continue
            reference = controller_of(pod)
            if reference is None:
                if pod is new and (old is None or old["metadata"].get("labels") != pod["metadata"].get("labels")):
                    for key in self.adopters.of(pod):
                        self.queue.add(key)
            elif reference.get("kind") == "Job":
                key = f"{pod['metadata']['namespace']}/{reference['name']}"
                if new is None or is_deleted(new):
                    self.expectations.deleted(key, key_of(pod))
                self.queue.add(key)
        if new is not None and is_tracked(new):
            self.queue.add(ORPHAN + key_of(new))

    # --- what a job does ---

    async def reconcile(self, key: str) -> None:
        if key.startswith(ORPHAN):
            await self.release_orphan(key.removeprefix(ORPHAN))
            return
        job = self.written.get(key)
        if job is None or is_finished(job) or job["spec"].get("managedBy") not in (None, JOB_CONTROLLER):
            return
        satisfied = self.expectations.satisfied(key)
        at = datetime.datetime.now(datetime.UTC)
        seen = observe(job, await self.claim_pods(job))
        uid = job["metadata"]["uid"]
        backoff = self.backoffs.get(uid, Backoff()).after(seen.new_succeeded, seen.new_failed)
        status = started(job)
        finish = decide({**job, "status": status}, seen, at)
        failure: Exception | None = None
        alive = len(seen.active)
        if finish is not None:
            alive, failure = await self.remove(key, job, seen, seen.active, release=False)
            if alive or not satisfied:
                finish = None  # first every pod must be on its way out
        else:
            managed = satisfied and not is_deleted(job)
            if managed:
                plan = plan_pods(job, seen, backoff, at)
                alive, failure = await self.perform(key, job, seen, plan)
            finish = completed(job, seen, alive)
            if managed and finish is None:
                status = self.tell_suspension(job, status)
        await self.count(job, living(status, alive, seen.ready, seen.terminating), seen, finish)
        self.backoffs[uid] = backoff
        left = seconds_to_deadline({**job, "status": status}, at)
        if left is not None and finish is None:
            self.queue.add_after(key, max(left, 0.0))
        if failure is not None:
            raise failure

    async def claim_pods(self, job: Object) -> list[Object]:
        selector = selectors.from_object(job["spec"].get("selector"))
        unseen = [pod for pod in self.written_pods.unseen() if is_controlled_by(pod, job)]
        plan = plan_claims(
            job,
            lambda pod: selector.matches(pod["metadata"].get("labels") or {}),
            self.written_pods.overlay(self.children.candidates(job)) + unseen,
        )
        reference = owner_reference(job, "batch/v1", "Job")
        return await claim(self.ctx.client, r.JOBS, job, reference, r.PODS, plan, finalizer=TRACKING)

    def tell_suspension(self, job: Object, status: Object) -> Object:
        status, told = with_suspension(job, status)
        if told is not None:
            self.recorder.event(job, "Normal", told, f"Job {told.lower()}")
        return status

    async def perform(self, key: str, job: Object, seen: Observed, plan: PodPlan) -> tuple[int, Exception | None]:
        """Carry out the plan: how many pods are alive then, and what failed."""
        if plan.wait is not None:
            self.queue.add_after(key, plan.wait)
        if plan.delete:
            return await self.remove(key, job, seen, plan.delete, release=True)
        if not plan.create:
            return len(seen.active), None
        self.expectations.expect(key)
        waiting = iter(plan.indexes)

        async def create() -> None:
            made = await self.control.create(job, new_pod(job, seen, next(waiting, None)))
            self.written_pods.remember(made)
            self.expectations.created(key, made)

        done, failure = await slow_start(plan.create, create)
        ended = failure is None or namespace_terminating(failure)
        return len(seen.active) + done, None if ended else failure

    async def remove(
        self, key: str, job: Object, seen: Observed, pods: list[Object], *, release: bool
    ) -> tuple[int, Exception | None]:
        """Delete pods; with ``release`` they do not count for the job. How many are alive then, and what failed."""
        if not pods:
            return len(seen.active), None
        gone: list[Object] = []

        async def delete(pod: Object) -> None:
            try:
                if release and is_tracked(pod):
                    await self.release(pod)
                await self.control.delete(job, pod)
            except ApiError as error:
                self.expectations.deleted(key, key_of(pod))
                if error.code != 404:
                    raise
            gone.append(pod)

        self.expectations.expect(key, deletions=[key_of(pod) for pod in pods])
        failure: Exception | None = None
        try:
            await all_or_first_failure([delete(pod) for pod in pods])
        except Exception as refused:
            failure = refused
        seen.ready -= sum(map(is_ready, gone))
        seen.terminating += len(gone)
        return len(seen.active) - len(gone), failure

    # --- counting ---

    async def count(self, job: Object, status: Object, seen: Observed, finish: Object | None) -> None:
        """Write who has ended, let them go, write how many have ended."""
        tracking = track(job, status, seen, finish)
        if tracking.status != job.get("status"):
            job = await self.write(job, tracking.status)
        results = await asyncio.gather(*map(self.release, tracking.release), return_exceptions=True)
        let_go = {
            pod["metadata"]["uid"]
            for pod, result in zip(tracking.release, results, strict=True)
            if not isinstance(result, BaseException)
        }
        tracked = {pod["metadata"]["uid"] for pod in seen.pods if is_tracked(pod)} - let_go
        status = settle(tracking.status, tracked)
        final = finished_status(status, tracking.finish)
        if final is not None:
            status = final
        if status != tracking.status:
            job = await self.write(job, status)
        if final is not None and tracking.finish is not None:
            self.tell_finished(job, tracking.finish)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def write(self, job: Object, status: Object) -> Object:
        wanted = {**job, "status": status}
        return self.written.remember(await self.ctx.client.update(r.JOBS, wanted, subresource="status"))

    def tell_finished(self, job: Object, finish: Object) -> None:
        if finish["type"] != "Complete":
            self.recorder.event(job, "Warning", finish["reason"], finish["message"])
            return
        completions = job["spec"].get("completions")
        if completions is not None and (job.get("status") or {}).get("succeeded", 0) > completions:
            message = "Too many succeeded pods running after completion count reached"
            self.recorder.event(job, "Warning", "TooManySucceededPods", message)
        self.recorder.event(job, "Normal", "Completed", "Job completed")

    async def release(self, pod: Object) -> None:
        """Remove the finalizer that kept the pod until it was counted."""
        metadata = pod["metadata"]
        try:
            left = await self.ctx.client.patch(
                r.PODS, metadata["name"], RELEASE, metadata["namespace"], type="strategic"
            )
        except ApiError as error:
            if error.code != 404:
                raise
            self.written_pods.remember_deleted(pod)
            return
        if left["metadata"]["uid"] == metadata["uid"]:
            self.written_pods.remember(left)

    async def release_orphan(self, key: str) -> None:
        """A pod whose job is gone or finished will never be counted: let it go."""
        pod = self.written_pods.get(key)
        if pod is None or not is_tracked(pod):
            return
        reference = controller_of(pod)
        if reference is not None:
            if reference.get("kind") != "Job":
                return
            job = self.written.get(f"{pod['metadata']['namespace']}/{reference['name']}")
            ours = job is not None and job["metadata"]["uid"] == reference["uid"]
            if ours and job is not None and not is_finished(job):
                return
        await self.release(pod)


def new_pod(job: Object, seen: Observed, index: int | None) -> Object:
    """The next pod of a job, or of one of its indexes."""
    name = job["metadata"]["name"]
    pod = pod_from_template(job["spec"]["template"], name, owner_reference(job, "batch/v1", "Job"))
    finalizers = pod["metadata"].setdefault("finalizers", [])
    if TRACKING not in finalizers:
        finalizers.append(TRACKING)
    if index is None:
        return pod
    pod = with_index(pod, name, index)
    if seen.broken is not None:
        failures, ignored = index_failures(job, seen.held.get(index))
        pod["metadata"]["annotations"][FAILURES] = str(failures)
        if ignored:
            pod["metadata"]["annotations"][IGNORED_FAILURES] = str(ignored)
    return pod


def index_failures(job: Object, replaced: Object | None) -> tuple[int, int]:
    """How often an index has failed, and how often in a way that does not count, when this pod is replaced."""
    if replaced is None:
        return 0, 0
    counts = judge(job, replaced).counts
    return failures_of(replaced) + counts, ignored_failures_of(replaced) + (not counts)
