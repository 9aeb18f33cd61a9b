"""What becomes of a claim: its status, and defaults of all four kinds; refused specs stand in refusals/devices.yaml."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shim.resources.tests.asked import edited, made, row

RESULT = {"request": "r", "driver": "a.b", "pool": "p", "device": "d"}
ALLOCATION = {"devices": {"results": [RESULT]}}
USER = {"resource": "pods", "name": "p", "uid": "u"}


def _claim(status: dict[str, Any]) -> dict[str, Any]:
    requests = [{"name": "r", "exactly": {"deviceClassName": "c"}}]
    return {"metadata": {}, "spec": {"devices": {"requests": requests}}, "status": status}


def _told(before: dict[str, Any], status: dict[str, Any]) -> list[str]:
    def edit(new: dict[str, Any]) -> None:
        new["status"] = copy.deepcopy(status)

    return edited("resourceclaims/status", _claim(before), edit)


@pytest.mark.parametrize(
    ("before", "status", "causes"),
    [
        ({}, {"allocation": ALLOCATION, "reservedFor": [USER]}, []),
        (
            {},
            {"reservedFor": [USER]},
            ["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"],
        ),
        (
            {},
            {"allocation": ALLOCATION, "reservedFor": [{}, USER, USER]},
            [
                "status.reservedFor[0].resource: Required value",
                "status.reservedFor[0].name: Required value",
                "status.reservedFor[0].uid: Required value",
                'status.reservedFor[2]: Duplicate value: "u"',
            ],
        ),
        (
            {},
            {"allocation": {"devices": {"results": [{**RESULT, "request": "r/s", "shareID": "x"}], "config": [{}]}}},
            [
                'status.allocation.devices.results[0].request: Invalid value: "r/s": must be the name of a request in '
                "the claim or the name of a request and a subrequest separated by '/'",
                'status.allocation.devices.results[0].shareID: Invalid value: "x": '
                "error validating uid: invalid UUID length: 1",
                "status.allocation.devices.config[0].source: Required value",
                "status.allocation.devices.config[0].opaque: Required value",
            ],
        ),
        (
            {},
            {"allocation": ALLOCATION, "devices": [{**RESULT, "device": "e", "networkData": {"ips": ["10.0.0.1"]}}]},
            [
                'status.devices[0]: Invalid value: {"Driver":"a.b","Pool":"p","Device":"e","ShareID":""}: '
                "must be an allocated device in the claim",
                'status.devices[0].networkData.ips[0]: Invalid value: "10.0.0.1": '
                "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)",
            ],
        ),
        (
            {"allocation": ALLOCATION},
            {"allocation": {"devices": {}}},
            [
                'status.allocation: Invalid value: {"Devices":{"Results":null,"Config":null},"NodeSelector":null,'
                '"AllocationTimestamp":null}: field is immutable'
            ],
        ),
        ({"allocation": ALLOCATION}, {}, []),
    ],
)
def test_what_a_claims_status_may_say(before: dict[str, Any], status: dict[str, Any], causes: list[str]) -> None:
    assert _told(before, status) == causes


def test_what_was_told_of_a_device_goes_with_it() -> None:
    old = _claim({"allocation": ALLOCATION, "devices": [{**RESULT, "data": {"a": 1}}]})
    new = copy.deepcopy(old)
    del new["status"]["allocation"]
    row("resourceclaims").strategy.prepare_for_status_update(new, old)
    assert new["status"] == {}


def test_one_device_is_asked_for_unless_all_are() -> None:
    claim = _claim({})
    every = {"name": "all", "exactly": {"deviceClassName": "c", "allocationMode": "All"}}
    claim["spec"]["devices"]["requests"] += [every, {"name": "x", "firstAvailable": [{"name": "y"}]}]
    one, all_of_them, first = made("resourceclaims", claim)["spec"]["devices"]["requests"]
    assert (one["exactly"]["allocationMode"], one["exactly"]["count"]) == ("ExactCount", 1)
    assert "count" not in all_of_them["exactly"]
    assert first["firstAvailable"] == [{"name": "y", "allocationMode": "ExactCount", "count": 1}]


def test_slices_are_found_by_node_and_driver() -> None:
    slice = {"metadata": {}, "spec": {"driver": "a.b", "nodeName": "n"}}
    assert row("resourceslices").strategy.selectable_fields(slice) == {"spec.driver": "a.b", "spec.nodeName": "n"}
