"""Endpoints are given to zones by the CPU of their nodes, or not at all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.endpointslice import EndpointSliceController
from shim.controllers.endpointslice_plan import plan_slices
from shim.controllers.tests.builders import pod, service
from shim.controllers.tests.cluster import cluster
from shim.controllers.topology_hints import NO_NODES, NO_ZONE, NoHints, assign, is_wanted, node_facts, zone_ratios

AUTO = {"service.kubernetes.io/topology-mode": "Auto"}


def node(zone: str = "a", cpu: str = "2", ready: str = "True", **labels: str) -> Object:
    conditions = [{"type": "Ready", "status": ready}]
    labels = {"topology.kubernetes.io/zone": zone, **labels} if zone else labels
    return {"metadata": {"labels": labels}, "status": {"allocatable": {"cpu": cpu}, "conditions": conditions}}


def given_to(zones: list[str], ratios: dict[str, float], before: dict[str, str] | None = None) -> Counter[str]:
    return Counter(assign({f"e{number}": zone for number, zone in enumerate(zones)}, before or {}, ratios).values())


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        ({}, False),
        (AUTO, True),
        ({"service.kubernetes.io/topology-mode": "auto"}, True),
        ({"service.kubernetes.io/topology-mode": "Disabled"}, False),
        ({"service.kubernetes.io/topology-aware-hints": "Auto"}, True),
        ({"service.kubernetes.io/topology-aware-hints": "Disabled", **AUTO}, False),
    ],
)
def test_who_asks_for_hints(annotations: dict[str, str], wanted: bool) -> None:
    assert is_wanted({"metadata": {"annotations": annotations}}) == wanted


def test_zones_count_by_the_cpu_of_nodes_that_are_ready() -> None:
    nodes = [
        node("a", "2"), node("b", "6"), node("b", "9", ready="False"),
        node("c", "9", **{"node-role.kubernetes.io/control-plane": ""}),
    ]  # fmt: skip
    assert zone_ratios(map(node_facts, nodes)) == {"a": 0.25, "b": 0.75}
    for more in ([node("")], [node("a", "0")]):
        assert zone_ratios(map(node_facts, [*nodes, *more])) == {}
    assert zone_ratios([node_facts(node("a"))]) == {}


@pytest.mark.parametrize(
    ("zones", "ratios", "wanted"),
    [
        ("ab", {"a": 0.5, "b": 0.5}, {"a": 1, "b": 1}),
        ("aaaa", {"a": 0.5, "b": 0.5}, {"a": 2, "b": 2}),
        ("aaaaaabbbbbb", {"a": 0.5, "b": 0.25, "c": 0.25}, {"a": 6, "b": 3, "c": 3}),
        ("aabb", {"a": 0.25, "b": 0.75}, {"a": 1, "b": 3}),
        ("aacc", {"a": 0.5, "b": 0.5}, {"a": 2, "b": 2}),
        ("aaaaaaabbbbbb", {"a": 2 / 7, "b": 3 / 7, "c": 2 / 7}, {"a": 4, "b": 5, "c": 4}),
    ],
)
def test_zones_that_have_too_many_give_to_those_that_have_too_few(
    zones: str, ratios: dict[str, float], wanted: dict[str, int]
) -> None:
    assert given_to(list(zones), ratios) == wanted


@pytest.mark.parametrize(
    ("zones", "ratios", "why"),
    [
        ("ab", {}, NO_NODES),
        ("a", {"a": 0.5, "b": 0.5}, r"Insufficient number of endpoints \(1 endpoints, 2 zones\)"),
        (["a", ""], {"a": 0.5, "b": 0.5}, NO_ZONE),
        ("ab", {"a": 0.7, "b": 0.3}, r"Unable to allocate minimum required .* threshold \(2 endpoints, 2 zones\)"),
    ],
)
def test_why_there_are_no_hints(zones: Any, ratios: dict[str, float], why: str) -> None:
    with pytest.raises(NoHints, match=why):
        given_to(list(zones), ratios)


ZONES = st.lists(st.sampled_from("abc"), min_size=1, max_size=40)


@example(list("aaaaaaabbbbbb"), [2, 3, 2])
@given(ZONES, st.lists(st.integers(1, 8), min_size=2, max_size=3))
def test_no_endpoint_is_overloaded_and_what_is_good_stays(zones: list[str], cpu: list[int]) -> None:
    ratios = {zone: part / sum(cpu) for zone, part in zip("abc", cpu, strict=False)}
    endpoints = {f"e{number}": zone for number, zone in enumerate(zones)}
    try:
        assigned = assign(endpoints, {}, ratios)
    except NoHints:
        return
    assert assigned.keys() == endpoints.keys()
    assert set(assigned.values()) == set(ratios)
    for zone, count in Counter(assigned.values()).items():
        assert ratios[zone] / count <= 1.2 / len(zones) + 1e-9
    assert assign(endpoints, assigned, ratios) == assigned


def test_hints_are_in_slices_of_services_that_ask() -> None:
    nodes = {name: {"metadata": {"labels": {"topology.kubernetes.io/zone": name}}} for name in ("a", "b")}
    pods = [pod(f"p{number}", ip=f"10.0.0.{number}", node="a") for number in range(1, 5)]
    pods.append(pod("late", ip="10.0.0.9", node="b", ready=False))
    ratios = {"a": 0.5, "b": 0.5}
    asking = service()
    asking["metadata"]["annotations"] = AUTO
    changes = plan_slices(asking, pods, nodes, [], ratios)
    hints = [each.get("hints", {}).get("forZones") for each in changes.create[0]["endpoints"]]
    assert sorted(each[0]["name"] for each in hints if each) == ["a", "a", "b", "b"]
    assert hints.count(None) == 1
    assert changes.hints == {"IPv4": None}
    (made,) = changes.create
    made["metadata"] |= {"name": "s-1", "uid": "uid-s-1"}
    assert plan_slices(asking, pods, nodes, [made], ratios).update == []
    (bare,) = plan_slices(asking, pods[:1], nodes, [made], ratios).update
    assert "hints" not in bare["endpoints"][0]
    (bare,) = plan_slices(service(), pods, nodes, [made], ratios).update
    assert not any("hints" in each for each in bare["endpoints"])


async def test_hints_come_and_go_with_zones(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c:
        await c.control(EndpointSliceController)
        for name, zone in (("n1", "a"), ("n2", "b")):
            await c.add_node(name, **{"topology.kubernetes.io/zone": zone})
        for number in range(2):
            name = f"p{number}"
            await c.add_pod(name, labels={"app": "a"}, nodeName=f"n{number + 1}")
            ready = [{"type": "Ready", "status": "True"}]
            status = {"status": {"phase": "Running", "podIP": f"10.0.0.{number}", "conditions": ready}}
            await c.client.patch(r.PODS, name, status, "default", subresource="status")
        asking = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "annotations": AUTO}}
        await c.client.create(
            r.SERVICES, {**asking, "spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}}, "default"
        )
        assert await hints(c, {"a", "b"})
        await c.client.patch(r.NODES, "n2", {"metadata": {"labels": {"topology.kubernetes.io/zone": "a"}}})
        assert await hints(c, set())
        events = {event["reason"]: event async for event in hint_events(c)}
        assert events["TopologyAwareHintsEnabled"]["message"] == (
            "Topology Aware Hints has been enabled, addressType: IPv4"
        )
        assert events["TopologyAwareHintsDisabled"]["message"] == f"{NO_NODES}, addressType: IPv4"


async def hints(c: Any, wanted: set[str]) -> bool:
    """Wait until these zones are hinted at."""
    async for _, found in c.client.watch(r.ENDPOINTSLICES, "default", resource_version="0"):
        if found["metadata"].get("labels", {}).get("kubernetes.io/service-name") == "s":
            endpoints = found.get("endpoints") or ()
            zones = {zone["name"] for each in endpoints for zone in (each.get("hints") or {}).get("forZones") or ()}
            if len(endpoints) == 2 and zones == wanted:
                return True
    return False


async def hint_events(c: Any) -> Any:
    seen: set[str] = set()
    async for _, event in c.client.watch(r.EVENTS, "default", resource_version="0"):
        if "Topology" in event.get("reason", ""):
            seen.add(event["reason"])
            yield event
            if len(seen) == 2:
                return
