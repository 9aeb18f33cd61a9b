from shim.client import resource as r
from shim.controllers import pod_gc
from shim.controllers.pod_gc import OUT_OF_SERVICE, PodGcController, surplus
from shim.controllers.tests.cluster import cluster, ready_condition

FINALIZER = "example.com/watched"


def finished(name, created, phase="Succeeded"):
    metadata = {"name": name, "namespace": "ns", "creationTimestamp": f"2026-01-01T00:00:{created:02}Z"}
    return {"metadata": metadata, "spec": {}, "status": {"phase": phase}}


def test_the_oldest_finished_pods_are_the_surplus():
    pods = [finished("c", 3), finished("a", 1, "Failed"), finished("runs", 0, "Running"), finished("b", 2)]
    assert [pod["metadata"]["name"] for pod in surplus(pods, 1)] == ["a", "b"]
    assert surplus(pods, 3) == []


async def remove_finalizer(c, name):
    await c.client.patch(r.PODS, name, {"metadata": {"finalizers": None}}, "default")


async def test_pods_of_a_node_that_is_no_more_fail_and_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(pod_gc, "QUARANTINE", 0.0)
    async with cluster(tmp_path) as c:
        await c.add_node("n1")
        await c.add_pod("lost", nodeName="never-was")
        await c.add_pod("stays", nodeName="n1")
        await c.client.patch(r.PODS, "lost", {"metadata": {"finalizers": [FINALIZER]}}, "default")
        await c.control(PodGcController)

        failed = await c.until(r.PODS, "lost", lambda found: found["metadata"].get("deletionTimestamp"))
        assert failed["status"]["phase"] == "Failed"
        (condition,) = [each for each in failed["status"]["conditions"] if each["type"] == "DisruptionTarget"]
        assert (condition["reason"], condition["message"]) == ("DeletionByPodGC", "PodGC: node no longer exists")
        await remove_finalizer(c, "lost")
        await c.until(r.PODS, "lost", lambda found: found is None)
        assert "deletionTimestamp" not in (await c.client.get(r.PODS, "stays", "default"))["metadata"]


async def test_a_node_that_went_a_moment_ago_may_come_back(tmp_path):
    async with cluster(tmp_path) as c:
        await c.add_pod("waits", nodeName="never-was")
        collector = PodGcController(pod_gc.Context(c.client, None))  # type: ignore[arg-type]
        assert await collector.gone_nodes({"never-was"}) == set()
        assert "never-was" in collector.missing


async def test_pods_that_end_on_a_node_out_of_service_are_removed_at_once(tmp_path):
    async with cluster(tmp_path) as c:
        await c.add_node("dead")
        for name in ("ending", "stays"):
            await c.add_pod(name, nodeName="dead")
        await c.client.delete(r.PODS, "ending", "default", grace_period=600)
        await c.client.patch(
            r.NODES, "dead", {"status": {"conditions": [ready_condition("Unknown")]}}, subresource="status"
        )
        taint = {"key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute"}
        await c.client.patch(r.NODES, "dead", {"spec": {"taints": [taint]}})
        await c.control(PodGcController)
        await c.until(r.PODS, "ending", lambda found: found is None)
        assert await c.client.get(r.PODS, "stays", "default")
