"""Profiles: what a configuration changes, what it may not say, and pods that choose one."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import shim.scheduler
from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.tests.cluster import cluster
from shim.scheduler.filters import Attempt, feasible
from shim.scheduler.profiles import ConfigError, Profile, configuration
from shim.scheduler.scores import best
from shim.scheduler.tests.test_placing import DEDICATED, a_cluster, a_node, a_pod
from shim.settings import SchedulerSettings


def config(**profile: Any) -> Object:
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "profiles": [{"schedulerName": "other", **profile}],
    }


def told(plugin: str, **args: Any) -> Profile:
    return configuration(config(pluginConfig=[{"name": plugin, "args": args}])).profiles["other"]


def without(point: str, *names: str, **more: Any) -> Profile:
    disabled = [{"name": name} for name in names]
    return configuration(config(plugins={point: {"disabled": disabled, **more}})).profiles["other"]


def test_a_plugin_that_is_left_out_does_not_decide() -> None:
    snapshot = a_cluster(a_node("n1", taints=[DEDICATED]))
    assert feasible(Attempt(a_pod(), snapshot))[0] == []
    for profile in (without("filter", "TaintToleration"), without("multiPoint", "*")):
        assert feasible(Attempt(a_pod(), snapshot, filters=profile.filters))[0] != []
    assert without("postFilter", "DefaultPreemption").preempts is False
    assert without("filter", "*").preempts is True
    only = without("score", "*", enabled=[{"name": "ImageLocality", "weight": 7}])
    assert {name: weight for name, (weight, _) in only.scores.items()} == {"ImageLocality": 7}


def test_a_strategy_fills_nodes_instead_of_sparing_them() -> None:
    snapshot = a_cluster(a_node("free"), a_node("full"))
    snapshot.place(a_pod("2"), "full")
    attempt = Attempt(a_pod("1"), snapshot)
    shape = [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]
    spread = {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeResourcesFit"}]}
    for strategy, name in (
        ({"type": "LeastAllocated"}, "free"),
        ({"type": "MostAllocated"}, "full"),
        ({"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": {"shape": shape}}, "full"),
    ):
        args = [{"name": "NodeResourcesFit", "args": {"scoringStrategy": strategy}}]
        profile = configuration(config(pluginConfig=args, plugins={"score": spread})).profiles["other"]
        assert best(attempt, attempt.nodes, profile.scores).name == name


def test_affinity_may_be_added_for_all_pods() -> None:
    snapshot = a_cluster(a_node("n1", disk="ssd"), a_node("n2"))
    terms = [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    filters = told("NodeAffinity", addedAffinity=required).filters
    nodes, refusals = feasible(Attempt(a_pod(), snapshot, filters=filters))
    assert [node.name for node in nodes] == ["n1"]
    assert refusals["n2"].reasons == ("node(s) didn't match scheduler-enforced node affinity",)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"kind": "Pod"}, "a KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1 is wanted"),
        ({**config(), "extenders": []}, "extenders is not built"),
        (config(plugins={"reserve": {}}), r"profiles\[0\].plugins.reserve is not built"),
        (
            config(plugins={"filter": {"enabled": [{"name": "Mine"}]}}),
            r"profiles\[0\].plugins.filter: plugin Mine is not built",
        ),
        (
            config(pluginConfig=[{"name": "PodTopologySpread", "args": {"defaultingType": "List"}}]),
            r"profiles\[0\].pluginConfig\[0\]: arguments of plugin PodTopologySpread are not built",
        ),
        ({**config(), "profiles": [{}, {}]}, "two have the same schedulerName"),
    ],
)
def test_what_is_not_built_is_refused_by_name(wrong: Object, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        configuration(wrong)


async def test_a_pod_is_placed_by_the_profile_it_names(tmp_path):
    path = tmp_path / "scheduler.yaml"
    careless = {"schedulerName": "careless", "plugins": {"filter": {"disabled": [{"name": "TaintToleration"}]}}}
    path.write_text(yaml.safe_dump({**config(), "profiles": [{}, careless]}))
    async with cluster(tmp_path) as c:
        settings = SchedulerSettings(kubeconfig=c.kubeconfig, config=path)
        await c.start(lambda ready: shim.scheduler.run(settings, ready))
        await c.add_node("n1")
        await c.client.patch(r.NODES, "n1", {"spec": {"taints": [DEDICATED]}})
        await c.add_pod("nobodys", schedulerName="nobody")
        await c.add_pod("careful")
        await c.until(r.PODS, "careful", lambda pod: (pod.get("status") or {}).get("conditions"))
        await c.add_pod("careless", schedulerName="careless")
        await c.until(r.PODS, "careless", lambda pod: pod["spec"].get("nodeName"))
        for name in ("careful", "nobodys"):
            assert "nodeName" not in (await c.client.get(r.PODS, name, "default"))["spec"]
        event = await _scheduled(c)
        assert event["reportingComponent"] == "careless"


async def _scheduled(c: Any) -> Object:
    async for _, event in c.client.watch(r.EVENTS, "default", resource_version="0"):
        if event.get("reason") == "Scheduled":
            return dict(event)
    raise AssertionError("the watch ended")
