"""A machine that goes down: its pods end in order, and say why."""

import asyncio

import pytest
from world import container, phase, ready

from nodeagent.kubelet.shutdown import Period, grouped, periods
from nodeagent.settings import NodeAgentSettings
from shim.client import resource as r


def settings(**told):
    names = ("kubeconfig", "data_dir", "image_dir", "run_dir", "client_ca", "tls_cert", "tls_key")
    required = dict.fromkeys((*names, "node_name", "node_ip", "cgroup_root"))
    return NodeAgentSettings(**required, **told)


def pod(name, priority=None):
    return {"metadata": {"name": name}, "spec": {} if priority is None else {"priority": priority}}


CRITICAL = 2_000_000_000


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ({}, []),
        ({"shutdown_grace_period": "30s"}, [Period(0, 30), Period(CRITICAL, 0)]),
        (
            {"shutdown_grace_period": "1m30s", "shutdown_grace_period_critical_pods": "10s"},
            [Period(0, 80), Period(CRITICAL, 10)],
        ),
        ({"shutdown_grace_period_by_pod_priority": "100=5s,0=1m"}, [Period(0, 60), Period(100, 5)]),
    ],
)
def test_how_long_pods_have(told, known):
    assert periods(settings(**told)) == known


def test_critical_pods_cannot_have_more_than_there_is():
    with pytest.raises(ValueError, match="critical pods cannot have 20 s of 10 s"):
        periods(settings(shutdown_grace_period="10s", shutdown_grace_period_critical_pods="20s"))


def test_pods_of_a_priority_go_together():
    known = [Period(0, 1), Period(100, 1), Period(1000, 1)]
    pods = [pod("none"), pod("below", -5), pod("mid", 100), pod("between", 999), pod("top", 5000)]
    groups = [[each["metadata"]["name"] for each in group] for _, group in grouped(pods, known)]
    assert groups == [["none", "below"], ["mid", "between"], ["top"]]


@pytest.mark.needs_root
async def test_pods_end_in_order_and_no_more_come(node):
    ended = []

    def follow(old, new):
        if new is not None and new["status"].get("phase") == "Failed" and new["metadata"]["name"] not in ended:
            ended.append(new["metadata"]["name"])

    node.pods.on_change(follow)
    await node.create("vital", priorityClassName="system-node-critical")
    await node.create("plain")
    for name in ("vital", "plain"):
        await node.until(name, ready)
    shutdown = node.agent.kubelet.shutdown
    await shutdown.begin()
    assert ended == ["plain", "vital"]
    status = (await node.until("plain", phase("Failed")))["status"]
    why = "Pod was terminated in response to imminent node shutdown."
    assert (status["reason"], status["message"]) == ("Terminated", why)
    (disruption,) = [each for each in status["conditions"] if each["type"] == "DisruptionTarget"]
    assert (disruption["status"], disruption["reason"], disruption["message"]) == ("True", "TerminationByKubelet", why)

    async def readiness():
        conditions = (await node.client.get(r.NODES, "n1"))["status"]["conditions"]
        return next((each["status"], each["reason"], each["message"]) for each in conditions if each["type"] == "Ready")

    async def until_readiness(wanted):
        async with asyncio.timeout(60):
            while await readiness() != wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    await until_readiness(("False", "KubeletNotReady", "node is shutting down"))
    await node.create("late")
    status = (await node.until("late", phase("Failed")))["status"]
    said = "Pod was rejected: Pod was rejected as the node is shutting down."
    assert (status["reason"], status["message"]) == ("NodeShutdown", said)

    shutdown.cancel()
    await until_readiness(("True", "KubeletReady", "kubelet is posting ready status"))
    await node.create("next", container())
    await node.until("next", ready)
