"""Resources changed in place: what is decided, in which order limits change, and a real pod that grows and shrinks."""

from dataclasses import replace

import pytest
from stories import NOW, container, pod, run, seen
from world import container as real_container
from world import ready

from nodeagent.engine.contract import Resources
from nodeagent.kubelet import resize, resources
from nodeagent.kubelet.plan import KillContainer, ResizePod, StartContainer, plan
from nodeagent.kubelet.resizequeue import ResizeQueue
from nodeagent.linux import cgroups
from shim.api import quantity
from shim.client import resource as r

ROOM = {"cpu": "2", "memory": "1Gi"}


def sized(cpu="1", memory="100Mi", **more):
    return container(resources={"requests": {"cpu": cpu, "memory": memory}}, **more)


def amounts(**told):
    return {name: quantity.parse(text) for name, text in told.items()}


@pytest.mark.parametrize(
    ("asked", "used", "reason", "message"),
    [
        (sized("1500m"), amounts(cpu="500m"), None, ""),
        (sized("3"), {}, "Infeasible", "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000"),
        (
            sized("1500m"),
            amounts(cpu="600m"),
            "Deferred",
            "Node didn't have enough resource: cpu, requested: 1500, used: 600, capacity: 2000",
        ),
        (
            sized(memory="2Gi"),
            {},
            "Infeasible",
            "Node didn't have enough capacity: memory, requested: 2147483648, capacity: 1073741824",
        ),
    ],
)
def test_whether_the_node_has_room(asked, used, reason, message):
    refused = resize.refusal(pod(asked), used, ROOM)
    assert (refused.reason if refused else None, refused.message if refused else "") == (reason, message)


def test_a_pod_keeps_what_it_has_until_it_gets_more():
    had, wants = pod(sized("1")), pod(sized("2"))
    shown = resize.with_allocation(wants, resize.allocation_of(had))
    assert shown["spec"] == had["spec"]
    assert resize.with_allocation(wants, resize.allocation_of(wants)) is wants


def given(told):
    one = run(given=resize.due_text(pod(told), told))
    observed = seen(one)
    return replace(observed, sandbox=replace(observed.sandbox, resources=resources.pod_limits(pod(told))))


def test_limits_change_without_a_restart_unless_the_container_wants_one():
    observed = given(sized("1"))
    assert plan(pod(sized("1000m")), observed, previous={}, now=NOW) == []
    assert plan(pod(sized("2")), observed, previous={}, now=NOW) == [ResizePod()]
    policies = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    assert plan(pod(sized("2", resizePolicy=policies)), observed, previous={}, now=NOW) == [
        ResizePod(),  # room around it first
        KillContainer("c-0", "c", 30, "Container c resize requires restart"),
        StartContainer("containers", "c", 1, "c-0"),
    ]
    memory_only = plan(pod(sized("1", "200Mi", resizePolicy=policies)), observed, previous={}, now=NOW)
    assert memory_only == [ResizePod()]


def test_limits_of_the_pod_hold_for_containers_that_have_none():
    whole = {"limits": {"cpu": "1", "memory": "200Mi"}}
    free, bound = container(), container(resources={"limits": {"memory": "50Mi"}})
    around = pod(free, bound, resources=whole)
    limits = resize.limits_of(resize.due(around, free))
    assert (limits.cpu_quota_us, limits.memory_limit) == (100_000, 200 << 20)
    assert resize.limits_of(resize.due(around, bound)).memory_limit == 50 << 20

    one = run(given=resize.due_text(around, free))
    assert resize.given(one, free) == {}  # what the status shows: nothing is the container's own
    assert resize.given_limits(one, free) == limits
    larger = pod(free, resources={"limits": {"cpu": "1000m", "memory": "300Mi"}})
    assert not resize.differs(around, one, free)
    assert resize.differs(larger, one, free)
    assert not resize.needs_restart(larger, one, free)
    fussy = container(resizePolicy=[{"resourceName": "memory", "restartPolicy": "RestartContainer"}])
    assert resize.needs_restart(larger, one, fussy)


def test_limits_around_a_change_allow_what_was_and_what_will_be():
    small, large = Resources(10, 1000, memory_limit=5), Resources(20, None, memory_limit=4)
    assert resize.wider(small, large) == Resources(20, None, memory_limit=5)


def test_no_limit_is_set_below_what_is_in_use():
    said = 'attempting to set container "c" memory limit (5) below current usage (7)'
    assert resize.shrinks_below_usage("c", None, 5, 7) == said
    assert resize.shrinks_below_usage("c", 10, 5, 3) == ""
    assert resize.shrinks_below_usage("c", 4, 5, 7) == ""


def limited(cpu, memory):
    told = {"cpu": cpu, "memory": memory}
    return {"requests": told, "limits": told}


