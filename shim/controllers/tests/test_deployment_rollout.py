"""A rollout as a sequence of plans: never above maxSurge, never below availability."""

from __future__ import annotations

import random

import pytest

from shim.api.meta import Object
from shim.controllers.deployment_rollout import (
    Scale,
    fenceposts,
    is_scaling,
    plan_rolling,
    plan_scale,
    scaled,
)
from shim.controllers.tests.builders import deployment, replica_set


def sizes(steps: list[Scale]) -> dict[str, int]:
    return {step.replica_set["metadata"]["name"]: step.replicas for step in steps}


def test_percentages_round_up_for_surge_and_down_for_unavailability() -> None:
    assert scaled("25%", 3, up=True) == 1
    assert scaled("25%", 3, up=False) == 0
    assert scaled(2, 3, up=True) == 2
    assert fenceposts(deployment(3)) == (1, 0)
    assert fenceposts(deployment(10)) == (3, 2)


def test_a_rollout_that_could_never_move_may_make_one_pod_unavailable() -> None:
    stuck = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "10%"}}
    assert fenceposts(deployment(3, strategy=stuck)) == (0, 1)


def test_the_new_one_grows_first() -> None:
    steps = plan_rolling(deployment(3, "new"), replica_set("new", 0), [replica_set("old", 3)])
    assert sizes(steps) == {"new": 1}


def test_the_old_one_shrinks_only_when_the_new_pod_is_available() -> None:
    wanted, old = deployment(3, "new"), replica_set("old", 3)
    assert plan_rolling(wanted, replica_set("new", 1, 0), [old]) == []
    assert sizes(plan_rolling(wanted, replica_set("new", 1, 1), [old])) == {"old": 2}


def test_broken_old_pods_go_first() -> None:
    half_broken, whole = replica_set("broken", 2, 0), replica_set("whole", 2)
    steps = plan_rolling(deployment(3, "new"), replica_set("new", 0, 0, desired=3), [half_broken, whole])
    assert sizes(steps) == {"broken": 1}


def test_a_status_from_before_the_last_scale_down_does_not_count_twice() -> None:
    """The old set was just scaled from 4 to 3 and still reports 4 available."""
    old = replica_set("old", 3, 4, desired=4)
    steps = plan_rolling(deployment(4, "new"), replica_set("new", 2, 1, desired=4), [old])
    assert sizes(steps) == {"old": 2}


@pytest.mark.parametrize("seed", range(25))
def test_no_rollout_drops_below_its_availability(seed: int) -> None:
    """Play a rollout with pods that become available, and statuses that arrive, in any order."""
    chance = random.Random(seed)
    replicas = chance.randint(1, 12)
    strategy = {"maxSurge": chance.choice([0, 1, "25%", "100%"]), "maxUnavailable": chance.choice([0, 1, "25%", "50%"])}
    wanted = deployment(replicas, "new", strategy={"type": "RollingUpdate", "rollingUpdate": strategy})
    surge, unavailable = fenceposts(wanted)
    new, old = replica_set("new", 0, desired=replicas), replica_set("old", replicas, desired=replicas)
    pods = {"new": [0, 0], "old": [replicas, replicas]}  # [there are, of these available]

    def play(each: Object) -> None:
        """What the ReplicaSet controller and the kubelets do, some of it."""
        counts, size = pods[each["metadata"]["name"]], each["spec"]["replicas"]
        if counts[0] > size:
            counts[0], counts[1] = size, min(counts[1], size)
        elif counts[0] < size:
            counts[0] = size
        if counts[1] < counts[0]:
            counts[1] += 1
        if chance.random() < 0.7:  # else the watch is late
            each["status"] |= {"replicas": counts[0], "availableReplicas": counts[1]}

    for _ in range(1000):
        for step in plan_rolling(wanted, new, [old]):
            step.replica_set["spec"]["replicas"] = step.replicas
        assert new["spec"]["replicas"] + old["spec"]["replicas"] <= replicas + surge
        play(chance.choice([new, old]))
        assert pods["new"][1] + pods["old"][1] >= replicas - unavailable
        if pods == {"new": [replicas, replicas], "old": [0, 0]}:
            return
    pytest.fail("the rollout never finished")


def test_a_changed_size_goes_to_the_only_active_set() -> None:
    only = replica_set("only", 3)
    assert is_scaling(deployment(5), [only])
    assert sizes(plan_scale(deployment(5), only, [replica_set("empty", 0)])) == {"only": 5}


def test_a_changed_size_is_shared_in_proportion_during_a_rollout() -> None:
    old, new = replica_set("old", 8, desired=10), replica_set("new", 5, 2, desired=10, created="2026-01-01T00:00:09Z")
    for each in (old, new):
        each["metadata"]["annotations"]["deployment.kubernetes.io/max-replicas"] = "13"
    wanted = deployment(20, strategy={"rollingUpdate": {"maxSurge": "30%", "maxUnavailable": "20%"}})
    assert sizes(plan_scale(wanted, new, [old])) == {"old": 16, "new": 10}


def test_scaling_to_nothing_empties_every_set() -> None:
    old, new = replica_set("old", 2), replica_set("new", 1)
    assert sizes(plan_scale(deployment(0), new, [old])) == {"old": 0, "new": 0}
