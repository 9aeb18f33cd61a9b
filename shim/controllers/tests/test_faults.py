"""Whatever happens in whatever order: nothing is made twice, nothing is counted twice, nothing is left over.

Hypothesis chooses what users, kubelets and bad luck do: writes, restarts of the controllers, lost and expired watches.
What must never be seen is looked for after every change; what must be true in the end is waited for.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.cronjob import CronJobController
from shim.controllers.daemonset import DaemonSetController
from shim.controllers.job import JobController
from shim.controllers.pod_readiness import is_active
from shim.controllers.replicaset import ReplicaSetController
from shim.controllers.statefulset import StatefulSetController
from shim.controllers.tests.faulty import Faulty, Step, happen, often, on_pods, only_running, steps, story
from shim.controllers.tests.test_live import job, workload

INDEX = "batch.kubernetes.io/job-completion-index"


@often
@given(steps("scale", "delete", "fail", "disown"))
def test_a_replica_set_has_the_pods_it_wants(plan: list[Step]) -> None:
    async def told(here: Faulty) -> None:
        await here.client.create(r.REPLICASETS, workload("ReplicaSet", replicas=2), "default")
        most = 2 + max((number for verb, number in plan if verb == "scale"), default=0)

        def too_many(pods: list[Object]) -> str | None:
            active = [pod for pod in pods if is_active(pod) and pod["metadata"]["labels"].get("app") == "a"]
            return f"{len(active)} pods" if len(active) > most else None

        async def scale(number: int) -> None:
            await here.client.patch(r.REPLICASETS, "w", {"spec": {"replicas": number}}, "default")

        async with here.observing(r.PODS, too_many):
            await happen(here, plan, {"scale": scale, **on_pods(here)})
            wanted = (await here.client.get(r.REPLICASETS, "w", "default"))["spec"]["replicas"]
            await here.settles(r.PODS, only_running(wanted))

            def told_of(sets: list[Object]) -> bool:
                status = sets[0].get("status") or {}
                return {status.get(count, 0) for count in ("replicas", "readyReplicas")} == {wanted}

            await here.settles(r.REPLICASETS, told_of)

    story([ReplicaSetController], told)


@often
@given(steps("scale", "delete", "fail", "update"), st.sampled_from(("OrderedReady", "Parallel")))
def test_a_stateful_set_has_one_pod_of_each_name(plan: list[Step], policy: str) -> None:
    async def told(here: Faulty) -> None:
        spec = {"replicas": 2, "serviceName": "s", "podManagementPolicy": policy}
        await here.client.create(r.STATEFULSETS, workload("StatefulSet", **spec), "default")

        def strangers(pods: list[Object]) -> str | None:
            outside = {pod["metadata"]["name"] for pod in pods} - {f"w-{number}" for number in range(5)}
            return f"pods {outside}" if outside else None

        async def scale(number: int) -> None:
            await here.client.patch(r.STATEFULSETS, "w", {"spec": {"replicas": number}}, "default")

        async def update(number: int) -> None:
            template = {"metadata": {"annotations": {"version": str(number)}}}
            await here.client.patch(r.STATEFULSETS, "w", {"spec": {"template": template}}, "default")

        async with here.observing(r.PODS, strangers):
            await happen(here, plan, {"scale": scale, "update": update, **on_pods(here)})
            found = await here.client.get(r.STATEFULSETS, "w", "default")
            wanted = found["spec"]["replicas"]
            version = (found["spec"]["template"]["metadata"].get("annotations") or {}).get("version")

            def done(pods: list[Object]) -> bool:
                versions = [(pod["metadata"].get("annotations") or {}).get("version") for pod in pods]
                names = {pod["metadata"]["name"] for pod in pods}
                right = names == {f"w-{number}" for number in range(wanted)} and versions == [version] * wanted
                return right and only_running(wanted)(pods)

            await here.settles(r.PODS, done)
            await here.settles(r.STATEFULSETS, lambda sets: sets[0]["status"].get("readyReplicas", 0) == wanted)

    story([StatefulSetController], told)


@often
@given(steps("taint", "delete", "fail", "update"))
def test_a_daemon_set_has_one_pod_on_each_node(plan: list[Step]) -> None:
    async def told(here: Faulty) -> None:
        await here.client.create(r.DAEMONSETS, workload("DaemonSet"), "default")

        def two(pods: list[Object]) -> str | None:
            # one that was made for a node says so in its affinity, before it is there
            nodes = Counter(pod["spec"].get("nodeName") for pod in pods if is_active(pod))
            crowded = [name for name, count in nodes.items() if name and count > 1]
            return f"two pods on {crowded}" if crowded else None

        async def taint(number: int) -> None:
            taints = [{"key": "k", "effect": "NoExecute"}] if number % 2 else None
            await here.client.patch(r.NODES, f"n{number % 3 + 1}", {"spec": {"taints": taints}})

        async def update(number: int) -> None:
            template = {"metadata": {"annotations": {"version": str(number)}}}
            await here.client.patch(r.DAEMONSETS, "w", {"spec": {"template": template}}, "default")

        async with here.observing(r.PODS, two):
            await happen(here, plan, {"taint": taint, "update": update, **on_pods(here)})
            nodes = (await here.client.list(r.NODES))["items"]
            able = {node["metadata"]["name"] for node in nodes if not node["spec"].get("taints")}

            def done(pods: list[Object]) -> bool:
                on = sorted(pod["spec"].get("nodeName") or "" for pod in pods if is_active(pod))
                return only_running(len(able))(pods) and on == sorted(able)

            await here.settles(r.PODS, done)

    story([DaemonSetController], told)


@often
@given(steps("delete", "parallel"), st.sets(st.integers(0, 3)))
def test_an_indexed_job_counts_each_index_once(plan: list[Step], broken: set[int]) -> None:
    async def told(here: Faulty) -> None:
        wanted = job(completions=4, parallelism=2, completionMode="Indexed", backoffLimitPerIndex=0)
        await here.client.create(r.JOBS, wanted, "default")

        def twice(pods: list[Object]) -> str | None:
            indexes = Counter(pod["metadata"]["annotations"][INDEX] for pod in pods if is_active(pod))
            double = [index for index, count in indexes.items() if count > 1]
            return f"two pods of index {double}" if double else None

        def miscounted(jobs: list[Object]) -> str | None:
            status = jobs[0].get("status") or {} if jobs else {}
            uncounted = status.get("uncountedTerminatedPods") or {}
            if status.get("succeeded", 0) + len(uncounted.get("succeeded") or ()) > 4:
                return f"{status}"
            return None

        async def parallel(number: int) -> None:
            await here.client.patch(r.JOBS, "w", {"spec": {"parallelism": number + 1}}, "default")

        async with here.observing(r.PODS, twice), here.observing(r.JOBS, miscounted):
            await happen(here, plan, {"parallel": parallel, **on_pods(here)})

            def over(jobs: list[Object]) -> bool:
                conditions = (jobs[0].get("status") or {}).get("conditions") or ()
                return any(each["type"] in ("Complete", "Failed") for each in conditions)

            (done,) = await here.settles(r.JOBS, over)
        status = done["status"]
        deleted = any(verb == "delete" for verb, _ in plan)
        if not deleted:
            assert status.get("succeeded", 0) == 4 - len(broken)
            assert status.get("failed", 0) == len(broken)
        assert _many(status.get("completedIndexes")) == status.get("succeeded", 0)
        assert _many(status.get("completedIndexes")) + _many(status.get("failedIndexes")) == 4
        assert status.get("uncountedTerminatedPods", {}) == {}
        await here.settles(r.PODS, lambda pods: not any(pod["metadata"].get("finalizers") for pod in pods))

    def behave(pod: Object) -> str:
        return "fail" if int(pod["metadata"]["annotations"][INDEX]) in broken else "succeed"

    story([JobController], told, behave)


def _many(indexes: str | None) -> int:
    """How many numbers a text such as 0,2-4 names."""
    spans = [part.split("-") for part in (indexes or "").split(",") if part]
    return sum(int(span[-1]) - int(span[0]) + 1 for span in spans)


@often
@given(steps("late", "suspend"))
def test_a_cron_job_that_forbids_it_never_runs_two_jobs(plan: list[Step]) -> None:
    async def told(here: Faulty) -> None:
        template = {"spec": {"template": job()["spec"]["template"]}}
        spec = {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "jobTemplate": template}
        cron_job = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"}, "spec": spec}
        await here.client.create(r.CRONJOBS, cron_job, "default")

        def running(jobs: list[Object]) -> list[Object]:
            over = ("Complete", "Failed")
            return [
                each
                for each in jobs
                if not any(c["type"] in over for c in (each.get("status") or {}).get("conditions") or ())
            ]

        def two(jobs: list[Object]) -> str | None:
            names = [each["metadata"]["name"] for each in running(jobs)]
            return f"jobs {names}" if len(names) > 1 else None

        async def late(number: int) -> None:
            status = {"status": {"lastScheduleTime": f"2026-01-0{number + 1}T00:00:00Z"}}
            await here.client.patch(r.CRONJOBS, "c", status, "default", subresource="status")

        async def suspend(number: int) -> None:
            await here.client.patch(r.CRONJOBS, "c", {"spec": {"suspend": bool(number % 2)}}, "default")

        async with here.observing(r.JOBS, two):
            await happen(here, plan, {"late": late, "suspend": suspend})
            await suspend(0)
            await late(0)

            def done(cron_jobs: list[Object]) -> bool:
                status = cron_jobs[0].get("status") or {}
                return bool(status.get("lastSuccessfulTime")) and not status.get("active")

            await here.settles(r.CRONJOBS, done)

    story([CronJobController, JobController], told, lambda _: "succeed")
