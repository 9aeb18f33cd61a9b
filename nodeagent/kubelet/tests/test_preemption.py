"""Whom a critical pod sends away."""

import os

import pytest
from world import container, phase, ready

from nodeagent.kubelet.preemption import NoVictims, victims
from shim.api.meta import Object


def pod(name: str, cpu: str = "", memory: str = "", *, limits: bool = False, **spec: object) -> Object:
    asked = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    resources = {"requests": asked, **({"limits": asked} if limits else {})} if asked else {}
    container = {"name": "c", "image": "i", "resources": resources}
    return {"metadata": {"name": name, "uid": name}, "spec": {"containers": [container], **spec}}


CRITICAL = pod("critical", priority=2_000_000_000)
EFFORTLESS = pod("best-effort")
SMALL, LARGE = pod("small", "100m", "100Mi"), pod("large", "1", "100Mi")
PROMISED = pod("guaranteed", "1", "1Gi", limits=True)


@pytest.mark.parametrize(
    ("others", "missing", "gone"),
    [
        ([EFFORTLESS, SMALL, LARGE, PROMISED], {"cpu": 100}, ["small"]),
        ([EFFORTLESS, SMALL, LARGE, PROMISED], {"cpu": 500}, ["large"]),
        ([EFFORTLESS, SMALL, LARGE, PROMISED], {"cpu": 1100}, ["large", "small"]),
        ([EFFORTLESS, SMALL, LARGE, PROMISED], {"cpu": 1200}, ["large", "guaranteed"]),
        ([EFFORTLESS, SMALL, LARGE, PROMISED], {"memory": 1 << 30}, ["guaranteed"]),
        ([EFFORTLESS, SMALL, LARGE, PROMISED], {"pods": 1}, ["best-effort"]),
        ([pod("other", "1", priority=2_000_000_000), SMALL], {"cpu": 50}, ["small"]),
    ],
)
def test_as_few_as_will_do_and_the_least_promised_first(others, missing, gone):
    assert [each["metadata"]["name"] for each in victims(CRITICAL, others, missing)] == gone


def test_nobody_goes_in_vain():
    with pytest.raises(NoVictims) as refusal:
        victims(CRITICAL, [SMALL, EFFORTLESS], {"cpu": 1000})
    assert str(refusal.value) == "no set of running pods found to reclaim resources: [(res: cpu, q: 900), ]"
    with pytest.raises(NoVictims):
        victims(pod("ordinary", priority=1), [pod("alike", "1", priority=1)], {"cpu": 1})


@pytest.mark.needs_root
async def test_a_critical_pod_makes_room_on_its_node(node):
    whole = {"requests": {"cpu": str(os.cpu_count())}}
    await node.create("big", container(resources=whole))
    await node.until("big", ready)
    await node.create("bystander")
    await node.create("vital", container(resources=whole), priorityClassName="system-node-critical")
    await node.until("vital", ready)
    status = (await node.until("big", phase("Failed")))["status"]
    assert (status["reason"], status["message"]) == ("Preempting", "Preempted in order to admit critical pod")
    (disruption,) = [each for each in status["conditions"] if each["type"] == "DisruptionTarget"]
    assert disruption["message"] == "Pod was preempted by Kubelet to accommodate a critical pod."
    assert ("Preempting", "Preempted in order to admit critical pod") in await node.events("big")
    await node.until("bystander", ready)
    # one more finds nobody who matters less
    await node.create("equal", container(resources=whole), priorityClassName="system-node-critical")
    status = (await node.until("equal", phase("Failed")))["status"]
    why = f"no set of running pods found to reclaim resources: [(res: cpu, q: {os.cpu_count()}000), ]"
    said = "Unexpected error while attempting to recover from admission failure"
    assert status["reason"] == "UnexpectedAdmissionError"
    assert status["message"] == f"Pod was rejected: {said}: preemption: error finding a set of pods to preempt: {why}"
