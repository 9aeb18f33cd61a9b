"""Budgets: how many pods may go now, by numbers and percentages, and what an eviction takes from them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from shim.api.meta import Object
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.disruption import DisruptionController, Uncountable, failed_status, status_of
from shim.controllers.tests.builders import deployment, pod
from shim.controllers.tests.live import world
from shim.controllers.tests.test_live import workload
from shim.controllers.workloads import WORKLOADS

NOW = datetime.datetime(2026, 1, 1, 0, 2, 1, tzinfo=datetime.UTC)
OWNER = deployment()


def budget(status: Object | None = None, **spec: Any) -> Object:
    metadata = {"name": "b", "namespace": "ns", "generation": 1}
    selector = {"matchLabels": {"app": "a"}}
    return {"metadata": metadata, "spec": {"selector": selector, **spec}, "status": status or {}}


def of_four(each: Object) -> tuple[str, int]:
    return "owner", 4


def numbers(spec: Object, pods: list[Object]) -> tuple[int, int, int, int]:
    status = status_of(budget(**spec), pods, of_four, NOW)
    return tuple(status[f] for f in ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"))  # type: ignore[return-value]


def test_what_may_go_is_what_is_healthy_beyond_what_is_desired() -> None:
    pods = [pod("a", OWNER), pod("b", OWNER), pod("c", OWNER), pod("d", OWNER, ready=False)]
    assert numbers({"minAvailable": 2}, pods) == (4, 2, 3, 1)
    assert numbers({"minAvailable": 5}, pods) == (4, 5, 3, 0)
    assert numbers({"minAvailable": "30%"}, pods) == (4, 2, 3, 1)  # rounded up
    assert numbers({"maxUnavailable": 1}, pods[:3]) == (4, 3, 3, 0)  # one is missing already
    assert numbers({"maxUnavailable": "50%"}, pods) == (4, 2, 3, 1)
    assert numbers({"minAvailable": 0}, []) == (0, 0, 0, 0)  # the first pods are safe until they are counted


def test_an_evicted_pod_counts_as_gone_until_it_is_or_its_time_is_over() -> None:
    told = {"a": "2026-01-01T00:01:30Z", "b": "2026-01-01T00:00:00Z", "gone": "2026-01-01T00:01:30Z"}
    story = budget({"disruptedPods": told}, minAvailable=1)
    status = status_of(story, [pod("a", OWNER), pod("b", OWNER)], of_four, NOW)
    assert status["disruptedPods"] == {"a": "2026-01-01T00:01:30Z"}
    assert (status["currentHealthy"], status["disruptionsAllowed"]) == (1, 0)


def test_the_condition_says_whether_any_may_go() -> None:
    pods = [pod("a", OWNER)]
    (enough,) = status_of(budget(minAvailable=0), pods, of_four, NOW)["conditions"]
    (short,) = status_of(budget(minAvailable=1), pods, of_four, NOW)["conditions"]
    assert [(each["status"], each["reason"], each["message"]) for each in (enough, short)] == [
        ("True", "SufficientPods", ""),
        ("False", "InsufficientPods", ""),
    ]
    status = failed_status(budget({"disruptionsAllowed": 3}), "why")
    assert status["disruptionsAllowed"] == 0
    assert status["conditions"][0]["reason"] == "SyncFailed"


def test_nobody_knows_how_many_pods_of_an_unknown_controller_there_should_be() -> None:
    def unknown(each: Object) -> tuple[str, int]:
        raise Uncountable("DaemonSet")

    assert status_of(budget(minAvailable=1), [pod("a", OWNER)], unknown, NOW)["desiredHealthy"] == 1
    with pytest.raises(Uncountable):
        status_of(budget(maxUnavailable=1), [pod("a", OWNER)], unknown, NOW)


async def test_evictions_take_from_a_budget_until_it_is_spent(tmp_path: Path) -> None:
    async with world(tmp_path, [*WORKLOADS, DisruptionController]) as here:
        spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "a"}}}
        story = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": spec}
        await here.client.create(r.PODDISRUPTIONBUDGETS, story, "default")
        await here.client.create(r.DEPLOYMENTS, workload("Deployment", replicas=2), "default")
        allowing = await here.until(
            r.PODDISRUPTIONBUDGETS, "b", lambda each: each.get("status", {}).get("disruptionsAllowed") == 1
        )
        assert {key: allowing["status"][key] for key in ("expectedPods", "currentHealthy", "desiredHealthy")} == {
            "expectedPods": 2,
            "currentHealthy": 2,
            "desiredHealthy": 1,
        }
        first, second = await here.pods()
        await evict(here.client, first)
        with pytest.raises(ApiError) as refused:
            await evict(here.client, second)
        assert refused.value.code == 429
        await here.until(  # once its successor is ready, the next may go
            r.PODDISRUPTIONBUDGETS, "b", lambda each: each["status"]["disruptionsAllowed"] == 1
        )
        assert first["metadata"]["name"] not in {each["metadata"]["name"] for each in await here.pods()}


async def evict(client: Any, each: Object) -> None:
    name = each["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
    await client.create(r.PODS, eviction, "default", subresource="eviction", name=name)
