"""A node runs short: when that is, who has to go, and what everybody is told."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest
from stories import container, pod
from world import World, phase, ready
from world import container as a_container

from nodeagent.images import Images
from nodeagent.kubelet import imagegc
from nodeagent.kubelet.eviction import ranking, thresholds
from nodeagent.kubelet.eviction.ranking import ContainerUse, PodUse
from nodeagent.kubelet.eviction.thresholds import Amount, Observation, Threshold, crossed, parse
from shim.client import resource as r

MI = 1 << 20


def test_thresholds_are_read_as_a_kubelet_s_flags_are_written():
    found = parse(
        "memory.available<100Mi,nodefs.available<10%,imagefs.available<0%",
        "memory.available<1Gi",
        "memory.available=1m30s",
        "memory.available=50Mi",
    )
    assert found == (
        Threshold("memory.available", Amount(100 * MI), 0.0, Amount(50 * MI)),
        Threshold("nodefs.available", Amount(part=0.1)),
        Threshold("memory.available", Amount(1024 * MI), 90.0, Amount(50 * MI)),
    )


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("memory.free<1Mi",), "unsupported eviction signal memory.free"),
        (("memory.available=1Mi",), "is not of the form signal<value"),
        (("nodefs.available<100%",), "must be >= 0% and < 100%"),
        (("", "memory.available<1Mi"), "grace period must be specified"),
        (("", "memory.available<1Mi", "memory.available=soon"), "is not a duration"),
    ],
)
def test_flags_that_say_nothing_are_refused(flags, problem):
    with pytest.raises(ValueError, match=problem):
        parse(*flags)


def test_a_shortage_is_over_when_enough_more_is_free():
    hard = Threshold("memory.available", Amount(100), reclaim=Amount(50))
    disk = Threshold("nodefs.available", Amount(part=0.1))

    def seen(memory: int, space: int) -> dict[str, Observation]:
        return {"memory.available": Observation(memory, 1000), "nodefs.available": Observation(space, 1000)}

    assert crossed([disk, hard], seen(99, 99)) == [hard, disk]  # memory first
    assert crossed([disk, hard], seen(120, 100)) == []
    assert crossed([disk, hard], seen(120, 100), before=[hard]) == [hard]
    assert crossed([disk, hard], seen(150, 100), before=[hard]) == []


def test_what_evictions_keep_free_pods_cannot_have():
    assert thresholds.reserved(parse("memory.available<100Mi,nodefs.available<10%"), "nodefs.available", 1000) == 100


def asking(name, memory=None, priority=0):
    told = {"resources": {"requests": {"memory": memory}}} if memory else {}
    made = pod(container("c", **told), priority=priority)
    made["metadata"] |= {"name": name, "uid": name}
    return made


def test_who_exceeds_its_request_goes_first_then_who_matters_least():
    pods = [asking("modest", "100Mi"), asking("important", priority=9), asking("small"), asking("greedy")]
    sizes = {"modest": 90, "important": 500, "small": 10, "greedy": 200}
    uses = {name: PodUse({"c": ContainerUse(memory=size * MI)}) for name, size in sizes.items()}
    order = [each["metadata"]["name"] for each in ranking.ranked(pods, uses, "memory")]
    assert order == ["greedy", "small", "important", "modest"]


def test_the_message_names_threshold_and_containers():
    seen = {"memory.available": Observation(80 * MI, 1000 * MI)}
    use = PodUse({"c": ContainerUse(memory=200 * MI)})
    thresholds_ = parse("memory.available<100Mi")
    text, notes = ranking.pressure_message(asking("p", "50Mi"), use, "memory", thresholds_, seen)
    assert notes == {
        "offending_containers": "c",
        "offending_containers_usage": "200Mi",
        "starved_resource": "memory",
    }
    assert text == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi. "
        "Container c was using 200Mi, request is 50Mi, has larger consumption of memory. "
    )


def test_a_pod_that_asks_for_memory_as_a_whole_is_told_as_a_whole():
    whole = asking("p")
    whole["spec"]["resources"] = {"requests": {"memory": "100Mi"}}
    text, notes = ranking.pressure_message(whole, PodUse({"c": ContainerUse(memory=200 * MI)}), "memory", (), {})
    said = "Pod p was using 200Mi, request is 100Mi, has larger consumption of memory. "
    assert said in text
    assert (notes["offending_pod"], notes["offending_pod_usage"]) == ("p", "200Mi")


def test_of_processes_and_inodes_nobody_asks_so_priority_comes_first():
    pods = [asking("few"), asking("many"), asking("important", priority=9)]
    uses = {
        name: PodUse({"c": ContainerUse(pids=n, inodes=n)}) for name, n in (("few", 1), ("many", 5), ("important", 9))
    }
    for resource in ("pids", "inodes"):
        order = [each["metadata"]["name"] for each in ranking.ranked(pods, uses, resource)]
        assert order == ["many", "few", "important"]


LIMIT = {"resources": {"limits": {"ephemeral-storage": "10Mi"}}}
ROOMY = {"resources": {"limits": {"ephemeral-storage": "1Gi"}}}
VOLUME = {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "5Mi"}}]}
TWO = {"containers": [container("c", **LIMIT), container("d", **ROOMY)]}


@pytest.mark.parametrize(
    ("spec", "use", "message"),
    [
        (VOLUME, PodUse(volumes={"v": 6 * MI}), 'Usage of EmptyDir volume "v" exceeds the limit "5Mi". '),
        (VOLUME, PodUse(volumes={"v": 5 * MI}), ""),
        (
            {},
            PodUse({"c": ContainerUse(root=6 * MI, logs=5 * MI)}),
            "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ",
        ),
        (
            TWO,
            PodUse({"c": ContainerUse(root=11 * MI)}),
            'Container c exceeded its local ephemeral storage limit "10Mi". ',
        ),
        ({}, PodUse({"c": ContainerUse(root=1 * MI)}), ""),
    ],
)
def test_limits_of_local_storage(spec, use, message):
    made = pod(container("c", **LIMIT))
    made["spec"] |= spec
    assert ranking.limits_disk(made)
    assert ranking.over_local_limit(made, use)[0] == message


def test_images_go_once_the_disk_is_full_until_it_is_less_so():
    assert imagegc.to_free(1000, 200, 85, 80) == 0
    assert imagegc.to_free(1000, 150, 85, 80) == 50
    assert imagegc.to_free(1000, 0, 100, 80) == 200


def test_the_image_used_longest_ago_goes_first_and_what_no_registry_has_stays(tmp_path):
    images = Images(tmp_path / "images")
    for number, name in enumerate(("old", "new", "own")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "file").write_bytes(os.urandom(4096))
        made = images.build(folder, f"{name}:1", {})
        os.utime(tmp_path / "images/configs" / made.id.removeprefix("sha256:"), (number, number))
    index = json.loads((tmp_path / "images/index.json").read_text())
    for tag, image in index["tags"].items():
        index["images"][image]["pulled"] = "own" not in tag
    (tmp_path / "images/index.json").write_text(json.dumps(index))

    def names() -> list[str]:
        return [image.tags[0].rpartition("/")[2] for image in images.images()]

    assert imagegc.collect(images, 1, 100, clock=lambda: 1000.0) == 4096
    assert names() == ["new:1", "own:1"]
    assert imagegc.collect(images, 1 << 30, 100, clock=lambda: 50.0) == 0  # too young
    assert imagegc.collect(images, 1 << 30, 100, clock=lambda: 1000.0) == 4096
    assert names() == ["own:1"]


def test_what_pods_may_have_together_is_watched_as_the_node_s_memory_is():
    flags = parse("memory.available<100Mi,nodefs.available<10%", "memory.available<1Gi", "memory.available=1m")
    (added,) = [each for each in thresholds.with_allocatable(flags) if each.signal == thresholds.ALLOCATABLE]
    assert (added.amount, added.grace) == (Amount(100 * MI), 0.0)
    plenty, little = Observation(900 * MI, 1000 * MI), Observation(50 * MI, 500 * MI)
    seen = {"memory.available": plenty, thresholds.ALLOCATABLE: little}
    assert crossed(parse("memory.available<100Mi"), seen) == []
    assert crossed([added], seen) == [added]
    assert thresholds.SIGNALS[added.signal] == thresholds.SIGNALS["memory.available"]


async def test_a_full_disk_of_images_is_told_and_old_ones_go_anyway(monkeypatch, tmp_path):
    class Store:
        def images(self):
            return []

    told, rounds, asked = [], iter(range(3)), []

    async def sleep(seconds):
        next(rounds)

    def collect(images, wanted, age):
        asked.append((wanted, age))
        return 0

    settings = SimpleNamespace(
        image_dir=tmp_path,
        image_gc_high_threshold=0,
        image_gc_low_threshold=0,
        image_minimum_gc_age=120,
        image_maximum_gc_age=3600,
    )
    recorder = SimpleNamespace(event=lambda obj, type_, reason, message: told.append(reason))
    node = SimpleNamespace(settings=settings, images=Store(), recorder=recorder, reference={})
    monkeypatch.setattr(imagegc.asyncio, "sleep", sleep)
    monkeypatch.setattr(imagegc, "collect", collect)
    with pytest.raises(RuntimeError):  # there is no fourth round
        await imagegc.keep_room(node)
    assert asked[0] == (imagegc.EVERYTHING, 3600)
    assert asked[1][1] == 120
    assert told == [
        "FreeDiskSpaceFailed",
        "FreeDiskSpaceFailed",
        "ImageGCFailed",
        "FreeDiskSpaceFailed",
        "ImageGCFailed",
    ]


async def test_a_pod_that_fills_its_volume_is_sent_away(node: World):
    write = ["sh", "-c", "dd if=/dev/zero of=/v/file bs=1M count=3 && touch /v/done; sleep 1000"]
    probe = {"exec": {"command": ["test", "-e", "/v/done"]}, "periodSeconds": 1}
    filling = a_container(command=write, volumeMounts=[{"name": "v", "mountPath": "/v"}], readinessProbe=probe)
    await node.create("filler", filling, volumes=[{"name": "v", "emptyDir": {"sizeLimit": "2Mi"}}])
    await node.create("other")
    await node.until("filler", ready)
    await node.until("other", ready)
    assert node.agent is not None
    await node.agent.kubelet.evictions.look()
    status = (await node.until("filler", phase("Failed")))["status"]
    message = 'Usage of EmptyDir volume "v" exceeds the limit "2Mi". '
    assert (status["reason"], status["message"]) == ("Evicted", message)
    assert "DisruptionTarget" not in [condition["type"] for condition in status["conditions"]]
    assert ("Evicted", message) in await node.events("filler")
    assert ready(node.pods.get("default/other"))


async def test_a_node_short_of_memory_sends_the_greediest_away_and_takes_no_more(node: World):
    await node.create("greedy")
    await node.create("modest", a_container(resources={"requests": {"memory": "64Mi"}}))
    await node.until("greedy", ready)
    await node.until("modest", ready)
    assert node.agent is not None
    evictions = node.agent.kubelet.evictions
    evictions._read = lambda: {"memory.available": Observation(50 * MI, 1000 * MI)}
    await evictions.look()
    status = (await node.until("greedy", phase("Failed")))["status"]
    assert status["reason"] == "Evicted"
    said = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container c was using "
    assert status["message"].startswith(said)
    (condition,) = [c for c in status["conditions"] if c["type"] == "DisruptionTarget"]
    assert (condition["status"], condition["reason"]) == ("True", "TerminationByKubelet")
    assert ready(node.pods.get("default/modest"))

    await node.create("late")
    status = (await node.until("late", phase("Failed")))["status"]
    refused = "Pod was rejected: The node had condition: [MemoryPressure]. "
    assert (status["reason"], status["message"]) == ("Evicted", refused)
    conditions = (await node.client.get(r.NODES, "n1"))["status"]["conditions"]
    told = {c["type"]: (c["status"], c["reason"]) for c in conditions}
    assert told["MemoryPressure"] == ("True", "KubeletHasInsufficientMemory")
    evictions._read = lambda: {"memory.available": Observation(500 * MI, 1000 * MI)}
    await evictions.look()
    assert evictions.conditions == {"MemoryPressure"}  # for a while yet
    assert ready(node.pods.get("default/modest"))
