"""Whole stories on a real API server."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.tests.live import NODES, World, world
from shim.controllers.workloads import WORKLOADS

POD = {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "i"}]}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "s"},
    "spec": {"selector": {"app": "a"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
}


def workload(kind: str, group: str = "apps/v1", pod: Object | None = None, **spec: Any) -> Object:
    selector = {} if kind == "Job" else {"selector": {"matchLabels": {"app": "a"}}}
    template = {"metadata": {"labels": {"app": "a"}}, "spec": pod or POD}
    return {
        "apiVersion": group,
        "kind": kind,
        "metadata": {"name": "w"},
        "spec": {**selector, "template": template, **spec},
    }


def job(**spec: Any) -> Object:
    return workload("Job", "batch/v1", {**POD, "restartPolicy": "Never"}, **spec)


def rolled_out(deployment: Object) -> bool:
    """What ``kubectl rollout status`` waits for."""
    status, replicas = deployment.get("status") or {}, deployment["spec"]["replicas"]
    counts = {status.get(field, 0) for field in ("replicas", "updatedReplicas", "availableReplicas")}
    observed = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    return observed and counts == {replicas}


def ended(obj: Object) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in conditions)


def condition_types(obj: Object) -> list[str]:
    return [each["type"] for each in obj["status"]["conditions"]]


def ready_endpoints(each: Object) -> int:
    return sum(bool(endpoint["conditions"]["ready"]) for endpoint in each.get("endpoints") or ())


async def slice_of(here: World, count: int) -> Object:
    selector = "kubernetes.io/service-name=s"
    (found,) = (await here.client.list(r.ENDPOINTSLICES, "default", label_selector=selector))["items"]
    return await here.until(r.ENDPOINTSLICES, found["metadata"]["name"], lambda each: ready_endpoints(each) == count)


async def test_a_deployment_lives(tmp_path: Path) -> None:
    async with world(tmp_path, WORKLOADS) as here:
        await here.client.create(r.SERVICES, SERVICE, "default")
        await here.client.create(r.DEPLOYMENTS, workload("Deployment", replicas=3), "default")
        deployment = await here.until(r.DEPLOYMENTS, "w", rolled_out)
        assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
        (replica_set,) = await here.owned_by(r.REPLICASETS, deployment)
        name = replica_set["metadata"]["name"]
        assert await here.events("ScalingReplicaSet") == [f"Scaled up replica set {name} from 0 to 3"]
        await slice_of(here, 3)
        await here.client.patch(r.DEPLOYMENTS, "w", {"spec": {"replicas": 30}}, "default")
        await here.until(r.DEPLOYMENTS, "w", rolled_out)
        await slice_of(here, 30)
        await here.client.patch(r.DEPLOYMENTS, "w", {"spec": {"replicas": 0}}, "default")
        await here.until_gone(r.PODS)
        await slice_of(here, 0)


async def test_a_rollout_never_takes_an_endpoint_too_many(tmp_path: Path) -> None:
    async with world(tmp_path, WORKLOADS) as here:
        await here.client.create(r.SERVICES, SERVICE, "default")
        await here.client.create(r.DEPLOYMENTS, workload("Deployment", replicas=3), "default")
        await here.until(r.DEPLOYMENTS, "w", rolled_out)
        endpoints = await slice_of(here, 3)
        seen: list[int] = []

        async def look() -> None:
            version = endpoints["metadata"]["resourceVersion"]
            async for _, each in here.client.watch(r.ENDPOINTSLICES, "default", resource_version=version):
                seen.append(ready_endpoints(each))

        looking = asyncio.create_task(look())
        change = {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}
        await here.client.patch(r.DEPLOYMENTS, "w", change, "default")
        deployment = await here.until(r.DEPLOYMENTS, "w", rolled_out)
        await slice_of(here, 3)
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        assert min(seen) >= 3
        back = {"spec": {"template": {"metadata": {"annotations": None}}}}
        await here.client.patch(r.DEPLOYMENTS, "w", back, "default")
        deployment = await here.until(r.DEPLOYMENTS, "w", rolled_out)
        assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
        sets = await here.owned_by(r.REPLICASETS, deployment)
        history = [each["metadata"]["annotations"].get("deployment.kubernetes.io/revision-history") for each in sets]
        assert sorted(history, key=str) == ["1", None]


async def test_recreate_waits_for_the_last_old_pod(tmp_path: Path) -> None:
    async with world(tmp_path, WORKLOADS) as here:
        recreate = workload("Deployment", replicas=2, strategy={"type": "Recreate"})
        await here.client.create(r.DEPLOYMENTS, recreate, "default")
        await here.until(r.DEPLOYMENTS, "w", rolled_out)
        before = {pod["metadata"]["name"] for pod in await here.pods()}
        change = {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}
        await here.client.patch(r.DEPLOYMENTS, "w", change, "default")
        await here.until(r.DEPLOYMENTS, "w", rolled_out)
        assert before.isdisjoint(pod["metadata"]["name"] for pod in await here.pods())


async def test_a_replication_controller_adopts_and_releases(tmp_path: Path) -> None:
    async with world(tmp_path, WORKLOADS) as here:
        lone = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lone", "labels": {"app": "a"}}, "spec": POD}
        await here.client.create(r.PODS, lone, "default")
        wanted = workload("ReplicationController", "v1", replicas=1, selector={"app": "a"})
        owner = await here.client.create(r.REPLICATIONCONTROLLERS, wanted, "default")
        await here.until(r.PODS, "lone", lambda pod: bool(pod["metadata"].get("ownerReferences")))
        await here.until(r.REPLICATIONCONTROLLERS, "w", lambda each: each["status"].get("readyReplicas") == 1)
        assert len(await here.owned_by(r.PODS, owner)) == 1
        await here.client.patch(r.PODS, "lone", {"metadata": {"labels": {"app": "b"}}}, "default")
        await here.until(r.PODS, "lone", lambda pod: not pod["metadata"].get("ownerReferences"))
        assert len(await here.events("SuccessfulCreate")) == 1


async def test_a_stateful_set_is_made_and_updated_in_order(tmp_path: Path) -> None:
    def settled(each: Object) -> bool:
        status, replicas = each.get("status") or {}, each["spec"]["replicas"]
        counts = {status.get(field, 0) for field in ("replicas", "readyReplicas", "updatedReplicas")}
        return (
            counts == {replicas}
            and status["observedGeneration"] == each["metadata"]["generation"]
            and status["currentRevision"] == status["updateRevision"]
        )

    async with world(tmp_path, WORKLOADS) as here:
        claim = {
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        wanted = workload("StatefulSet", replicas=2, serviceName="s", volumeClaimTemplates=[claim])
        await here.client.create(r.STATEFULSETS, wanted, "default")
        first = await here.until(r.STATEFULSETS, "w", settled)
        pods = sorted(await here.pods(), key=lambda pod: int(pod["metadata"]["resourceVersion"]))
        assert sorted(pod["metadata"]["name"] for pod in pods) == ["w-0", "w-1"]
        claims = (await here.client.list(r.PERSISTENTVOLUMECLAIMS, "default"))["items"]
        assert sorted(each["metadata"]["name"] for each in claims) == ["data-w-0", "data-w-1"]
        change = {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}
        await here.client.patch(r.STATEFULSETS, "w", change, "default")
        second = await here.until(r.STATEFULSETS, "w", settled)
        assert second["status"]["currentRevision"] != first["status"]["currentRevision"]
        revisions = await here.owned_by(r.CONTROLLERREVISIONS, second)
        assert sorted(each["revision"] for each in revisions) == [1, 2]
        await here.client.patch(r.STATEFULSETS, "w", {"spec": {"replicas": 1}}, "default")
        await here.until(r.STATEFULSETS, "w", settled)
        assert [pod["metadata"]["name"] for pod in await here.pods()] == ["w-0"]


async def test_claims_follow_the_policy_when_it_changes_and_a_pod_waits_for_the_end_of_those_that_go(
    tmp_path: Path,
) -> None:
    def owners(claim: Object) -> list[tuple[str, str]]:
        return [(each["kind"], each["name"]) for each in claim["metadata"].get("ownerReferences") or ()]

    async with world(tmp_path, WORKLOADS) as here:
        claim = {
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        wanted = workload("StatefulSet", replicas=2, serviceName="s", volumeClaimTemplates=[claim])
        await here.client.create(r.STATEFULSETS, wanted, "default")
        await here.until(r.STATEFULSETS, "w", lambda each: (each.get("status") or {}).get("readyReplicas") == 2)
        policy = {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"}}
        await here.client.patch(r.STATEFULSETS, "w", {"spec": policy}, "default")
        for name in ("data-w-0", "data-w-1"):
            await here.until(r.PERSISTENTVOLUMECLAIMS, name, lambda each: owners(each) == [("StatefulSet", "w")])
        assert set(await here.events("SuccessfulUpdate")) >= {"Update Pod w-0 in StatefulSet w successful"}

        await here.client.patch(r.STATEFULSETS, "w", {"spec": {"replicas": 1}}, "default")
        left = await here.until(r.PERSISTENTVOLUMECLAIMS, "data-w-1", lambda each: owners(each) == [("Pod", "w-1")])
        await here.until(r.STATEFULSETS, "w", lambda each: each["status"]["replicas"] == 1)
        await here.client.patch(r.STATEFULSETS, "w", {"spec": {"replicas": 2}}, "default")
        generation = (await here.client.get(r.STATEFULSETS, "w", "default"))["metadata"]["generation"]
        waiting = await here.until(
            r.STATEFULSETS, "w", lambda each: each["status"].get("observedGeneration") == generation
        )
        assert waiting["status"]["replicas"] == 1
        # nobody protects claims or collects garbage here
        await here.client.patch(r.PERSISTENTVOLUMECLAIMS, "data-w-1", {"metadata": {"finalizers": None}}, "default")
        await here.client.delete(r.PERSISTENTVOLUMECLAIMS, "data-w-1", "default")
        await here.until(r.STATEFULSETS, "w", lambda each: each["status"].get("readyReplicas") == 2)
        made = await here.client.get(r.PERSISTENTVOLUMECLAIMS, "data-w-1", "default")
        assert made["metadata"]["uid"] != left["metadata"]["uid"]


async def test_a_daemon_on_every_node_and_on_new_ones(tmp_path: Path) -> None:
    def on(count: int) -> Any:
        return lambda each: (
            each["status"].get("numberAvailable", 0) == each["status"].get("updatedNumberScheduled", 0) == count
            and each["status"].get("observedGeneration") == each["metadata"]["generation"]
        )

    async with world(tmp_path, WORKLOADS) as here:
        await here.client.create(r.DAEMONSETS, workload("DaemonSet"), "default")
        await here.until(r.DAEMONSETS, "w", on(3))
        assert {pod["spec"]["nodeName"] for pod in await here.pods()} == set(NODES)
        await here.add_node("n4")
        await here.until(r.DAEMONSETS, "w", on(4))
        change = {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}
        await here.client.patch(r.DAEMONSETS, "w", change, "default")
        updated = await here.until(r.DAEMONSETS, "w", on(4))
        revisions = await here.owned_by(r.CONTROLLERREVISIONS, updated)
        assert sorted(each["revision"] for each in revisions) == [1, 2]


async def test_a_job_completes(tmp_path: Path) -> None:
    async with world(tmp_path, WORKLOADS, lambda _: "succeed") as here:
        await here.client.create(r.JOBS, job(completions=3, parallelism=2), "default")
        done = await here.until(r.JOBS, "w", ended)
        assert condition_types(done) == ["SuccessCriteriaMet", "Complete"]
        assert (done["status"]["succeeded"], done["status"]["uncountedTerminatedPods"]) == (3, {})
        pods = await here.pods()
        assert len(pods) == 3
        assert not any(pod["metadata"].get("finalizers") for pod in pods)
        assert await here.events("Completed") == ["Job completed"]


async def test_a_job_fails(tmp_path: Path) -> None:
    async with world(tmp_path, WORKLOADS, lambda _: "fail") as here:
        await here.client.create(r.JOBS, job(backoffLimit=0), "default")
        done = await here.until(r.JOBS, "w", ended)
        assert condition_types(done) == ["FailureTarget", "Failed"]
        assert done["status"]["failed"] == 1
        assert await here.events("BackoffLimitExceeded") == ["Job has reached the specified backoff limit"]


async def test_an_indexed_job_with_a_broken_index(tmp_path: Path) -> None:
    def behave(pod: Object) -> str:
        index = pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
        return "fail" if index == "1" else "succeed"

    async with world(tmp_path, WORKLOADS, behave) as here:
        wanted = job(completions=3, parallelism=3, completionMode="Indexed", backoffLimitPerIndex=0)
        await here.client.create(r.JOBS, wanted, "default")
        done = await here.until(r.JOBS, "w", ended)
        assert (done["status"]["completedIndexes"], done["status"]["failedIndexes"]) == ("0,2", "1")
        assert sorted(pod["spec"]["hostname"] for pod in await here.pods()) == ["w-0", "w-1", "w-2"]


async def test_a_suspended_job_runs_when_it_is_resumed_and_then_goes(tmp_path: Path) -> None:
    async with world(tmp_path, WORKLOADS, lambda _: "succeed") as here:
        await here.client.create(r.JOBS, job(suspend=True, ttlSecondsAfterFinished=3600), "default")
        await here.until(r.JOBS, "w", lambda each: "conditions" in each.get("status", {}))
        assert await here.pods() == []
        await here.client.patch(r.JOBS, "w", {"spec": {"suspend": False}}, "default")
        await here.until(r.JOBS, "w", ended)
        going = here.until(r.JOBS, "w", lambda each: bool(each["metadata"].get("deletionTimestamp")))
        gone = asyncio.create_task(going)
        await here.client.patch(r.JOBS, "w", {"spec": {"ttlSecondsAfterFinished": 0}}, "default")
        await gone


async def test_a_cron_job_makes_jobs_and_keeps_the_last(tmp_path: Path) -> None:
    async with world(tmp_path, WORKLOADS, lambda _: "succeed") as here:
        cron_job = {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "c"},
            "spec": {
                "schedule": "* * * * *",
                "successfulJobsHistoryLimit": 1,
                "jobTemplate": {"spec": {"template": job()["spec"]["template"]}},
            },
        }
        made = await here.client.create(r.CRONJOBS, cron_job, "default")
        # as if the controller had been away for a while: what it missed is due now
        late = {**made, "status": {"lastScheduleTime": "2026-01-01T00:00:00Z"}}
        await here.client.update(r.CRONJOBS, late, subresource="status")
        await here.until(r.CRONJOBS, "c", lambda each: bool(each["status"].get("lastSuccessfulTime")))
        completed = await here.events("SawCompletedJob")  # two, if a minute has just begun
        assert completed[0].startswith("Saw completed job: c-")
