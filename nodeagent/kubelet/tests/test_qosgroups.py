"""The cgroups around pods: what all of them may use, and what burstable and best-effort ones weigh."""

import os

import pytest
from stories import container, pod
from world import container as real_container
from world import ready

from nodeagent.engine.contract import Resources
from nodeagent.kubelet import nodeinfo, qosgroups, resources
from nodeagent.kubelet.resources import Swap
from nodeagent.linux import cgroup1, cgroup2, cgroups
from shim.api import quantity
from shim.client import resource as r

MI = 1 << 20


def amounts(**told):
    return {name: quantity.parse(text) for name, text in told.items()}


def test_pods_share_what_is_not_reserved_and_weigh_what_they_request():
    room = amounts(cpu="1900m", memory="900Mi", pid="1000")
    assert qosgroups.limits(room, [amounts(cpu="500m"), amounts(memory="1Gi"), amounts(cpu="250m")]) == {
        "kubepods": Resources(cpu_shares=1945, memory_limit=900 * MI, pids_limit=1000),
        "kubepods/burstable": Resources(cpu_shares=768),
        "kubepods/besteffort": Resources(cpu_shares=2),
    }
    assert qosgroups.limits(room, [])["kubepods/burstable"] == Resources(cpu_shares=2)


@pytest.mark.parametrize(
    ("told", "quality", "more", "swap"),
    [
        ({"requests": {"memory": "100Mi"}}, "Burstable", {}, 50 * MI),
        ({"requests": {"memory": "100Mi"}, "limits": {"memory": "200Mi"}}, "Burstable", {}, 50 * MI),
        ({"requests": {"memory": "100Mi"}, "limits": {"memory": "100Mi"}}, "Burstable", {}, 0),
        ({"requests": {"cpu": "1"}}, "Burstable", {}, 0),
        ({"requests": {"memory": "100Mi"}}, "Burstable", {"priority": 2_000_000_000}, 0),
        ({"requests": {"memory": "100Mi"}}, "Guaranteed", {}, 0),
        ({}, "BestEffort", {}, 0),
    ],
)
def test_only_burstable_containers_that_may_grow_swap(told, quality, more, swap):
    asking = container(resources=told)
    asked = pod(asking, status={"qosClass": quality}, **more)
    assert Swap(usable=True, total=500 * MI, memory=1000 * MI).limit(asked, asking) == swap
    assert Swap(usable=False, total=500 * MI, memory=1000 * MI).limit(asked, asking) == 0


def test_how_swap_is_limited_by_either_version():
    told = {"memory_limit": 64 * MI, "swap_limit": 0}
    assert ("memory", "memory.memsw.limit_in_bytes", 64 * MI) in cgroup1._writes(**told)
    assert ("memory.swap.max", "0") in cgroup2._writes(**told)
    assert (
        cgroup1._writes(swap_limit=0) == []
    )  # version 1 counts both together, so without a limit of memory there is none
    together = cgroup1._writes(memory_limit=cgroups.UNLIMITED, swap_limit=0)
    assert together[-1] == ("memory", "memory.memsw.limit_in_bytes", cgroups.UNLIMITED)


async def test_all_pods_are_summed_up_only_for_one_that_adds_to_the_sum():
    made = []

    class Engine:
        async def limit_group(self, path, limits):
            made.append(path)

    sums = iter(([], [amounts(cpu="1")]))
    groups = qosgroups.QosGroups(Engine(), amounts(cpu="2", memory="1Gi", pid="100"), lambda: next(sums))
    await groups.make_room("BestEffort")
    assert made == ["kubepods", "kubepods/burstable", "kubepods/besteffort"]
    for quality in ("BestEffort", "Guaranteed", "Burstable"):
        await groups.make_room(quality)
    assert made[3:] == ["kubepods/burstable"]


def test_only_a_container_dies_as_a_whole():
    assert ("memory.oom.group", "1") in cgroup2._writes(memory_limit=1, die_together=True)
    assert resources.container_limits(container()).die_together
    assert not resources.pod_limits(pod()).die_together  # one of its containers is no reason to kill the others


def value(path, names):
    """What the first file of these names says that there is in the cgroup."""
    hierarchy = cgroups.detect()
    files = {os.path.basename(file): file for file in hierarchy.files(path)}
    return open(next(files[name] for name in names if name in files)).read().strip()


@pytest.mark.needs_root
async def test_the_kernel_holds_the_pods_of_a_node_to_it(node):
    agent = node.agent
    root = agent.kubelet.node.settings.cgroup_root
    has = nodeinfo.capacity(agent.kubelet.node.settings)
    await node.create("burst", real_container(resources={"requests": {"cpu": "300m"}}))
    await node.until("burst", ready)
    assert int(value(f"{root}/kubepods", ["memory.max", "memory.limit_in_bytes"])) == nodeinfo.memory_bytes(has)
    assert int(value(f"{root}/kubepods", ["pids.max"])) == nodeinfo.most_processes()
    if cgroups.version() == 1:
        assert value(f"{root}/kubepods", ["cpu.shares"]) == str(1024 * int(has["cpu"]))
        assert value(f"{root}/kubepods/burstable", ["cpu.shares"]) == "307"
        assert value(f"{root}/kubepods/besteffort", ["cpu.shares"]) == "2"
    await agent.kubelet.node.recorder.flush()
    told = (await node.client.list(r.EVENTS, "default", field_selector="involvedObject.kind=Node"))["items"]
    assert "NodeAllocatableEnforced" in [event["reason"] for event in told]
