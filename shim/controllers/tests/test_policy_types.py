"""Expressions that do not fit the kinds they are about are told of in a policy's status."""

from __future__ import annotations

from pathlib import Path

from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.policy_types import PolicyTypes
from shim.controllers.tests.live import world


async def test_types_are_checked(tmp_path: Path) -> None:
    rule = {"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
    policy: Object = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "typed"},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "variables": [{"name": "wanted", "expression": "object.spec.replicas"}],
            "validations": [
                {"expression": "variables.wanted > '1'", "messageExpression": "'wants ' + object.spec.replicas"},
                {"expression": "object.spec.template.spec.containers.all(c, c.image.startsWith('a') && !has(c.x))"},
                {"expression": "object.metadata.labels.all(k, object.metadata.labels[k] != 'b')"},
            ],
        },
    }
    async with world(tmp_path, [PolicyTypes]) as here:
        await here.client.create(r.VALIDATINGADMISSIONPOLICIES, policy)
        checked = await here.until(
            r.VALIDATINGADMISSIONPOLICIES, "typed", lambda obj: "typeChecking" in (obj.get("status") or {})
        )
    status = checked["status"]
    assert status["observedGeneration"] == 1
    told = {each["fieldRef"]: each["warning"] for each in status["typeChecking"]["expressionWarnings"]}
    assert list(told) == [
        "spec.validations[0].expression",
        "spec.validations[0].messageExpression",
        "spec.validations[1].expression",
    ]
    assert told["spec.validations[0].expression"] == (
        "apps/v1, Kind=Deployment: ERROR: <input>:1:18: found no matching overload for '_>_' applied to "
        "'(int, string)'\n"
        " | variables.wanted > '1'\n | .................^\n"
    )
    assert "undefined field 'x'" in told["spec.validations[1].expression"]
