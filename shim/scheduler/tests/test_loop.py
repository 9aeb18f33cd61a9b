"""The scheduler on a real API server."""

from __future__ import annotations

import asyncio

import pytest

import shim.scheduler
from shim.api import conditions
from shim.client import resource as r
from shim.controllers.tests.cluster import cluster
from shim.scheduler.loop import Scheduler
from shim.settings import SchedulerSettings


@pytest.fixture
async def c(tmp_path):
    async with cluster(tmp_path) as made:
        await made.start(lambda ready: shim.scheduler.run(SchedulerSettings(kubeconfig=made.kubeconfig), ready))
        yield made


def bound(pod):
    return pod["spec"].get("nodeName")


def refused(pod):
    return conditions.find(pod, "PodScheduled")


def names(pods):
    return {pod["metadata"]["name"] for pod in pods}


async def test_a_pod_without_a_node_says_why_and_gets_the_first_that_comes(c):
    await c.add_pod("a")
    pod = await c.until(r.PODS, "a", refused)
    condition = refused(pod)
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert condition["message"] == "no nodes available to schedule pods"

    await c.add_node("n1")

    await c.until(r.PODS, "a", bound)


async def test_events_tell_of_success_and_failure(c):
    await c.add_node("n1")
    await c.add_pod("here")
    await c.add_pod("nowhere", nodeSelector={"no": "where"})
    await c.until(r.PODS, "here", bound)
    await c.until(r.PODS, "nowhere", refused)

    told = {}
    async with asyncio.timeout(60):
        async for _, event in c.client.watch(r.EVENTS, "default", resource_version="0"):
            if event.get("reason") in ("Scheduled", "FailedScheduling"):
                told[event["reason"]] = (event["type"], event["reportingComponent"], event["message"])
            if len(told) == 2:
                break
    assert told["Scheduled"] == ("Normal", "default-scheduler", "Successfully assigned default/here to n1")
    assert told["FailedScheduling"][:2] == ("Warning", "default-scheduler")
    assert "1 node(s) didn't match Pod's node affinity/selector" in told["FailedScheduling"][2]


async def test_a_burst_never_overfills_a_node_and_room_is_used_when_it_comes(c):
    await c.add_node("n1", pods="3")
    burst = [f"p{number}" for number in range(5)]
    await asyncio.gather(*(c.add_pod(name, terminationGracePeriodSeconds=0) for name in burst))
    for name in burst:
        await c.until(r.PODS, name, lambda pod: bound(pod) or refused(pod))
    pods = (await c.client.list(r.PODS, "default"))["items"]
    inside, outside = names(filter(bound, pods)), names(pod for pod in pods if not bound(pod))
    assert (len(inside), len(outside)) == (3, 2)

    await c.client.delete(r.PODS, inside.pop(), "default", grace_period=0)

    async with asyncio.timeout(60):
        async for _, pod in c.client.watch(r.PODS, "default", resource_version="0"):
            if pod["metadata"].get("name") in outside and bound(pod):
                return


async def test_a_gated_pod_waits_for_its_gates_and_foreign_pods_are_left_alone(c):
    await c.add_node("n1")
    await c.add_pod("gated", schedulingGates=[{"name": "example.com/quota"}])
    await c.add_pod("foreign", schedulerName="other")
    await c.add_pod("plain")
    await c.until(r.PODS, "plain", bound)
    assert not bound(await c.client.get(r.PODS, "gated", "default"))

    await c.client.patch(r.PODS, "gated", {"spec": {"schedulingGates": None}}, "default")

    await c.until(r.PODS, "gated", bound)
    assert not bound(await c.client.get(r.PODS, "foreign", "default"))


async def test_a_more_important_pod_takes_the_place_of_a_lesser_one(c):
    await c.add_node("n1", cpu="1")
    high = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 10}
    await c.client.create(r.PRIORITYCLASSES, high)
    greedy = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]
    low = await c.add_pod("low", containers=greedy)
    await c.until(r.PODS, "low", bound)

    await c.add_pod("high", containers=greedy, priorityClassName="high")

    waiting = await c.until(r.PODS, "high", lambda pod: (pod.get("status") or {}).get("nominatedNodeName"))
    assert refused(waiting)["message"] == "0/1 nodes are available: 1 Insufficient cpu."
    victim = await c.until(r.PODS, "low", lambda pod: pod["metadata"].get("deletionTimestamp"))
    condition = conditions.find(victim, "DisruptionTarget")
    assert condition["reason"] == "PreemptionByScheduler"
    assert condition["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
    await c.client.delete(r.PODS, "low", "default", grace_period=0, uid=low["metadata"]["uid"])
    placed = await c.until(r.PODS, "high", bound)
    assert "nominatedNodeName" not in placed["status"]


async def test_attempts_are_counted_by_their_result(tmp_path):
    async with cluster(tmp_path) as c:
        scheduler = Scheduler(c.client)
        await c.start(scheduler.run)
        await c.add_node("n1")
        await c.add_pod("here")
        await c.add_pod("nowhere", nodeSelector={"no": "where"})
        await c.until(r.PODS, "here", bound)
        await c.until(r.PODS, "nowhere", refused)

        def told():
            families = scheduler.measured.families(scheduler.queue.pending())
            return {(each.name, *each.labels.values()): each.value for one in families for each in one.samples}

        async with asyncio.timeout(60):
            attempts = "scheduler_schedule_attempts_total"
            while (attempts, "default-scheduler", "scheduled") not in told():  # noqa: ASYNC110  # nobody is told of it
                await asyncio.sleep(0.01)  # the binding is seen before its writer hears of it
    results = {key[2]: value for key, value in told().items() if key[0] == attempts}
    assert results["scheduled"] == 1
    assert results["unschedulable"] >= 1
    assert told()["scheduler_pending_pods", "unschedulable"] + told()["scheduler_pending_pods", "backoff"] == 1
