"""Budgets: how many pods may go now, by numbers and percentages, and what an eviction takes from them."""

from __future__ import annotations

import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shim.api import conditions
from shim.api.meta import Object, now
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.disruption import DisruptionController, counts_owners, failed_status, status_of
from shim.controllers.disruption_stale import StaleDisruptions
from shim.controllers.tests.builders import deployment, pod
from shim.controllers.tests.live import world
from shim.controllers.tests.test_custom import WIDGETS, define, widget
from shim.controllers.tests.test_live import workload
from shim.controllers.workloads import WORKLOADS

NOW = datetime.datetime(2026, 1, 1, 0, 2, 1, tzinfo=datetime.UTC)
OWNER = deployment()


def budget(status: Object | None = None, **spec: Any) -> Object:
    metadata = {"name": "b", "namespace": "ns", "generation": 1}
    selector = {"matchLabels": {"app": "a"}}
    return {"metadata": metadata, "spec": {"selector": selector, **spec}, "status": status or {}}


def numbers(spec: Object, pods: list[Object], asked: int = 4) -> tuple[int, int, int, int]:
    """What the status tells of these pods, whose owners ask for so many."""
    status = status_of(budget(**spec), pods, asked if counts_owners(spec) else len(pods), NOW)
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
    status = status_of(story, [pod("a", OWNER), pod("b", OWNER)], 2, NOW)
    assert status["disruptedPods"] == {"a": "2026-01-01T00:01:30Z"}
    assert (status["currentHealthy"], status["disruptionsAllowed"]) == (1, 0)


def test_the_condition_says_whether_any_may_go() -> None:
    pods = [pod("a", OWNER)]
    (enough,) = status_of(budget(minAvailable=0), pods, 2, NOW)["conditions"]
    (short,) = status_of(budget(minAvailable=1), pods, 2, NOW)["conditions"]
    assert [(each["status"], each["reason"], each["message"]) for each in (enough, short)] == [
        ("True", "SufficientPods", ""),
        ("False", "InsufficientPods", ""),
    ]
    status = failed_status(budget({"disruptionsAllowed": 3}), "why")
    assert status["disruptionsAllowed"] == 0
    assert status["conditions"][0]["reason"] == "SyncFailed"


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


async def test_an_owner_of_any_kind_is_asked_for_its_scale(tmp_path: Path) -> None:
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    async with world(tmp_path, [DisruptionController]) as here:
        await define(here, {"scale": scale})
        owner = await here.client.create(WIDGETS, {**widget("w"), "spec": {"replicas": 5}}, "default")
        for name, app, reference in (
            ("of-widget", "a", {"kind": "Widget", "apiVersion": "example.com/v1", "name": "w"}),
            ("of-nobody", "a", None),
            ("of-daemons", "b", {"kind": "DaemonSet", "apiVersion": "apps/v1", "name": "d"}),
            ("of-unknown", "c", {"kind": "Gadget", "apiVersion": "example.com/v2", "name": "g"}),
            ("of-absent", "d", {"kind": "Widget", "apiVersion": "example.com/v1", "name": "x"}),
        ):
            one = pod(name, labels={"app": app})
            references = [{**reference, "uid": owner["metadata"]["uid"], "controller": True}] if reference else []
            metadata = {"name": name, "labels": {"app": app}, "ownerReferences": references}
            await here.client.create(r.PODS, {"metadata": metadata, "spec": one["spec"]}, "default")
        for app in "abcd":
            spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": app}}}
            story = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": app}, "spec": spec}
            await here.client.create(r.PODDISRUPTIONBUDGETS, story, "default")
        counted = await here.until(r.PODDISRUPTIONBUDGETS, "a", lambda each: _told(each, "expectedPods") == 5)
        assert counted["status"]["desiredHealthy"] == 4
        (unmanaged,) = set(await here.events("UnmanagedPods"))
        assert "(selector: &LabelSelector{MatchLabels:map[string]string{app: a,},MatchExpressions:" in unmanaged
        for name, why in (
            ("b", "daemonsets.apps does not implement the scale subresource"),
            ("c", 'no matches for kind "Gadget" in version "example.com/v2"'),
            ("d", 'found no controllers for pod "of-absent"'),
        ):
            await here.until(r.PODDISRUPTIONBUDGETS, name, partial(_failed, why=why))


def _told(budget: Object, field: str) -> Any:
    return (budget.get("status") or {}).get(field)


def _failed(budget: Object, why: str) -> bool:
    return [each["message"] for each in _told(budget, "conditions") or () if each["reason"] == "SyncFailed"] == [why]


async def test_a_pod_that_nobody_removes_is_no_longer_marked(tmp_path: Path) -> None:
    async with world(tmp_path, [StaleDisruptions], lambda _: "never") as here:
        for name, since in (("long-ago", "2026-01-01T00:00:00Z"), ("just-now", now())):
            await here.client.create(r.PODS, {"metadata": {"name": name}, "spec": pod(name)["spec"]}, "default")
            mark = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
            status = {"conditions": [{**mark, "lastTransitionTime": since}]}
            await here.client.patch(r.PODS, name, {"status": status}, "default", subresource="status", type="strategic")
        freed = await here.until(r.PODS, "long-ago", lambda each: not conditions.is_true(each, "DisruptionTarget"))
        condition = conditions.find(freed, "DisruptionTarget")
        assert condition is not None
        assert (condition["status"], condition.get("reason")) == ("False", None)
        assert conditions.is_true(await here.client.get(r.PODS, "just-now", "default"), "DisruptionTarget")


async def evict(client: Any, each: Object) -> None:
    name = each["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
    await client.create(r.PODS, eviction, "default", subresource="eviction", name=name)
