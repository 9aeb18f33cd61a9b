"""Endpoints that somebody wrote become slices."""

from __future__ import annotations

from typing import Any

from shim.api.meta import Object
from shim.controllers.endpointslice_mirroring import is_mirrored, plan
from shim.controllers.tests.builders import service
from shim.controllers.tests.test_endpoints import named

HTTP = {"name": "http", "port": 80, "protocol": "TCP"}


def endpoints(*subsets: Object, **metadata: Any) -> Object:
    return {"metadata": {"name": "s", "namespace": "ns", "uid": "uid-e", **metadata}, "subsets": list(subsets)}


def subset(*addresses: str, ports: list[Object] | None = None, away: tuple[str, ...] = ()) -> Object:
    return {
        "addresses": [{"ip": address} for address in addresses],
        "notReadyAddresses": [{"ip": address} for address in away],
        "ports": ports or [HTTP],
    }


def test_each_family_and_each_set_of_ports_has_a_slice() -> None:
    other = [{"name": "", "port": 8080, "protocol": "TCP"}]
    written = endpoints(subset("10.0.0.1", "2001:db8::1", away=("10.0.0.2",)), subset("10.0.0.3", ports=other))
    changes, invalid, skipped = plan(written, [])
    found = {(each["addressType"], each["ports"][0]["port"]): each["endpoints"] for each in changes.create}
    assert (invalid, skipped, len(found)) == (0, 0, 3)
    assert [(each["addresses"], each["conditions"]) for each in found["IPv4", 80]] == [
        (["10.0.0.1"], {"ready": True}),
        (["10.0.0.2"], {"ready": False}),
    ]
    assert changes.create[0]["metadata"]["labels"] == {
        "kubernetes.io/service-name": "s",
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
    }


def test_what_is_the_same_is_not_written_and_what_changed_in_place() -> None:
    existing = named(plan(endpoints(subset("10.0.0.1")), [])[0].create)
    same = plan(endpoints(subset("10.0.0.1")), existing)[0]
    assert (same.create, same.update, same.delete) == ([], [], [])
    changed = plan(endpoints(subset("10.0.0.9", ports=[{**HTTP, "port": 81}])), existing)[0]
    assert (changed.create, changed.delete) == ([], [])
    assert changed.update[0]["metadata"]["name"] == existing[0]["metadata"]["name"]
    assert plan(endpoints(), existing)[0].delete == existing


def test_a_thousand_addresses_of_a_subset_are_enough() -> None:
    many = subset(*(f"10.0.{number // 250}.{number % 250}" for number in range(1200)))
    changes, _, skipped = plan(endpoints(many), [])
    assert (len(changes.create[0]["endpoints"]), skipped) == (1000, 200)


def test_only_hand_written_ones_are_mirrored() -> None:
    alone = service()
    del alone["spec"]["selector"]
    assert is_mirrored(endpoints(), alone)
    assert not is_mirrored(endpoints(), service())
    assert not is_mirrored(endpoints(), None)
    assert not is_mirrored(endpoints(labels={"endpointslice.kubernetes.io/skip-mirror": "true"}), alone)
    assert not is_mirrored(endpoints(annotations={"control-plane.alpha.kubernetes.io/leader": "{}"}), alone)
