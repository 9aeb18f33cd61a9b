"""Autoscalers lose nothing between v1 and v2."""

from __future__ import annotations

import json

from shim.api.meta import Object
from shim.resources.autoscaler_versions import from_v2, to_v2

PREFIX = "autoscaling.alpha.kubernetes.io/"
METRICS = [
    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 50}}},
    {
        "type": "Pods",
        "pods": {
            "metric": {"name": "m", "selector": {"matchLabels": {"a": "b"}}},
            "target": {"type": "AverageValue", "averageValue": "10"},
        },
    },
    {
        "type": "Object",
        "object": {
            "metric": {"name": "m"},
            "describedObject": {"kind": "Service", "name": "s", "apiVersion": "v1"},
            "target": {"type": "Value", "value": "10"},
        },
    },
    {
        "type": "External",
        "external": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "10"}},
    },
    {
        "type": "ContainerResource",
        "containerResource": {
            "name": "cpu",
            "container": "c",
            "target": {"type": "Utilization", "averageUtilization": 40},
        },
    },
    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
]
BEHAVIOR = {
    "scaleUp": {"selectPolicy": "Max", "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]},
    "scaleDown": {"stabilizationWindowSeconds": 300, "tolerance": "100m", "policies": None},
}


def scaler(**more: object) -> Object:
    return {"apiVersion": "autoscaling/v2", "metadata": {"name": "x", "annotations": {"mine": "1"}}, **more}


def test_metrics_that_v1_does_not_know_travel_in_annotations() -> None:
    old = from_v2(scaler(spec={"maxReplicas": 3, "metrics": METRICS, "behavior": BEHAVIOR}, status={}))
    assert old["spec"] == {"maxReplicas": 3, "targetCPUUtilizationPercentage": 60}
    carried = old["metadata"]["annotations"]
    assert json.loads(carried[f"{PREFIX}metrics"])[1:3] == [
        {
            "type": "Pods",
            "pods": {"metricName": "m", "targetAverageValue": "10", "selector": {"matchLabels": {"a": "b"}}},
        },
        {
            "type": "Object",
            "object": {
                "target": {"kind": "Service", "name": "s", "apiVersion": "v1"},
                "metricName": "m",
                "targetValue": "10",
            },
        },
    ]
    assert carried[f"{PREFIX}behavior"].startswith(
        '{"ScaleUp":{"StabilizationWindowSeconds":null,"SelectPolicy":"Max",'
    )
    new = to_v2(old)
    assert new["spec"]["metrics"] == METRICS
    assert new["metadata"]["annotations"] == {"mine": "1"}
    assert new["spec"]["behavior"]["scaleDown"] == {"stabilizationWindowSeconds": 300, "tolerance": "100m"}


def test_what_is_read_and_the_conditions_travel_too() -> None:
    status = {
        "currentReplicas": 3,
        "desiredReplicas": 4,
        "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 30}}}],
        "conditions": [{"type": "AbleToScale", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z"}],
    }
    old = from_v2(scaler(spec={"maxReplicas": 3}, status=status))
    assert old["status"] == {"currentReplicas": 3, "desiredReplicas": 4, "currentCPUUtilizationPercentage": 30}
    new = to_v2(old)["status"]
    assert new["conditions"] == status["conditions"]
    assert new["currentMetrics"][0]["resource"]["current"] == {"averageUtilization": 30, "averageValue": "0"}


def test_an_annotation_that_cannot_be_read_is_passed_over() -> None:
    for text in ("no json", "7", '[{"type":7}]', '[{"type":"Pods","pods":{"metricName":["m"]}}]', '{"a":1}'):
        old = {"apiVersion": "autoscaling/v1", "metadata": {"annotations": {f"{PREFIX}metrics": text}}, "spec": {}}
        new = to_v2(old)
        assert "metrics" not in new["spec"], text
        assert "annotations" not in new["metadata"]
