"""What a RuntimeClass gives the pods that name it."""

from __future__ import annotations

from typing import Any

import pytest

from shim.admission.tests.cluster import (
    ACCOUNT,
    NAMESPACE,
    Cluster,
    admitted,
    create,
    pod,
    refusal,
)
from shim.api.meta import Object


def runtime_class(**fields: Any) -> tuple[str, Object]:
    return "runtimeclasses", {"metadata": {"name": "vm"}, "handler": "vm", **fields}


async def test_a_runtime_class_gives_its_overhead_and_its_nodes() -> None:
    scheduling = {
        "nodeSelector": {"vm": "yes"},
        "tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}],
    }
    vm = runtime_class(overhead={"podFixed": {"cpu": "100m"}}, scheduling=scheduling)
    narrow = {"key": "a", "operator": "Equal", "value": "1", "effect": "NoSchedule"}
    obj = pod(runtimeClassName="vm", tolerations=[narrow], overhead={"cpu": "0.1"}, nodeSelector={"disk": "ssd"})
    spec = (await admitted(Cluster(NAMESPACE, ACCOUNT, vm), create("pods", obj)))["spec"]
    assert spec["overhead"] == {"cpu": "100m"}
    assert spec["nodeSelector"] == {"disk": "ssd", "vm": "yes"}
    assert [each["key"] for each in spec["tolerations"] if "tolerationSeconds" not in each] == ["a", "b"]
    assert narrow not in spec["tolerations"], "what is included in another one goes"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"overhead": {"cpu": "1"}}, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"),
        (
            {"nodeSelector": {"vm": "no"}},
            "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no",
        ),
    ],
)
async def test_a_pod_cannot_differ_from_its_runtime_class(spec: Object, why: str) -> None:
    vm = runtime_class(overhead={"podFixed": {"cpu": "100m"}}, scheduling={"nodeSelector": {"vm": "yes"}})
    error = await refusal(Cluster(NAMESPACE, ACCOUNT, vm), create("pods", pod(runtimeClassName="vm", **spec)))
    assert error.message == f'pods "p" is forbidden: {why}'