def test_who_matters_more_grows_first_if_there_is_room_for_it():
    times = iter(range(10))
    queue, looked = ResizeQueue(clock=lambda: float(next(times))), []

    def waits(uid, **more):
        wanted = pod(sized("1"), **more)
        queue.defer(uid, wanted, lambda: looked.append(uid))
        return wanted

    guaranteed = {"status": {"qosClass": "Guaranteed"}}
    last, first = waits("plain"), waits("important", priority=9)
    waits("sure", **guaranteed)
    queue.room()
    assert looked == ["important", "sure", "plain"]
    assert queue.ahead("important", first, lambda uid, wanted: True) is None
    assert queue.ahead("plain", last, lambda uid, wanted: uid == "sure").wanted["status"] == guaranteed["status"]
    assert queue.ahead("plain", last, lambda uid, wanted: False) is None  # nobody else can use it
    queue.leave("sure")
    queue.leave("important")
    assert queue.ahead("plain", last, lambda uid, wanted: True) is None


def test_what_grows_and_what_swaps():
    small, large = pod(sized("1", "100Mi")), pod(sized("1", "200Mi"))
    assert resize.grows(small, large)
    assert not resize.grows(large, small)
    assert resize.without_swap(small, large, resources.NO_SWAP) is None
    swap = resources.Swap(usable=True, total=1 << 30, memory=1 << 31)
    for each in (small, large):
        each["status"] = {"qosClass": "Burstable"}
    refused = resize.without_swap(small, large, swap)
    assert (refused.reason, refused.message) == (
        "Infeasible",
        "In-place resize of containers with swap is not supported.",
    )
    small["spec"]["containers"][0]["resizePolicy"] = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    assert resize.without_swap(small, large, swap) is None


async def asks(node, name, told):
    body = {"spec": {"containers": [{"name": "c", "resources": told}]}}
    return await node.client.patch(r.PODS, name, body, "default", subresource="resize", type="strategic")


def in_force(told):
    def true(a_pod):
        types = {condition["type"] for condition in a_pod["status"]["conditions"]}
        status = a_pod["status"]["containerStatuses"][0]
        return status["resources"] == told and not types & set(resize.CONDITIONS)

    return true


@pytest.mark.needs_root
async def test_a_container_that_is_started_anew_for_its_resources_gets_less_too(node):
    policies = [{"resourceName": name, "restartPolicy": "RestartContainer"} for name in ("cpu", "memory")]
    await node.create("fussy", real_container(resources=limited("50m", "32Mi"), resizePolicy=policies))
    await node.until("fussy", ready)
    for restarts, told in enumerate((limited("100m", "64Mi"), limited("40m", "24Mi")), 1):
        await asks(node, "fussy", told)
        changed = await node.until("fussy", in_force(told))
        assert changed["status"]["containerStatuses"][0]["restartCount"] == restarts


def pending(reason):
    def true(a_pod):
        conditions = a_pod["status"]["conditions"]
        return any(c["type"] == resize.PENDING and c["reason"] == reason for c in conditions)

    return true


@pytest.mark.needs_root
async def test_a_running_pod_grows_and_shrinks(node):
    await node.create("sized", real_container(resources=limited("100m", "64Mi")))
    made = await node.until("sized", ready)
    container_id = made["status"]["containerStatuses"][0]["containerID"]
    top = f"{node.settings.cgroup_root}/kubepods/pod{made['metadata']['uid']}"

    def memory_limits():
        inside = container_id.removeprefix("kubeshim://")
        hierarchy = cgroups.detect()
        folder = hierarchy.oom_file(top).rpartition("/")[0]
        name = "memory.max" if "events" in hierarchy.oom_file(top) else "memory.limit_in_bytes"
        return [int(open(f"{path}/{name}").read()) >> 20 for path in (folder, f"{folder}/{inside}")]

    assert memory_limits() == [64, 64]
    for told, limit in ((limited("200m", "128Mi"), 128), (limited("50m", "32Mi"), 32)):
        await asks(node, "sized", told)
        changed = await node.until("sized", in_force(told))
        assert memory_limits() == [limit, limit]
        status = changed["status"]["containerStatuses"][0]
        assert (status["containerID"], status["restartCount"]) == (container_id, 0)
        assert status["allocatedResources"] == told["requests"]
    await asks(node, "sized", limited("50m", "4096Gi"))
    refused = await node.until(
        "sized",
        lambda p: any(c["type"] == resize.PENDING and c["reason"] == "Infeasible" for c in p["status"]["conditions"]),
    )
    assert refused["status"]["containerStatuses"][0]["resources"] == limited("50m", "32Mi")
    await asks(node, "sized", limited("50m", "32Mi"))
    await node.until("sized", in_force(limited("50m", "32Mi")))
    reasons = [reason for reason, _ in await node.events("sized")]
    assert [reasons.count(f"Resize{word}") for word in ("Started", "Completed", "Infeasible")] == [2, 2, 1]
