"""Numbers of pods from what they use: proposals, limits, and one story on a real server."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from shim.api import conditions
from shim.api.meta import Object, parse_time
from shim.client import resource as r
from shim.controllers.autoscaler import HorizontalPodAutoscaler
from shim.controllers.autoscaler_limits import History, limit
from shim.controllers.autoscaler_metrics import (
    Measured,
    NoMetrics,
    Tolerances,
    by_average,
    by_utilization,
    measured,
    request_of,
)
from shim.controllers.tests.builders import NOW, pod
from shim.controllers.tests.cluster import cluster

LONG_AGO, AT = "2025-12-31T00:00:00Z", parse_time(NOW)


def running(name: str, cpu: str = "100m", **more: Any) -> Object:
    made = pod(name, since=LONG_AGO, **more)
    made["status"]["startTime"] = more.get("started", LONG_AGO)
    made["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    return made


def using(**amounts: int) -> dict[str, Measured]:
    return {name: Measured(amount, AT, datetime.timedelta(seconds=15)) for name, amount in amounts.items()}


def proposed(pods: list[Object], metrics: dict[str, Measured], target: int = 50, current: int | None = None) -> int:
    current = len(pods) if current is None else current
    return by_utilization(pods, metrics, "cpu", "", target, current, Tolerances(), AT).replicas


TWO = [running("a"), running("b")]


def test_usage_over_the_target_asks_for_more_and_under_it_for_less() -> None:
    assert proposed(TWO, using(a=100, b=100)) == 4
    assert proposed(TWO, using(a=25, b=25)) == 1
    assert proposed(TWO, using(a=52, b=52)) == 2  # near enough
    told = by_utilization(TWO, using(a=100, b=50), "cpu", "", 50, 2, Tolerances(), AT)
    assert (told.utilization, told.usage) == (75, 75)


def test_a_pod_nothing_is_known_of_never_decides() -> None:
    three = [*TWO, running("c")]
    assert proposed(three, using(a=80, b=80)) == 3  # as if it used nothing: 53 %, which is near enough
    assert proposed(three, using(a=10, b=10)) == 3  # as if it used all: 40 % would be 3 pods


def test_pods_that_start_or_end_do_not_count() -> None:
    starting = running("c", started="2026-01-01T00:00:50Z", ready=False)
    assert proposed([*TWO, starting], using(a=100, b=100, c=1000)) == 4
    assert proposed([*TWO, running("c", deleted=True)], using(a=25, b=25, c=1000)) == 1
    with pytest.raises(NoMetrics, match="pods might be unready"):
        proposed([starting], using(c=1000))


def test_an_average_needs_no_requests() -> None:
    bare = [pod("a", since=LONG_AGO), pod("b", since=LONG_AGO)]
    assert by_average(bare, using(a=300, b=100), "memory", 100, 2, Tolerances(), AT).replicas == 4
    with pytest.raises(NoMetrics, match="missing request for cpu in container c of Pod a"):
        proposed(bare, using(a=1, b=1))


def test_one_container_can_be_looked_at_alone() -> None:
    containers = [
        {"name": name, "usage": {"cpu": f"{used}n", "memory": "1Ki"}} for name, used in (("c", 7 * 10**6), ("d", 1))
    ]
    answer = {"metadata": {"name": "a"}, "timestamp": NOW, "window": "1m0.5s", "containers": containers}
    (one,) = measured([answer], "cpu", "c").values()
    assert (one.amount, one.window) == (7, datetime.timedelta(seconds=60.5))
    assert measured([answer], "cpu", "missing") == {}
    with pytest.raises(NoMetrics, match="container x not found in Pod a"):
        request_of(running("a"), "x", "cpu")


def spec(most: int = 10, **behavior: Any) -> Object:
    return {"maxReplicas": most, "minReplicas": 1, **({"behavior": behavior} if behavior else {})}


def rule(kind: str, value: int, window: int = 0, **more: Any) -> Object:
    policy = {"type": kind, "value": value, "periodSeconds": 60}
    return {"policies": [policy], "stabilizationWindowSeconds": window, "selectPolicy": "Max", **more}


def test_without_behavior_it_doubles_at_most_and_shrinks_after_five_minutes() -> None:
    history = History()
    assert limit(spec(100), history, 3, 50, 0.0)[::2] == (6, True)
    assert limit(spec(100), history, 6, 1, 200.0).able[0] == "ScaleDownStabilized"
    assert limit(spec(100), history, 6, 1, 301.0).replicas == 1
    assert limit(spec(5), History(), 4, 50, 0.0).why[0] == "TooManyReplicas"
    assert limit(spec(), History(), 4, 0, 0.0).why[0] == "TooFewReplicas"


def test_policies_limit_how_much_changes_in_a_period() -> None:
    history = History()
    rules = spec(scaleUp=rule("Pods", 2), scaleDown=rule("Percent", 50))
    first = limit(rules, history, 2, 9, 0.0)
    assert (first.replicas, first.why[0]) == (4, "ScaleUpLimit")
    history.scaled(0.0, 2, 4, 60)
    assert limit(rules, history, 4, 9, 30.0).replicas == 4
    assert limit(rules, history, 4, 9, 61.0).replicas == 6
    assert limit(rules, History(), 8, 1, 0.0).replicas == 4
    frozen = spec(scaleUp=rule("Pods", 2), scaleDown=rule("Pods", 1, selectPolicy="Disabled"))
    assert limit(frozen, History(), 8, 1, 0.0).replicas == 8


def test_windows_steady_both_directions() -> None:
    history = History()
    rules = spec(scaleUp=rule("Pods", 9, window=60), scaleDown=rule("Pods", 9, window=60))
    assert limit(rules, history, 2, 2, 0.0).replicas == 2
    assert limit(rules, history, 2, 6, 30.0).able[0] == "ScaleUpStabilized"
    assert limit(rules, history, 2, 6, 61.0).replicas == 6
    assert limit(rules, history, 6, 1, 62.0).able[0] == "ScaleDownStabilized"


async def test_an_autoscaler_keeps_its_bounds_and_says_what_it_lacks(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c:
        template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        deployment = {"replicas": 5, "selector": {"matchLabels": {"app": "a"}}, "template": template}
        made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": deployment}
        await c.client.create(r.DEPLOYMENTS, made, "default")
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
        cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
        metrics = [{"type": "Resource", "resource": cpu}]
        autoscaler = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h"},
            "spec": {"maxReplicas": 3, "minReplicas": 2, "scaleTargetRef": target, "metrics": metrics},
        }
        await c.client.create(r.HORIZONTALPODAUTOSCALERS, autoscaler, "default")
        await c.control(HorizontalPodAutoscaler)

        await c.until(r.DEPLOYMENTS, "d", lambda found: found["spec"]["replicas"] == 3)
        told = await c.until(
            r.HORIZONTALPODAUTOSCALERS, "h", lambda found: (found.get("status") or {}).get("desiredReplicas") == 3
        )
        assert told is not None
        able = conditions.find(told, "AbleToScale")
        assert able is not None
        assert able["reason"] == "SucceededRescale"

        patch = {"spec": {"maxReplicas": 4}}  # it is looked at again at once, and nobody serves metrics here
        await c.client.patch(r.HORIZONTALPODAUTOSCALERS, "h", patch, "default")
        told = await c.until(r.HORIZONTALPODAUTOSCALERS, "h", lambda found: conditions.find(found, "ScalingActive"))
        assert told is not None
        active = conditions.find(told, "ScalingActive")
        assert active is not None
        assert active["reason"] == "FailedGetResourceMetric"
        assert active["message"] == (
            "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for "
            "resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested "
            "resource (get pods.metrics.k8s.io)"
        )
