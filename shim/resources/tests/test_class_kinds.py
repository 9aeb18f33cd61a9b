"""RuntimeClasses, PriorityClasses, Leases and EndpointSlices: what is refused, what may change, what is dropped."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shim.api.meta import Object
from shim.resources.tests.asked import edited, made, refused, row


def slice_of(kind: str, *addresses: str, **endpoint: Any) -> Object:
    return {"addressType": kind, "endpoints": [{"addresses": list(addresses), **endpoint}]}


RESERVED = "priority class names with 'system-' prefix are reserved for system use only. error:"

REFUSED: list[tuple[str, Object, list[str]]] = [
    (
        "runtimeclasses",
        {"handler": "a.b", "overhead": {"podFixed": {"example.com/x": "500m"}}},
        [
            'handler: Invalid value: "a.b": must not contain dots',
            'overhead.limits[example.com/x]: Invalid value: "500m": must be an integer',
        ],
    ),
    (
        "runtimeclasses",
        {"handler": "h", "scheduling": {"tolerations": [{"key": "a", "operator": "Exists"}] * 2}},
        [
            'scheduling.tolerations[1]: Duplicate value: {"Key":"a","Operator":"Exists","Value":"","Effect":"",'
            '"TolerationSeconds":null}'
        ],
    ),
    (
        "priorityclasses",
        {"metadata": {"name": "system-x"}},
        [f"metadata.name: Forbidden: {RESERVED} system-x is not a known system priority class"],
    ),
    (
        "priorityclasses",
        {"metadata": {"name": "system-node-critical"}, "value": 1},
        [
            f"metadata.name: Forbidden: {RESERVED} value of system-node-critical PriorityClass must be 2000001000",
        ],
    ),
    ("priorityclasses", {"preemptionPolicy": ""}, ["preemptionPolicy: Required value"]),
    (
        "leases",
        {"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}},
        [
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        ],
    ),
    (
        "endpointslices",
        slice_of("IPv6", "fd00:0::1", "127.0.0.1"),
        [
            'endpoints[0].addresses[0]: Invalid value: "fd00:0::1": must be in canonical form ("fd00::1")',
            'endpoints[0].addresses: Invalid value: "127.0.0.1": must be an IPv6 address',
            'endpoints[0].addresses[1]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, '
            "::1/128)",
        ],
    ),
    (
        "endpointslices",
        slice_of("FQDN", "example"),
        [
            'endpoints[0].addresses[0]: Invalid value: "example": should be a domain with at least two segments '
            "separated by dots"
        ],
    ),
    (
        "endpointslices",
        slice_of("IPv4", "10.0.0.1", hints={"forZones": [{"name": "a"}, {"name": "a"}]}),
        ['endpoints[0].hints.forZones[1].name: Duplicate value: "a"'],
    ),
    (
        "endpointslices",
        slice_of("IPv4", "10.0.0.1", hints={"forNodes": [{"name": "a"}] * 9}),
        ["endpoints[0].hints.forNodes: Too many: 9: must have at most 8 items"],
    ),
]


@pytest.mark.parametrize(("resource", "obj", "expected"), REFUSED)
def test_what_is_refused(resource: str, obj: Object, expected: list[str]) -> None:
    assert refused(resource, obj) == expected


def test_what_may_not_change() -> None:
    assert edited("runtimeclasses", {"handler": "a"}, lambda obj: obj.update(handler="b")) == [
        'handler: Invalid value: "b": field is immutable'
    ]
    assert edited("priorityclasses", {"value": 1}, lambda obj: obj.update(value=2)) == [
        "value: Forbidden: may not be changed in an update."
    ]
    assert edited("endpointslices", slice_of("IPv4", "10.0.0.1"), lambda obj: obj.update(addressType="FQDN")) == [
        'addressType: Invalid value: "FQDN": field is immutable'
    ]


def test_a_new_lease_knows_nothing_of_coordinated_election() -> None:
    spec = {"holderIdentity": "a", "strategy": "OldestEmulationVersion", "preferredHolder": "b"}
    assert made("leases", {"spec": spec})["spec"] == {"holderIdentity": "a"}


def test_a_slice_forgets_the_old_topology_but_not_its_node() -> None:
    strategy = row("endpointslices").strategy
    made_now = made("endpointslices", slice_of("IPv4", "10.0.0.1", deprecatedTopology={"a": "b"}))
    assert "deprecatedTopology" not in made_now["endpoints"][0]
    old = copy.deepcopy(made_now)
    old["endpoints"][0]["deprecatedTopology"] = {"kubernetes.io/hostname": "n"}
    new = copy.deepcopy(old)
    new["endpoints"][0]["addresses"] = ["10.0.0.2"]
    strategy.prepare_for_update(new, old)
    assert new["endpoints"][0]["nodeName"] == "n"


def test_labels_count_as_a_new_wish_for_a_slice() -> None:
    old = made("endpointslices", slice_of("IPv4", "10.0.0.1"))
    new = copy.deepcopy(old)
    new["metadata"]["labels"] = {"kubernetes.io/service-name": "s"}
    assert row("endpointslices").strategy.desired_changed(new, old)
    assert not row("endpointslices").strategy.desired_changed(old, old)


def test_what_is_warned_of() -> None:
    selector = {"beta.kubernetes.io/os": "linux"}
    assert row("runtimeclasses").strategy.warnings({"scheduling": {"nodeSelector": selector}}) == [
        'scheduling.nodeSelector: deprecated since v1.14; use "kubernetes.io/os" instead'
    ]
    made_slice = made("endpointslices", slice_of("FQDN", "example.com"))
    assert row("endpointslices").strategy.warnings(made_slice) == ["spec.addressType: FQDN endpoints are deprecated"]
    assert row("endpointslices").strategy.update_warnings(made_slice, made_slice) == []
