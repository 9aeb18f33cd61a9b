"""Profiles: what a configuration changes, what it may not say, and pods that choose one."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import shim.scheduler
from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.tests.cluster import cluster
from shim.scheduler.filters import Attempt, enough_of, feasible
from shim.scheduler.plugin_args import ConfigError
from shim.scheduler.profiles import Profile, configuration
from shim.scheduler.scores import best
from shim.scheduler.snapshot import Pod
from shim.scheduler.tests.test_placing import DEDICATED, a_cluster, a_node, a_pod
from shim.settings import SchedulerSettings

ZONES = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}


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


def test_pods_of_an_owner_are_spread_by_the_profile_unless_they_say_how() -> None:
    args = {"defaultingType": "List", "defaultConstraints": [ZONES]}
    profile = told("PodTopologySpread", **args)
    snapshot = a_cluster(a_node("n1", zone="a"), a_node("n2", zone="a"), a_node("n3", zone="b"))
    snapshot.place(a_pod(owner="o"), "n1")

    def where(pod: Pod) -> list[str]:
        attempt = Attempt(pod, snapshot, filters=profile.filters, defaults=profile.tuning.spread)
        return [node.name for node in feasible(attempt)[0]]

    assert where(a_pod(owner="o")) == ["n3"]
    assert where(a_pod(owner="other")) == ["n1", "n2", "n3"]
    assert where(a_pod()) == ["n1", "n2", "n3"]
    own = {**ZONES, "maxSkew": 2, "labelSelector": {"matchLabels": {"app": "a"}}}
    assert where(a_pod(owner="o", topologySpreadConstraints=[own])) == ["n1", "n2", "n3"]


def test_a_list_of_no_constraints_spreads_nothing() -> None:
    snapshot = a_cluster(a_node("n1"), a_node("n2"))
    snapshot.place(a_pod(owner="o"), "n1")
    attempt = Attempt(a_pod(owner="o"), snapshot)
    (_, by_default), (_, by_list) = (
        profile.scores["PodTopologySpread"] for profile in (Profile(), told("PodTopologySpread", defaultingType="List"))
    )
    assert by_default(attempt, attempt.nodes) == [0.0, 100.0]
    assert by_list(attempt, attempt.nodes) == [0.0, 0.0]


def test_extended_resources_may_be_somebody_elses_to_count() -> None:
    snapshot = a_cluster(a_node("n1"))
    asks = {"requests": {"example.com/gpu": "1", "other.com/gpu": "1"}}
    pod = a_pod(containers=[{"name": "c", "resources": asks}])
    for args, missing in (
        ({}, ("Insufficient example.com/gpu", "Insufficient other.com/gpu")),
        ({"ignoredResources": ["other.com/gpu"]}, ("Insufficient example.com/gpu",)),
        ({"ignoredResourceGroups": ["example.com"]}, ("Insufficient other.com/gpu",)),
        ({"ignoredResourceGroups": ["example.com", "other.com"]}, ()),
    ):
        _, refusals = feasible(Attempt(pod, snapshot, filters=told("NodeResourcesFit", **args).filters))
        assert (refusals["n1"].reasons if refusals else ()) == missing


def test_what_is_preferred_may_be_added_and_those_who_are_there_may_be_ignored() -> None:
    snapshot = a_cluster(a_node("n1"), a_node("n2", disk="ssd"))
    ssd = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": ssd}]}
    attempt = Attempt(a_pod(labels={"app": "web"}), snapshot)
    _, score = told("NodeAffinity", addedAffinity=preferred).scores["NodeAffinity"]
    assert score(attempt, attempt.nodes) == [0.0, 100.0]
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    wish = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "podAffinityTerm": term}]}
    snapshot.place(a_pod(affinity={"podAffinity": wish}), "n2")
    for ignored, scores in ((False, [0.0, 100.0]), (True, [0.0, 0.0])):
        _, score = told("InterPodAffinity", ignorePreferredTermsOfExistingPods=ignored).scores["InterPodAffinity"]
        assert score(attempt, attempt.nodes) == scores


def test_resources_named_are_used_alike() -> None:
    snapshot = a_cluster(a_node("n1"), a_node("n2"))
    snapshot.place(a_pod("4"), "n2")
    attempt = Attempt(a_pod("100m"), snapshot)
    for names, best_first in ((("cpu", "memory"), True), (("memory",), False)):
        _, score = told("NodeResourcesBalancedAllocation", resources=[{"name": name} for name in names]).scores[
            "NodeResourcesBalancedAllocation"
        ]
        first, second = score(attempt, attempt.nodes)
        assert (first > second) == best_first


def test_numbers_of_nodes_and_seconds_are_taken_over() -> None:
    made = configuration({**config(), "percentageOfNodesToScore": 40})
    assert made.profiles["other"].percent == 40
    assert (
        configuration({**config(percentageOfNodesToScore=7), "percentageOfNodesToScore": 40}).profiles["other"].percent
        == 7
    )
    assert [enough_of(1000, percent) for percent in (0, 7, 40, 100)] == [420, 100, 400, 1000]
    assert told("VolumeBinding", bindTimeoutSeconds=5).tuning.bind_timeout == 5
    candidates = told(
        "DefaultPreemption", minCandidateNodesPercentage=20, minCandidateNodesAbsolute=3
    ).tuning.candidates
    assert [candidates.of(nodes) for nodes in (3, 10, 100)] == [3, 3, 20]


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
            config(pluginConfig=[{"name": "ImageLocality", "args": {"more": 1}}]),
            r"profiles\[0\].pluginConfig\[0\]: arguments of plugin ImageLocality are not built",
        ),
        (
            config(pluginConfig=[{"name": "VolumeBinding", "args": {"shape": []}}]),
            r"profiles\[0\].pluginConfig\[0\].args.shape is not built",
        ),
        (
            config(pluginConfig=[{"name": "InterPodAffinity", "args": {"hardPodAffinityWeight": 101}}]),
            r"args.hardPodAffinityWeight: 101 is not in valid range \[0-100\]",
        ),
        (
            config(pluginConfig=[{"name": "PodTopologySpread", "args": {"defaultConstraints": [ZONES]}}]),
            r"args.defaultingType: System, when .defaultConstraints are not empty",
        ),
        ({**config(), "percentageOfNodesToScore": 101}, r"percentageOfNodesToScore: 101 is not in valid range"),
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
