import asyncio

import pytest

from shim.api.meta import GVR
from shim.client import Client, Informer
from shim.client import resource as r
from shim.controllers.garbage_collector import GarbageCollector
from shim.controllers.loop import Context
from shim.controllers.ownership import Graph, Item
from shim.controllers.tests.cluster import cluster, owned_by
from shim.settings import ControllerSettings


@pytest.fixture
async def c(tmp_path):
    async with cluster(tmp_path) as made:
        await made.control(GarbageCollector)
        yield made


def item(uid, *owners, **metadata):
    references = [{"uid": owner, "blockOwnerDeletion": True} for owner in owners]
    return Item(r.CONFIGMAPS, {"uid": uid, "name": uid, "namespace": "ns", "ownerReferences": references, **metadata})


def test_the_graph_knows_dependents_of_owners_it_never_saw():
    graph = Graph()
    graph.put(item("child", "owner"))
    assert [each.uid for each in graph.dependents("owner")] == ["child"]
    graph.put(item("child", "other"))
    assert graph.dependents("owner") == []
    graph.remove("child")
    assert graph.dependents("other") == []


async def test_no_owner_is_released_before_every_kind_is_listed(tmp_path):
    # orphan: a dependent that is not listed yet would keep its reference, and be deleted for it
    async with cluster(tmp_path) as c:
        collector = GarbageCollector(Context(c.client, ControllerSettings(kubeconfig=c.kubeconfig)))
        owner = item("owner", deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["orphan"])
        collector.graph.put(owner)
        await collector.reconcile("owner")
        assert collector.postponed == {"owner"}


