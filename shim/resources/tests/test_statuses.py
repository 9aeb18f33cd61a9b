"""What is refused of a status, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from shim.resources.table import find

DEPLOYMENT, JOB = ("apps", "v1", "deployments"), ("batch", "v1", "jobs")
DAEMON_SET, POLICY = (
    ("apps", "v1", "daemonsets"),
    ("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"),
)
NEGATIVE = "Invalid value: -1: must be greater than or equal to 0"
LARGER = "Invalid value: 0: cannot be greater than status.replicas"


@pytest.mark.parametrize(
    ("kind", "status", "old", "causes"),
    [
        (
            DEPLOYMENT,
            {"replicas": -1},
            {},
            [
                f"status.replicas: {NEGATIVE}",
                f"status.updatedReplicas: {LARGER}",
                f"status.readyReplicas: {LARGER}",
                f"status.availableReplicas: {LARGER}",
            ],
        ),
        (JOB, {"active": -1}, {}, [f"status.active: {NEGATIVE}"]),
        (DAEMON_SET, {"collisionCount": -1}, {}, [f"status.collisionCount: {NEGATIVE}"]),
        (
            DAEMON_SET,
            {},
            {"collisionCount": 1},
            ["status.collisionCount: Invalid value: 0: cannot be decremented"],
        ),
        (
            POLICY,
            {
                "typeChecking": {
                    "expressionWarnings": [{}, {"fieldRef": "spec.validations[0].expression", "warning": "w"}]
                },
                "conditions": [{"type": "a", "status": "True", "reason": "r", "message": "m"}],
            },
            {},
            [
                "status.typeChecking.expressionWarnings[0].warning: Required value",
                "status.typeChecking.expressionWarnings[0].fieldRef: Required value",
                "status.conditions[0].lastTransitionTime: Required value",
            ],
        ),
    ],
)
def test_a_status(kind: tuple[str, str, str], status: Any, old: Any, causes: list[str]) -> None:
    row = find(*kind)
    assert row is not None
    metadata = {"name": "a", "resourceVersion": "1"}
    now, before = ({"metadata": metadata, "spec": {}, "status": each} for each in (status, old))
    found = row.strategy.validate_status_update(now, before)
    assert [f"{cause.field}: {cause.message}" for cause in found] == causes


def test_the_status_of_a_daemon_set_leaves_the_count_of_its_templates() -> None:
    row = find(*DAEMON_SET)
    assert row is not None
    count = {"deprecated.daemonset.template.generation": "3"}
    old = {"metadata": {"name": "a", "annotations": count}, "spec": {}, "status": {}}
    new = {"metadata": {"name": "a", "annotations": {**count, "deprecated.daemonset.template.generation": "0"}}}
    row.strategy.prepare_for_status_update(new, old)
    assert new["metadata"]["annotations"] == count
