"""Whatever happens in whatever order: nothing is made twice, nothing is counted twice, nothing is left over.

Hypothesis chooses what users, kubelets and bad luck do: writes, restarts of the controllers, lost and expired watches.
What must never be seen is looked for after every change; what must be true in the end is waited for.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shim.api.meta import Object, controller_of
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.cronjob import CronJobController
from shim.controllers.daemonset import DaemonSetController
from shim.controllers.endpointslice import EndpointSliceController
from shim.controllers.garbage_collector import GarbageCollector
from shim.controllers.job import JobController
from shim.controllers.loop import Controller
from shim.controllers.pod_readiness import is_active, is_deleted, is_finished
from shim.controllers.replicaset import ReplicaSetController
from shim.controllers.resource_quota import ResourceQuotaController
from shim.controllers.statefulset import StatefulSetController
from shim.controllers.tests.faulty import Faulty, faulty
from shim.controllers.tests.test_live import job, workload
from shim.controllers.volume_binder import VolumeBinder

Step = tuple[str, int]
INDEX = "batch.kubernetes.io/job-completion-index"
FAULTS = ("restart", "cut", "expire")


def steps(*verbs: str) -> st.SearchStrategy[list[Step]]:
    """What happens: a verb and a number, which means something else to each."""
    return st.lists(st.tuples(st.sampled_from((*verbs, *FAULTS)), st.integers(0, 4)), min_size=3, max_size=9)


def often(test: Callable[..., None]) -> Callable[..., None]:
    # a failure is told as it came: to make it smaller would take minutes
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    return settings(max_examples=6, deadline=None, phases=phases, suppress_health_check=list(HealthCheck))(test)


def story(
    controllers: list[type[Controller]],
    told: Callable[[Faulty], Awaitable[None]],
    behave: Callable[[Object], str] = lambda _: "run",
) -> None:
    async def tell() -> None:
        with tempfile.TemporaryDirectory(prefix="shim-faults-") as folder:
            async with faulty(Path(folder), controllers, behave) as here:
                await told(here)

    asyncio.run(tell())


async def happen(here: Faulty, plan: Sequence[Step], verbs: dict[str, Callable[[int], Awaitable[Any]]]) -> None:
    """One after the other; what is refused because of what happened before is no fault."""
    for verb, number in plan:
        if verb == "restart":
            await here.restart()
        elif verb in FAULTS:
            here.break_watches(expired=verb == "expire")
        else:
            try:
                await verbs[verb](number)
            except ApiError as error:
                if error.code not in (403, 404, 409):
                    raise


async def one_of(here: Faulty, number: int) -> Object | None:
    pods = sorted(await here.pods(), key=lambda pod: str(pod["metadata"]["name"]))
    return pods[number % len(pods)] if pods else None


def on_pods(here: Faulty) -> dict[str, Callable[[int], Awaitable[Any]]]:
    async def delete(number: int) -> None:
        if (pod := await one_of(here, number)) is not None:
            await here.client.delete(r.PODS, pod["metadata"]["name"], "default", grace_period=0)

    async def fail(number: int) -> None:
        if (pod := await one_of(here, number)) is not None and not is_finished(pod):
            status = {"status": {"phase": "Failed"}}
            await here.client.patch(r.PODS, pod["metadata"]["name"], status, "default", subresource="status")

    async def disown(number: int) -> None:
        if (pod := await one_of(here, number)) is not None:
            await here.client.patch(r.PODS, pod["metadata"]["name"], {"metadata": {"labels": {"app": "b"}}}, "default")

    return {"delete": delete, "fail": fail, "disown": disown}


def only_running(count: int) -> Callable[[list[Object]], bool]:
    """Whether there are so many of the workload's pods, all of them running."""

    def done(pods: list[Object]) -> bool:
        mine = [pod for pod in pods if pod["metadata"]["labels"].get("app") == "a" and not is_finished(pod)]
        running = [pod for pod in mine if not is_deleted(pod) and (pod.get("status") or {}).get("phase") == "Running"]
        return len(running) == len(mine) == count and all(controller_of(pod) for pod in mine)

    return done


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
            (owner,) = await here.settles(
                r.REPLICASETS, lambda sets: (sets[0].get("status") or {}).get("readyReplicas", 0) == wanted
            )
        assert owner["status"]["replicas"] == wanted

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
                return only_running(wanted)(pods) and versions == [version] * wanted

            pods = await here.settles(r.PODS, done)
            assert {pod["metadata"]["name"] for pod in pods} == {f"w-{number}" for number in range(wanted)}
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
            pods = await here.settles(r.PODS, only_running(len(able)))
            on = [pod["spec"]["nodeName"] for pod in pods if is_active(pod)]
            assert sorted(on) == sorted(able)

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
            jobs = await here.settles(r.JOBS, bool)
        uids = {each["metadata"]["uid"] for each in jobs}
        found = await here.settles(r.CRONJOBS, lambda all: (all[0].get("status") or {}).get("lastSuccessfulTime"))
        assert {each["uid"] for each in found[0]["status"].get("active") or ()} <= uids

    story([CronJobController, JobController], told, lambda _: "succeed")


