"""Pods: what they become, what is refused, what may change, and how one is doing."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shim.api.meta import Object
from shim.api.qos import qos_class
from shim.resources.columns import pods as shown
from shim.resources.pods.defaults import pull_policy
from shim.resources.pods.strategy import EphemeralContainers, PodStrategy

STRATEGY = PodStrategy()
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', "
    "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


def pod(container: Object | None = None, **spec: Any) -> Object:
    """A defaulted pod of one container."""
    containers = [{"name": "c", "image": "busybox", **(container or {})}]
    obj: Object = {"metadata": {"name": "p"}, "spec": {"containers": containers, **copy.deepcopy(spec)}}
    STRATEGY.default(obj)
    return obj


def causes(obj: Object) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in STRATEGY.validate(obj)]


def test_what_is_left_out_is_filled_in() -> None:
    obj = pod({"livenessProbe": {"httpGet": {"port": 80}}, "resources": {"limits": {"cpu": "1000m"}}})
    spec = obj["spec"]
    assert {key: spec[key] for key in spec if key != "containers"} == {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
    }
    (container,) = spec["containers"]
    assert container["resources"] == {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}
    assert container["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert causes(obj) == []


def test_defaults_are_filled_in_once() -> None:
    obj = pod(volumes=[{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}])
    again = copy.deepcopy(obj)
    STRATEGY.default(again)
    assert again == obj


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("busybox:1", "IfNotPresent"),
        ("reg:5000/busybox", "Always"),
        ("reg:5000/busybox:1", "IfNotPresent"),
        ("busybox@sha256:00", "IfNotPresent"),
    ],
)
def test_a_moving_tag_is_always_pulled(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


ALL = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "0"}}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"memory": "1Gi"}}, "Burstable"),
        ({"limits": ALL}, "Guaranteed"),
        ({"limits": ALL, "requests": {"cpu": "500m", "memory": "1Gi"}}, "Burstable"),
    ],
)
def test_quality_of_service(resources: Object, quality: str) -> None:
    assert qos_class(pod({"resources": resources})["spec"]) == quality


REFUSED: list[tuple[Object, Object, list[str]]] = [
    # the container, the spec, the causes
    ({"name": "BAD"}, {}, [f'spec.containers[0].name: Invalid value: "BAD": {LABEL}']),
    ({"image": ""}, {}, ["spec.containers[0].image: Required value"]),
    (
        {"image": " x"},
        {},
        ['spec.containers[0].image: Invalid value: " x": must not have leading or trailing whitespace'],
    ),
    (
        {"ports": [{"containerPort": 70000}]},
        {},
        ["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
    ),
    (
        {"ports": [{"containerPort": 1, "hostPort": 1}, {"containerPort": 2, "hostPort": 1}]},
        {},
        ['spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//1"'],
    ),
    ({"env": [{"name": ""}]}, {}, ["spec.containers[0].env[0].name: Required value"]),
    (
        {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
        {},
        ['spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
    ),
    (
        {"volumeMounts": [{"name": "nope", "mountPath": "/x"}]},
        {},
        ['spec.containers[0].volumeMounts[0].name: Not found: "nope"'],
    ),
    ({"livenessProbe": {}}, {}, ["spec.containers[0].livenessProbe: Required value: must specify a handler type"]),
    (
        {"securityContext": {"runAsUser": -1}},
        {},
        [
            "spec.containers[0].securityContext.runAsUser: Invalid value: -1: "
            "must be between 0 and 2147483647, inclusive"
        ],
    ),
    (
        {},
        {"restartPolicy": "Sometimes"},
        ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'],
    ),
    (
        {},
        {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]},
        ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
    ),
    (
        {},
        {"volumes": [{"name": "v", "hostPath": {"path": "../x"}}]},
        ["spec.volumes[0].hostPath.path: Invalid value: \"../x\": must not contain '..'"],
    ),
    (
        {},
        {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
        [
            "spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
        ],
    ),
    (
        {},
        {"initContainers": [{"name": "c", "image": "x"}]},
        ['spec.initContainers[0].name: Duplicate value: "c"'],
    ),
    (
        {},
        {"dnsPolicy": "None"},
        ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
    ),
]


@pytest.mark.parametrize(("container", "spec", "expected"), REFUSED)
def test_pods_that_are_refused(container: Object, spec: Object, expected: list[str]) -> None:
    assert causes(pod(container, **spec)) == expected


def updated(change: Any) -> list[str]:
    old = pod(activeDeadlineSeconds=9)
    old["metadata"] |= {"resourceVersion": "1", "uid": "u"}
    new = copy.deepcopy(old)
    change(new["spec"])
    return [f"{cause.field}: {cause.message}"[:60] for cause in STRATEGY.validate_update(new, old)]


def test_an_image_may_change_but_not_a_command() -> None:
    assert updated(lambda spec: spec["containers"][0].update(image="new")) == []
    assert updated(lambda spec: spec["containers"][0].update(command=["x"])) == [
        "spec: Forbidden: pod updates may not change fields other than"[:60]
    ]


def test_a_deadline_only_comes_nearer() -> None:
    assert updated(lambda spec: spec.update(activeDeadlineSeconds=5)) == []
    assert updated(lambda spec: spec.update(activeDeadlineSeconds=10)) == [
        "spec.activeDeadlineSeconds: Invalid value: 10: must be less than or equal"[:60]
    ]


def test_tolerations_are_only_added() -> None:
    assert updated(lambda spec: spec.update(tolerations=[{"key": "a", "operator": "Exists"}])) == []


def test_an_ephemeral_container_stays() -> None:
    old = pod(ephemeralContainers=[{"name": "e", "image": "x"}])
    old["metadata"] |= {"resourceVersion": "1"}
    new = copy.deepcopy(old)
    new["spec"]["ephemeralContainers"] = []
    (cause,) = EphemeralContainers().validate_update(new, old)
    assert cause.message.startswith('Forbidden: existing ephemeral containers "e" may not be removed')


def test_a_status_write_changes_nothing_else() -> None:
    old = pod()
    STRATEGY.prepare_for_create(old)
    new = copy.deepcopy(old)
    new["spec"]["nodeName"] = "n"
    new["status"] = {"phase": "Running"}
    STRATEGY.prepare_for_status_update(new, old)
    assert new["spec"] == old["spec"]
    assert new["status"] == {"phase": "Running", "qosClass": "BestEffort"}


def test_only_a_pod_on_a_node_is_given_time_to_stop() -> None:
    obj = pod()
    assert STRATEGY.grace_period(obj, None) == 0
    obj["spec"]["nodeName"] = "n"
    assert STRATEGY.grace_period(obj, None) == 30
    assert STRATEGY.grace_period(obj, 5) == 5
    obj["status"] = {"phase": "Succeeded"}
    assert STRATEGY.grace_period(obj, None) == 0


def state(**value: Any) -> Object:
    return {"name": "c", "restartCount": 0, "ready": "running" in value, "state": value}


READY = [{"type": "Ready", "status": "True"}]
STATUSES: list[tuple[Object, str, str]] = [
    # status, the word, ready
    ({"phase": "Pending"}, "Pending", "0/1"),
    ({"phase": "Running", "containerStatuses": [state(running={})], "conditions": READY}, "Running", "1/1"),
    (
        {"phase": "Running", "containerStatuses": [state(waiting={"reason": "CrashLoopBackOff"})]},
        "CrashLoopBackOff",
        "0/1",
    ),
    (
        {"phase": "Succeeded", "containerStatuses": [state(terminated={"exitCode": 0, "reason": "Completed"})]},
        "Completed",
        "0/1",
    ),
    ({"phase": "Failed", "containerStatuses": [state(terminated={"exitCode": 3})]}, "ExitCode:3", "0/1"),
    ({"phase": "Pending", "initContainerStatuses": [state(running={})]}, "Init:0/1", "0/1"),
    (
        {"phase": "Pending", "initContainerStatuses": [state(terminated={"exitCode": 1, "reason": "Error"})]},
        "Init:Error",
        "0/1",
    ),
    ({"phase": "Failed", "reason": "Evicted"}, "Evicted", "0/1"),
]


@pytest.mark.parametrize(("status", "word", "ready"), STATUSES)
def test_how_a_pod_is_doing(status: Object, word: str, ready: str) -> None:
    obj = pod(initContainers=[{"name": "i", "image": "x"}] if "initContainerStatuses" in status else [])
    obj["status"] = status
    assert (shown.status(obj), shown.ready(obj)) == (word, ready)


def test_a_pod_that_goes_is_terminating() -> None:
    obj = pod()
    obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    obj["status"] = {"phase": "Running", "containerStatuses": [state(running={})]}
    assert shown.status(obj) == "Terminating"
