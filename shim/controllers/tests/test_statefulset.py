"""Stateful sets: names, order, storage, and one replacement at a time."""

from __future__ import annotations

from typing import Any

from shim.api.meta import Object, parse_time
from shim.controllers.history import forgettable, plan_revision, template_of, template_patch
from shim.controllers.statefulset_identity import claim_owners, claims, new_pod
from shim.controllers.statefulset_plan import plan_actions, plan_status
from shim.controllers.tests.builders import NOW, owned, pod, template

AT = parse_time(NOW)


def stateful_set(replicas: int = 3, **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "w", "namespace": "ns", "uid": "uid-w", "generation": 1},
        "spec": {
            "replicas": replicas,
            "serviceName": "s",
            "selector": {"matchLabels": {"app": "a"}},
            "template": template(),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            **spec,
        },
    }


def revision(name: str, number: int = 1, image: str = "i") -> Object:
    wanted = stateful_set(template=template(image))
    return {"metadata": {"name": name}, "revision": number, "data": template_patch(wanted)}


OLD, NEW = revision("w-old", 1, "old"), revision("w-new", 2)


def member(number: int, of: Object = NEW, **more: Any) -> Object:
    name = f"w-{number}"
    labels = {
        "app": "a",
        "controller-revision-hash": of["metadata"]["name"],
        "statefulset.kubernetes.io/pod-name": name,
    }
    return pod(name, stateful_set(), labels=labels, **more)


def actions(pods: list[Object], wanted: Object | None = None, current: Object = NEW) -> list[tuple[str, str]]:
    steps = plan_actions(wanted or stateful_set(), pods, current, NEW, AT)
    return [(step.verb, step.pod["metadata"]["name"]) for step in steps]


def test_pods_are_made_in_order_each_when_the_last_is_ready() -> None:
    assert actions([]) == [("create", "w-0")]
    assert actions([member(0, ready=False)]) == []
    assert actions([member(0)]) == [("create", "w-1")]
    assert actions([member(0), member(1), member(2)]) == []


def test_parallel_sets_do_not_wait() -> None:
    parallel = stateful_set(podManagementPolicy="Parallel")
    assert actions([member(1, ready=False)], parallel) == [("create", "w-0"), ("create", "w-2")]


def test_a_pod_has_its_name_and_storage() -> None:
    volume = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    wanted = stateful_set(volumeClaimTemplates=[volume])
    made = new_pod(wanted, NEW, NEW, 1)
    assert made["metadata"]["name"] == "w-1"
    assert made["metadata"]["labels"] == {
        "app": "a",
        "apps.kubernetes.io/pod-index": "1",
        "controller-revision-hash": "w-new",
        "statefulset.kubernetes.io/pod-name": "w-1",
    }
    assert (made["spec"]["hostname"], made["spec"]["subdomain"]) == ("w-1", "s")
    assert made["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-w-1"}}]
    (claim,) = claims(wanted, 1)
    assert (claim["metadata"]["name"], claim["metadata"]["labels"]) == ("data-w-1", {"app": "a"})


def test_ordinals_may_start_elsewhere() -> None:
    assert actions([], stateful_set(ordinals={"start": 5})) == [("create", "w-5")]


def test_scaling_down_takes_the_highest() -> None:
    assert actions([member(0), member(1), member(2)], stateful_set(1)) == [("delete", "w-2")]
    assert actions([member(0), member(1), member(2, deleted=True)], stateful_set(1)) == []


def test_nothing_healthy_is_removed_while_another_is_broken() -> None:
    assert actions([member(0), member(1, ready=False), member(2)], stateful_set(1)) == [("delete", "w-2")]
    assert actions([member(0, ready=False), member(1), member(2, ready=False)], stateful_set(1)) == []


def test_updates_go_down_from_the_highest_one_at_a_time() -> None:
    old = [member(number, OLD) for number in range(3)]
    assert actions(old, current=OLD) == [("delete", "w-2")]
    assert actions([old[0], old[1], member(2, ready=False)], current=OLD) == []
    assert actions([old[0], old[1], member(2)], current=OLD) == [("delete", "w-1")]


def test_below_the_partition_nothing_is_updated_and_what_is_lost_comes_back_old() -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    wanted = stateful_set(updateStrategy=rolling)
    old = [member(0, OLD), member(1, OLD)]
    assert actions([*old, member(2)], wanted, OLD) == []
    assert new_pod(wanted, OLD, NEW, 0)["metadata"]["labels"]["controller-revision-hash"] == "w-old"
    assert new_pod(wanted, OLD, NEW, 0)["spec"]["containers"][0]["image"] == "old"
    assert new_pod(wanted, OLD, NEW, 2)["metadata"]["labels"]["controller-revision-hash"] == "w-new"


def test_on_delete_waits_for_the_user() -> None:
    on_delete = stateful_set(updateStrategy={"type": "OnDelete"})
    assert actions([member(number, OLD) for number in range(3)], on_delete, OLD) == []


def test_ended_pods_are_replaced() -> None:
    assert actions([member(0, phase="Failed")]) == [("delete", "w-0")]
    assert actions([member(0, phase="Failed", deleted=True)]) == []


def test_status_during_and_after_an_update() -> None:
    pods = [member(0, OLD), member(1)]
    wanted = stateful_set(2)
    steps = plan_actions(wanted, pods, OLD, NEW, AT)
    during = plan_status(wanted, pods, steps, OLD, NEW, 0, AT)
    assert during == {
        "observedGeneration": 1,
        "replicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
        "updatedReplicas": 1,
        "currentRevision": "w-old",
        "updateRevision": "w-new",
        "collisionCount": 0,
    }
    after = plan_status(wanted, [member(0), member(1)], [], OLD, NEW, 0, AT)
    assert (after["currentRevision"], after["currentReplicas"]) == ("w-new", 2)


def test_revisions_take_new_numbers() -> None:
    assert plan_revision([], NEW["data"]).number == 1
    assert plan_revision([OLD, NEW], NEW["data"]).existing is NEW
    back = plan_revision([NEW | {"revision": 1}, OLD | {"revision": 2}], NEW["data"])
    assert (back.renumber, back.number) == (True, 3)
    assert template_of(NEW) == template()
    assert forgettable([OLD, NEW], {"w-new"}, 0) == [OLD]


def test_claims_go_with_what_the_policy_says() -> None:
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    wanted = stateful_set(persistentVolumeClaimRetentionPolicy=policy)
    claim, wearer = {"metadata": {"name": "data-w-1"}}, member(1)
    assert claim_owners(claim, stateful_set(), wearer, in_range=False) == []
    assert claim_owners(claim, wanted, wearer, in_range=True) == owned(wanted)
    assert claim_owners(claim, wanted, wearer, in_range=False) == owned(wearer)


def test_max_unavailable_lets_several_go_but_counts_those_that_are_away() -> None:
    several = stateful_set(4, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}})
    old = [member(number, OLD) for number in range(4)]
    assert actions(old, several, OLD) == [("delete", "w-3"), ("delete", "w-2")]
    old[0] = member(0, OLD, deleted=True)
    several["spec"]["podManagementPolicy"] = "Parallel"
    assert actions(old, several, OLD) == [("delete", "w-3")]
    half = stateful_set(4, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}})
    assert actions([member(number, OLD) for number in range(4)], half, OLD) == [("delete", "w-3")]
