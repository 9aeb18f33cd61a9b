import datetime

from shim.api.meta import now_micro
from shim.client import resource as r
from shim.controllers.node_lifecycle import NodeLifecycleController, wanted_taints
from shim.controllers.taint_eviction import TaintEvictionController, seconds_left
from shim.controllers.tests.cluster import cluster, ready_condition

AT = datetime.datetime(2026, 1, 1, 0, 1, tzinfo=datetime.UTC)
TAINT = {"key": "k", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}


def tolerating(seconds=None, key="k"):
    limit = {} if seconds is None else {"tolerationSeconds": seconds}
    return {"key": key, "operator": "Exists", "effect": "NoExecute", **limit}


def test_seconds_count_from_the_taint_and_the_shortest_toleration_decides():
    assert seconds_left([TAINT], [tolerating(300)], AT) == 240
    assert seconds_left([TAINT], [tolerating(300), tolerating(90)], AT) == 30
    assert seconds_left([TAINT], [tolerating()], AT) is None
    assert seconds_left([TAINT], [tolerating(300, key="other")], AT) == 0
    assert seconds_left([{"key": "k", "effect": "NoSchedule"}], [], AT) is None


def node(*conditions, taints=(), **spec):
    return {
        "metadata": {"name": "n"},
        "spec": {"taints": list(taints), **spec},
        "status": {"conditions": [{"type": type_, "status": status} for type_, status in conditions]},
    }


def keys(taints):
    return [(taint["key"].removeprefix("node.kubernetes.io/"), taint["effect"]) for taint in taints]


def test_taints_follow_conditions_and_leave_others_alone():
    users = {"key": "dedicated", "effect": "NoSchedule"}
    unreachable = wanted_taints(node(("Ready", "Unknown"), taints=[users]))
    assert keys(unreachable) == [
        ("dedicated", "NoSchedule"), ("unreachable", "NoSchedule"), ("unreachable", "NoExecute"),
    ]  # fmt: skip
    not_ready = wanted_taints(node(("Ready", "False"), ("MemoryPressure", "True"), taints=unreachable))
    assert keys(not_ready) == [
        ("dedicated", "NoSchedule"), ("not-ready", "NoSchedule"), ("memory-pressure", "NoSchedule"),
        ("not-ready", "NoExecute"),
    ]  # fmt: skip
    assert wanted_taints(node(("Ready", "True"), taints=not_ready)) == [users]
    assert keys(wanted_taints(node(("Ready", "True"), unschedulable=True))) == [("unschedulable", "NoSchedule")]


def test_a_node_that_never_spoke_takes_no_pods_and_expels_none():
    born = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    assert wanted_taints(node(taints=[born])) == [born]


async def test_a_silent_node_is_lost_its_pods_leave_and_it_may_come_back(tmp_path):
    async with cluster(tmp_path) as c:
        await c.add_node("n1")
        tolerant = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
        await c.add_pod("leaves", nodeName="n1", tolerations=[{**tolerant, "tolerationSeconds": 0}])
        await c.add_pod("stays", nodeName="n1", tolerations=[tolerant])
        for name in ("leaves", "stays"):
            status = {"phase": "Running", "conditions": [ready_condition()]}
            await c.client.patch(r.PODS, name, {"status": status}, "default", subresource="status")
        await c.control(NodeLifecycleController, TaintEvictionController, node_monitor_grace_period=0.3)

        lost = await c.until(r.NODES, "n1", lambda found: len(found["spec"].get("taints") or ()) == 2)
        (ready,) = [each for each in lost["status"]["conditions"] if each["type"] == "Ready"]
        assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
        assert ready["message"] == "Kubelet stopped posting node status."

        await c.until(r.PODS, "leaves", lambda found: found is None or found["metadata"].get("deletionTimestamp"))
        stays = await c.until(r.PODS, "stays", lambda found: found["status"]["conditions"][0]["status"] == "False")
        assert "deletionTimestamp" not in stays["metadata"]

        # It speaks again: from here on its lease is what counts.
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "n1", "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": "n1", "leaseDurationSeconds": 40, "renewTime": now_micro()},
        }
        await c.client.create(r.LEASES, lease, "kube-node-lease")
        status = {"conditions": [ready_condition()]}
        await c.client.patch(r.NODES, "n1", {"status": status}, subresource="status", type="strategic")
        await c.until(r.NODES, "n1", lambda found: not found["spec"].get("taints"))
