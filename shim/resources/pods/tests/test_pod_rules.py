"""What is said of a pod's status, in tables; what is refused of pods themselves stands in refusals/pods.yaml."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shim.resources.tests.asked import edited, made, row

ENDED = {"name": "c", "state": {"terminated": {"exitCode": 3}}}
RUNS = {"name": "c", "state": {"running": {}}}


def _pod(status: dict[str, Any], **container: Any) -> dict[str, Any]:
    spec = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i", **container}]}
    return {"metadata": {}, "spec": spec, "status": {"qosClass": "BestEffort", **status}}


def _told(pod: dict[str, Any], status: dict[str, Any]) -> list[str]:
    return edited("pods/status", pod, lambda new: new["status"].update(copy.deepcopy(status)))


@pytest.mark.parametrize(
    ("status", "causes"),
    [
        ({"phase": "Running", "conditions": [{"type": "Ready"}, {"type": "example.com/lit"}]}, []),
        ({"qosClass": "Guaranteed"}, ['status.qosClass: Invalid value: "Guaranteed": field is immutable']),
        (
            {"conditions": [{"type": "Not so", "observedGeneration": -1}], "observedGeneration": -2},
            [
                "status.conditions[0].observedGeneration: Invalid value: -1: must be a non-negative integer",
                'status.conditions[0].Type: Invalid value: "Not so": name part must consist of alphanumeric '
                "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName', "
                " or 'my.name',  or '123-abc', regex used for validation is "
                "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                "status.observedGeneration: Invalid value: -2: must be a non-negative integer",
            ],
        ),
        (
            {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]},
            [
                'status.podIPs: Invalid value: [{"IP":"10.0.0.1"},{"IP":"10.0.0.2"}]: '
                "may specify no more than one IP for each IP family"
            ],
        ),
        (
            {"hostIP": "here", "hostIPs": [{"ip": "here"}]},
            ['status.hostIPs[0]: Invalid value: "here": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'],
        ),
        (
            {"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}]},
            ['status.hostIPs[0].ip: Invalid value: "10.0.0.2": must be equal to `hostIP`'],
        ),
        (
            {"resourceClaimStatuses": [{"name": "a"}], "extendedResourceClaimStatus": {}},
            [
                'status.resourceClaimStatuses[0].name: Invalid value: "a": '
                "must match the name of an entry in `spec.resourceClaims`",
                "status.extendedResourceClaimStatus.requestMappings: Required value: "
                "at least one request mapping is required",
                "status.extendedResourceClaimStatus.resourceClaimName: Required value",
            ],
        ),
    ],
)
def test_what_a_status_may_say(status: dict[str, Any], causes: list[str]) -> None:
    assert _told(_pod({"phase": "Pending"}), status) == causes


def test_a_bound_pod_is_nominated_for_no_other_node() -> None:
    pod = _pod({})
    pod["spec"]["nodeName"] = "here"
    text = "Forbidden: may not be set on pods that are already bound to a node"
    assert _told(pod, {"nominatedNodeName": "there"}) == [f"status.nominatedNodeName: {text}"]


@pytest.mark.parametrize(
    ("container", "may_run_again"),
    [
        ({}, False),
        ({"restartPolicy": "Always"}, True),
        ({"restartPolicy": "OnFailure"}, True),
        (
            {
                "restartPolicy": "Never",
                "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [3]}}],
            },
            True,
        ),
        (
            {
                "restartPolicy": "Never",
                "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [3]}}],
            },
            False,
        ),
    ],
)
def test_what_ended_for_good_stays_ended(container: dict[str, Any], may_run_again: bool) -> None:
    pod = _pod({"containerStatuses": [ENDED]}, **container)
    text = "Forbidden: may not be transitioned to non-terminated state"
    refused = [] if may_run_again else [f"status.containerStatuses[0].state: {text}"]
    assert _told(pod, {"containerStatuses": [RUNS]}) == refused


def test_an_app_armor_annotation_becomes_its_containers_field() -> None:
    pod = _pod({})
    pod["metadata"]["annotations"] = {"container.apparmor.security.beta.kubernetes.io/c": "localhost/mine"}
    profile = made("pods", pod)["spec"]["containers"][0]["securityContext"]["appArmorProfile"]
    assert profile == {"type": "Localhost", "localhostProfile": "mine"}


def test_a_pods_address_stands_under_both_its_names() -> None:
    strategy = row("pods").strategy
    for told in (
        {"podIP": "10.0.0.1"},
        {"podIPs": [{"ip": "10.0.0.1"}]},
        {"podIP": "10.0.0.1", "podIPs": [{"ip": "no"}]},
    ):
        pod = _pod(told)
        strategy.default(pod)
        assert (pod["status"]["podIP"], pod["status"]["podIPs"]) == ("10.0.0.1", [{"ip": "10.0.0.1"}])


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        ({"runAsUser": 0}, {}, True),
        ({}, {"allowPrivilegeEscalation": False}, True),
        ({"runAsUser": 0}, {"runAsUser": 0, "procMount": None}, False),
    ],
)
def test_a_zero_that_is_said_is_not_the_same_as_none(
    before: dict[str, Any], after: dict[str, Any], refused: bool
) -> None:
    def change(new: dict[str, Any]) -> None:
        new["spec"]["containers"][0]["securityContext"] = after

    causes = edited("pods", _pod({}, securityContext=before), change)
    assert bool(causes) == refused
    assert all(cause.startswith("spec: Forbidden: pod updates may not change fields") for cause in causes)


def test_a_port_of_no_number_is_none() -> None:
    def change(new: dict[str, Any]) -> None:
        new["spec"]["containers"][0]["ports"][0]["hostPort"] = 0

    assert edited("pods", _pod({}, ports=[{"containerPort": 80, "protocol": "TCP"}]), change) == []
