"""Endpoints: pods become addresses, one pod's change touches one slice."""

from __future__ import annotations

import pytest

from shim.api.meta import Object
from shim.controllers.endpoints_plan import plan_subsets, truncate
from shim.controllers.endpointslice_plan import plan_slices, with_trigger_time
from shim.controllers.service_pods import TriggerTimes, concerned, port_of
from shim.controllers.tests.builders import EARLIER, pod, service


def named(slices: list[Object]) -> list[Object]:
    for number, each in enumerate(slices):
        each["metadata"] |= {"name": f"s-{number}", "uid": f"uid-s-{number}"}
    return slices


def pods(count: int) -> list[Object]:
    return [pod(f"p{number}", ip=f"10.244.{number // 250}.{number % 250 + 1}") for number in range(count)]


def test_a_service_without_pods_has_an_empty_slice() -> None:
    changes = plan_slices(service(), [], {}, [])
    (made,) = changes.create
    assert made["metadata"]["generateName"] == "s-"
    assert made["metadata"]["labels"] == {
        "kubernetes.io/service-name": "s",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert not made["endpoints"]
    assert made["metadata"]["ownerReferences"][0]["name"] == "s"
    again = plan_slices(service(), [], {}, named([made]))
    assert not (again.create)
    assert not (again.update)
    assert not (again.delete)


def test_an_endpoint_says_all_of_its_pod() -> None:
    wanted = pod("p", ip="10.244.0.5", hostname="first", subdomain="s")
    (made,) = plan_slices(service(), [wanted], {}, []).create
    assert made["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    assert made["endpoints"] == [
        {
            "addresses": ["10.244.0.5"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {"kind": "Pod", "namespace": "ns", "name": "p", "uid": "uid-p"},
            "hostname": "first",
            "nodeName": "n1",
        }
    ]


def test_a_terminating_pod_serves_but_is_not_ready() -> None:
    (made,) = plan_slices(service(), [pod("p", ip="10.0.0.1", deleted=True)], {}, []).create
    assert made["endpoints"][0]["conditions"] == {"ready": False, "serving": True, "terminating": True}


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (None, None),
        ("PreferSameZone", {"forZones": [{"name": "east"}]}),
        ("PreferClose", {"forZones": [{"name": "east"}]}),
        ("PreferSameNode", {"forZones": [{"name": "east"}], "forNodes": [{"name": "node-1"}]}),
    ],
)
def test_traffic_distribution_becomes_hints(distribution: str | None, expected: Object | None) -> None:
    node = {"metadata": {"name": "node-1", "labels": {"topology.kubernetes.io/zone": "east"}}}
    spread = {"trafficDistribution": distribution} if distribution else {}
    ready, ending = pod("p", ip="10.0.0.1", node="node-1"), pod("q", ip="10.0.0.2", node="node-1", deleted=True)
    (made,) = plan_slices(service(**spread), [ready, ending], {"node-1": node}, []).create
    assert [each.get("hints") for each in made["endpoints"]] == [expected, None]


def test_unready_pods_are_ready_where_they_are_published() -> None:
    waiting = pod("p", ip="10.0.0.1", ready=False)
    (made,) = plan_slices(service(publishNotReadyAddresses=True), [waiting], {}, []).create
    assert made["endpoints"][0]["conditions"] == {"ready": True, "serving": False, "terminating": False}


def test_finished_and_addressless_pods_are_no_endpoints() -> None:
    none = [pod("done", ip="10.0.0.1", phase="Succeeded"), pod("new")]
    (made,) = plan_slices(service(), none, {}, []).create
    assert not made["endpoints"]


def test_slices_hold_a_hundred_and_a_change_touches_one() -> None:
    everything = pods(150)
    existing = named(plan_slices(service(), everything, {}, []).create)
    assert [len(each["endpoints"]) for each in existing] == [100, 50]
    gone = plan_slices(service(), everything[1:], {}, existing)
    assert [each["metadata"]["name"] for each in gone.update] == ["s-0"]
    assert not (gone.create)
    assert not (gone.delete)
    one_more = plan_slices(service(), pods(151), {}, existing)
    assert [each["metadata"]["name"] for each in one_more.update] == ["s-1"]
    assert len(one_more.update[0]["endpoints"]) == 51


def test_the_last_endpoint_leaves_an_empty_slice_of_the_same_name() -> None:
    existing = named(plan_slices(service(), pods(1), {}, []).create)
    changes = plan_slices(service(), [], {}, existing)
    assert not (changes.create)
    assert not (changes.delete)
    (emptied,) = changes.update
    assert emptied["metadata"]["name"] == "s-0"
    assert not emptied["endpoints"]
    assert not emptied["ports"]


def test_pods_with_other_port_numbers_are_in_other_slices() -> None:
    def with_port(name: str, number: int) -> Object:
        made = pod(name, ip=f"10.0.0.{number % 100}")
        made["spec"]["containers"][0]["ports"] = [{"name": "web", "containerPort": number, "protocol": "TCP"}]
        return made

    wanted = service(ports=[{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}])
    slices = plan_slices(wanted, [with_port("a", 8001), with_port("b", 8002)], {}, []).create
    assert sorted(each["ports"][0]["port"] for each in slices) == [8001, 8002]
    assert port_of(pod("c"), wanted["spec"]["ports"][0]) is None


def test_a_headless_service_says_so() -> None:
    (made,) = plan_slices(service(clusterIP="None"), pods(1), {}, []).create
    assert made["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


def test_trigger_times_are_of_what_changed() -> None:
    times, wanted, later = TriggerTimes(), service(), "2026-01-01T00:00:30Z"
    assert times.changed(wanted, []) == EARLIER
    assert times.changed(wanted, []) is None
    assert times.changed(wanted, [pod("p", since=later)]) == later
    assert times.changed(wanted, [pod("p", since=later, deleted=True)]) is None
    noted = with_trigger_time({"metadata": {}}, later)
    assert noted["metadata"]["annotations"] == {"endpoints.kubernetes.io/last-change-trigger-time": later}
    assert "annotations" not in with_trigger_time(noted, None)["metadata"]


def test_only_changes_that_matter_wake_a_service() -> None:
    before, after = pod("p", ip="10.0.0.1", ready=False), pod("p", ip="10.0.0.1")
    assert concerned([service()], before, after) == {"ns/s"}
    assert concerned([service()], after, pod("p", ip="10.0.0.1", annotations={"x": "y"})) == set()
    assert concerned([service()], after, pod("p", ip="10.0.0.1", labels={})) == {"ns/s"}
    assert concerned([service(selector=None)], None, after) == set()


def test_subsets() -> None:
    ready, waiting = pod("a", ip="10.0.0.2"), pod("b", ip="10.0.0.1", ready=False)
    going = pod("c", ip="10.0.0.3", deleted=True)
    (subset,) = plan_subsets(service(), [ready, waiting, going])
    assert [each["ip"] for each in subset["addresses"]] == ["10.0.0.2"]
    assert [each["ip"] for each in subset["notReadyAddresses"]] == ["10.0.0.1"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert subset["addresses"][0]["targetRef"] == {"kind": "Pod", "namespace": "ns", "name": "a", "uid": "uid-a"}


def test_endpoints_are_cut_at_a_thousand() -> None:
    subsets, cut = truncate(plan_subsets(service(), pods(1200)))
    assert cut
    assert len(subsets[0]["addresses"]) == 1000
    assert truncate(plan_subsets(service(), pods(3)))[1] is False