@often
@given(steps("background", "foreground", "orphan", "adopt"), st.lists(st.sets(st.integers(0, 7)), max_size=7))
def test_what_nobody_owns_any_more_goes_and_nothing_else(plan: list[Step], owners: list[set[int]]) -> None:
    async def told(here: Faulty) -> None:
        made: list[Object] = []
        for number, mine in enumerate([set[int](), *owners]):
            references = [_reference(made[each]) for each in sorted(mine) if each < number]
            metadata = {"name": f"c{number}", "ownerReferences": references}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
            made.append(await here.client.create(r.CONFIGMAPS, body, "default"))
        asked: set[str] = set()
        spared = False

        def going(propagation: str) -> Callable[[int], Awaitable[None]]:
            async def delete(number: int) -> None:
                nonlocal spared
                spared = spared or propagation == "Orphan"
                name = f"c{number % len(made)}"
                asked.add(name)
                await here.client.delete(r.CONFIGMAPS, name, "default", propagation=propagation)

            return delete

        async def adopt(number: int) -> None:
            owner, child = made[0], made[number % len(made)]
            if owner is not child:
                patch = {"metadata": {"ownerReferences": [_reference(owner)]}}
                await here.client.patch(r.CONFIGMAPS, child["metadata"]["name"], patch, "default")

        verbs = {name: going(name.capitalize()) for name in ("background", "foreground", "orphan")}
        await happen(here, plan, {**verbs, "adopt": adopt})

        def settled(left: list[Object]) -> bool:
            uids = {each["metadata"]["uid"] for each in left}
            return not any(
                is_deleted(each) or reference["uid"] not in uids
                for each in left
                if each["metadata"]["namespace"] == "default"
                for reference in [*(each["metadata"].get("ownerReferences") or ()), {"uid": each["metadata"]["uid"]}]
            )

        left = {each["metadata"]["name"] for each in await here.settles(r.CONFIGMAPS, settled)}
        free = {each["metadata"]["name"] for each in made if not each["metadata"].get("ownerReferences")}
        adopted = {f"c{number % len(made)}" for verb, number in plan if verb == "adopt"}
        assert free - asked - adopted <= left
        assert spared or adopted or not (asked & left)

    story([GarbageCollector], told)


def _reference(owner: Object) -> Object:
    metadata = owner["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "blockOwnerDeletion": True,
    }


@often
@given(steps("scale", "delete", "fail", "select"))
def test_slices_tell_of_every_pod_once(plan: list[Step]) -> None:
    async def told(here: Faulty) -> None:
        await here.client.create(r.REPLICASETS, workload("ReplicaSet", replicas=3), "default")
        ports = [{"port": 80, "targetPort": 8080}]
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
        await here.client.create(r.SERVICES, {**service, "spec": {"selector": {"app": "a"}, "ports": ports}}, "default")

        async def scale(number: int) -> None:
            await here.client.patch(r.REPLICASETS, "w", {"spec": {"replicas": number}}, "default")

        async def select(number: int) -> None:
            await here.client.patch(r.SERVICES, "s", {"spec": {"selector": {"app": "ab"[number % 2]}}}, "default")

        await happen(here, plan, {"scale": scale, "select": select, **on_pods(here)})
        wanted = (await here.client.get(r.REPLICASETS, "w", "default"))["spec"]["replicas"]
        pods = await here.settles(r.PODS, only_running(wanted))
        app = (await here.client.get(r.SERVICES, "s", "default"))["spec"]["selector"]["app"]
        addresses = sorted(pod["status"]["podIP"] for pod in pods if app == "a" and is_active(pod))

        def done(slices: list[Object]) -> bool:
            mine = [one for one in slices if one["metadata"]["labels"]["kubernetes.io/service-name"] == "s"]
            told = [each for one in mine for each in one.get("endpoints") or ()]
            return sorted(each["addresses"][0] for each in told) == addresses

        await here.settles(r.ENDPOINTSLICES, done)

    story([EndpointSliceController, ReplicaSetController], told)