async def test_a_kind_that_cannot_be_listed_keeps_no_other_waiting(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("shim.controllers.garbage_collector.SLOW_KIND", 0.0)
    async with cluster(tmp_path) as c:
        collector = GarbageCollector(Context(c.client, ControllerSettings(kubeconfig=c.kubeconfig)))
        await collector.patiently(Informer(c.client, GVR("example.com", "v1", "things")))
        assert "things.example.com cannot be listed" in caplog.text


def test_a_dependent_needs_no_look_as_long_as_its_owner_is_there(tmp_path):
    collector = GarbageCollector(Context(Client("http://127.0.0.1:1"), ControllerSettings(kubeconfig=tmp_path)))
    waiting = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion"]}
    for owner in (item("there"), item("elsewhere", namespace="other"), item("waits", **waiting)):
        collector.graph.put(owner)
    looked_at = {}
    for uid in ("there", "elsewhere", "waits", "never-seen"):
        before = len(collector.queue)
        collector.changed(r.CONFIGMAPS, None, {"metadata": item(f"of-{uid}", uid).metadata})
        looked_at[uid] = len(collector.queue) > before
    assert looked_at == {"there": False, "elsewhere": True, "waits": True, "never-seen": True}

    collector.gone(item("there"))

    assert len(collector.queue) == 4


async def test_what_others_follow_is_followed_with_them_and_left_when_its_kind_goes(tmp_path):
    async with cluster(tmp_path) as c:
        ctx = Context(c.client, ControllerSettings(kubeconfig=c.kubeconfig))
        shared = ctx.informer(r.CONFIGMAPS)
        collector = GarbageCollector(ctx)

        async def run():
            async with asyncio.TaskGroup() as tasks:
                ctx.run(tasks)
                tasks.create_task(collector.run())

        running = asyncio.create_task(run())
        try:
            await asyncio.wait_for(collector.complete.wait(), 60)
            assert collector.informers[r.CONFIGMAPS] is shared
            assert ctx.shared(r.SECRETS) is None
            made = await c.add_config_map("seen")
            seen = asyncio.Event()
            shared.on_change(lambda old, new: new and new["metadata"]["name"] == "seen" and seen.set())
            await asyncio.wait_for(seen.wait(), 60)
            assert collector.graph.get(made["metadata"]["uid"]) is not None
            collector.forget_kind(r.CONFIGMAPS)
            assert collector.graph.get(made["metadata"]["uid"]) is None
        finally:
            running.cancel()
            await asyncio.wait({running})


def gone(obj):
    return obj is None


async def test_dependents_and_theirs_follow_an_owner(c):
    owner = await c.add_config_map("owner")
    child = await c.add_config_map("child", ownerReferences=owned_by(owner))
    await c.add_config_map("grandchild", ownerReferences=owned_by(child))

    await c.client.delete(r.CONFIGMAPS, "owner", "default", propagation="Background")

    await c.until(r.CONFIGMAPS, "child", gone)
    await c.until(r.CONFIGMAPS, "grandchild", gone)


async def test_an_owner_deleted_in_the_foreground_goes_last(c):
    owner = await c.add_config_map("owner")
    child = await c.add_config_map("child", ownerReferences=owned_by(owner, block=True), finalizers=["example.com/f"])
    await c.client.delete(r.CONFIGMAPS, "owner", "default", propagation="Foreground")

    await c.until(r.CONFIGMAPS, "child", lambda found: found["metadata"].get("deletionTimestamp"))
    assert (await c.client.get(r.CONFIGMAPS, "owner", "default"))["metadata"]["finalizers"] == ["foregroundDeletion"]

    assert child["metadata"]["finalizers"] == ["example.com/f"]
    await c.client.patch(r.CONFIGMAPS, "child", {"metadata": {"finalizers": None}}, "default")
    await c.until(r.CONFIGMAPS, "owner", gone)


async def test_orphans_stay_and_forget_their_owner(c):
    owner = await c.add_config_map("owner")
    await c.add_config_map("child", ownerReferences=owned_by(owner))

    await c.client.delete(r.CONFIGMAPS, "owner", "default", propagation="Orphan")

    await c.until(r.CONFIGMAPS, "owner", gone)
    assert "ownerReferences" not in (await c.client.get(r.CONFIGMAPS, "child", "default"))["metadata"]


async def test_an_owner_that_never_was_is_gone_but_one_of_two_is_enough(c):
    owner = await c.add_config_map("owner")
    (never,) = owned_by({**owner, "metadata": {"name": "owner", "uid": "never-was"}})
    await c.add_config_map("both", ownerReferences=[*owned_by(owner), never])
    await c.add_config_map("none", ownerReferences=[never])

    await c.until(r.CONFIGMAPS, "none", gone)
    both = await c.until(r.CONFIGMAPS, "both", lambda found: len(found["metadata"]["ownerReferences"]) == 1)
    assert both["metadata"]["ownerReferences"] == owned_by(owner)


async def test_a_circle_deleted_in_the_foreground_goes(c):
    first = await c.add_config_map("first")
    second = await c.add_config_map("second", ownerReferences=owned_by(first, block=True))
    owners = {"metadata": {"ownerReferences": owned_by(second, block=True)}}
    await c.client.patch(r.CONFIGMAPS, "first", owners, "default")

    await c.client.delete(r.CONFIGMAPS, "first", "default", propagation="Foreground")

    await asyncio.gather(c.until(r.CONFIGMAPS, "first", gone), c.until(r.CONFIGMAPS, "second", gone))


async def test_a_cluster_wide_object_is_left_alone_when_its_owner_lives_in_a_namespace(c):
    owner = await c.add_config_map("owner")
    metadata = {"name": "wide", "ownerReferences": owned_by(owner)}
    await c.client.create(r.NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    child = await c.add_config_map("child", ownerReferences=owned_by(owner))
    assert child["metadata"]["ownerReferences"]

    await c.client.delete(r.CONFIGMAPS, "owner", "default")

    await c.until(r.CONFIGMAPS, "child", gone)
    assert "deletionTimestamp" not in (await c.client.get(r.NAMESPACES, "wide"))["metadata"]
