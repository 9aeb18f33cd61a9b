import pytest

from shim.client import resource as r
from shim.controllers.garbage_collector import GarbageCollector
from shim.controllers.tests.cluster import cluster, owned_by


@pytest.fixture
async def c(tmp_path):
    async with cluster(tmp_path) as made:
        await made.control(GarbageCollector)
        yield made


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