@often
@given(steps("add", "remove", "limit"))
def test_a_quota_counts_what_is_there(plan: list[Step]) -> None:
    async def told(here: Faulty) -> None:
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}}
        await here.client.create(r.RESOURCEQUOTAS, {**quota, "spec": {"hard": {"secrets": "3"}}}, "default")
        most = 3 + max((number for verb, number in plan if verb == "limit"), default=0)

        def too_many(secrets: list[Object]) -> str | None:
            mine = [each for each in secrets if each["metadata"]["namespace"] == "default"]
            return f"{len(mine)} secrets" if len(mine) > most else None

        async def add(number: int) -> None:
            for name in range(number):
                secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"s{name}"}}
                await here.client.create(r.SECRETS, secret, "default")

        async def remove(number: int) -> None:
            await here.client.delete(r.SECRETS, f"s{number}", "default")

        async def limit(number: int) -> None:
            await here.client.patch(r.RESOURCEQUOTAS, "q", {"spec": {"hard": {"secrets": str(number)}}}, "default")

        def counted(quotas: list[Object]) -> bool:
            return "used" in (quotas[0].get("status") or {}) if quotas else False

        async with here.observing(r.SECRETS, too_many):
            await here.settles(r.RESOURCEQUOTAS, counted)
            await happen(here, plan, {"add": add, "remove": remove, "limit": limit})
        there = str(len((await here.client.list(r.SECRETS, "default"))["items"]))
        hard = (await here.client.get(r.RESOURCEQUOTAS, "q", "default"))["spec"]["hard"]
        wanted = {"hard": hard, "used": {"secrets": there}}
        await here.settles(r.RESOURCEQUOTAS, lambda quotas: quotas[0].get("status") == wanted)

    story([ResourceQuotaController], told)


@often
@given(steps("volume", "claim", "let go", "take away"))
def test_a_volume_is_one_claims_and_the_claim_knows(plan: list[Step]) -> None:
    async def told(here: Faulty) -> None:
        size = {"storage": "1Gi"}
        common = {"accessModes": ["ReadWriteOnce"], "storageClassName": "none"}

        async def volume(number: int) -> None:
            spec = {**common, "capacity": size, "hostPath": {"path": "/x"}, "persistentVolumeReclaimPolicy": "Retain"}
            body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"v{number}"}, "spec": spec}
            await here.client.create(r.PERSISTENTVOLUMES, body)

        async def ask(number: int) -> None:
            spec = {**common, "resources": {"requests": size}}
            body = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": f"c{number}"},
                "spec": spec,
            }
            await here.client.create(r.PERSISTENTVOLUMECLAIMS, body, "default")

        async def let_go(number: int) -> None:
            await here.client.delete(r.PERSISTENTVOLUMECLAIMS, f"c{number}", "default")

        async def take_away(number: int) -> None:
            await here.client.delete(r.PERSISTENTVOLUMES, f"v{number}")

        def shared(claims: list[Object]) -> str | None:
            names = Counter(claim["spec"].get("volumeName") for claim in claims if claim["spec"].get("volumeName"))
            alive = [name for name, count in names.items() if count > 1]
            return f"two claims of {alive}" if alive else None

        verbs = {"volume": volume, "claim": ask, "let go": let_go, "take away": take_away}
        async with here.observing(r.PERSISTENTVOLUMECLAIMS, shared):
            await happen(here, plan, verbs)
            volumes = (await here.client.list(r.PERSISTENTVOLUMES))["items"]
            names = {each["metadata"]["name"] for each in volumes}

            def consistent(claims: list[Object]) -> bool:
                phases = [(claim.get("status") or {}).get("phase") for claim in claims]
                lost = [claim for claim in claims if claim["spec"].get("volumeName") not in (None, *names)]
                return all(phases) and phases.count("Lost") == len(lost) and _bound_as_can_be(claims, volumes)

            claims = await here.settles(r.PERSISTENTVOLUMECLAIMS, consistent)
        for claim in claims:
            if claim["status"]["phase"] == "Bound":
                found = await here.client.get(r.PERSISTENTVOLUMES, claim["spec"]["volumeName"])
                assert found["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]

    story([VolumeBinder], told)


def _bound_as_can_be(claims: list[Object], volumes: list[Object]) -> bool:
    """Whether no claim waits while a volume that nobody ever had is free."""
    waiting = [claim for claim in claims if claim["status"]["phase"] == "Pending"]
    had = {claim["spec"].get("volumeName") for claim in claims}
    free = [each for each in volumes if each["metadata"]["name"] not in had and not each["spec"].get("claimRef")]
    return not (waiting and free)
