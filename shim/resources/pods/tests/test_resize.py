"""What a resize may change, and the words in which the rest is refused."""

from __future__ import annotations

import copy

import pytest

from shim.resources.pods.strategy import PodStrategy


def _pod():
    strategy = PodStrategy()
    resources = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    pod = {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "containers": [
                {"name": "a", "image": "i", "resources": copy.deepcopy(resources)},
                {"name": "b", "image": "i", "resources": copy.deepcopy(resources)},
            ]
        },
    }
    strategy.default(pod)
    pod["status"] = {"phase": "Running", "qosClass": "Burstable"}
    return pod


def _causes(change):
    side = PodStrategy().side("resize")
    old = _pod()
    new = copy.deepcopy(old)
    change(new)
    side.prepare_for_update(new, old)
    return [f"{cause.field}: {cause.message}" for cause in side.validate_update(new, old)], new


def _resources(pod, index=0):
    return pod["spec"]["containers"][index]["resources"]


def test_amounts_change_and_nothing_else_does():
    def change(pod):
        _resources(pod)["requests"]["cpu"] = "150m"
        pod["spec"]["containers"][0]["image"] = "other"
        pod["metadata"]["labels"] = {"a": "b"}
        pod["status"]["phase"] = "Failed"

    causes, new = _causes(change)
    assert causes == []
    assert _resources(new)["requests"]["cpu"] == "150m"
    assert new["spec"]["containers"][0]["image"] == "i"
    assert "labels" not in new["metadata"]
    assert new["status"]["phase"] == "Running"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda pod: _resources(pod)["requests"].pop("cpu"),
            "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
        ),
        (
            lambda pod: _resources(pod)["limits"].update({"ephemeral-storage": "1Gi"}),
            "spec: Forbidden: only cpu and memory resources are mutable",
        ),
        (
            lambda pod: pod["spec"]["containers"][1].update(
                resizePolicy=[{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
            ),
            "spec: Forbidden: only cpu and memory resources are mutable",
        ),
        (
            lambda pod: pod["spec"]["containers"].pop(),
            "spec.containers: Forbidden: containers may not be added or removed on resize",
        ),
        (
            lambda pod: pod["spec"]["containers"].reverse(),
            "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize",
        ),
        (
            lambda pod: _resources(pod)["requests"].update(cpu="300m"),
            "spec.containers[0].resources.requests: "
            'Invalid value: "300m": must be less than or equal to cpu limit of 200m',
        ),
        (
            lambda pod: [
                _resources(pod, index).update(
                    requests={"cpu": "1", "memory": "1Gi"}, limits={"cpu": "1", "memory": "1Gi"}
                )
                for index in (0, 1)
            ],
            'spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing',
        ),
    ],
)
def test_what_is_refused(change, complaint):
    causes, _ = _causes(change)
    assert complaint in causes
