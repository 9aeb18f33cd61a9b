"""Admission policies: what they refuse, warn of and change, where their bindings say."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from shim.admission.policies import compiled
from shim.server.tests.conftest import Answer, Api
from shim.server.tests.hooks import Hooks, deny

GROUP = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/{ns}/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{ns}/deployments"
_numbers = itertools.count()


def rule(resource: str, group: str = "", *operations: str) -> dict[str, Any]:
    return {
        "operations": list(operations or ("CREATE", "UPDATE")),
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "resources": [resource],
    }


@dataclass
class Policies:
    """Policies that hold in the story's own namespace."""

    api: Api
    name: str
    made: list[str] = field(default_factory=list)

    async def post(self, kind: str, spec: dict[str, Any], name: str = "") -> Answer:
        plural = f"{kind.lower()}s".replace("policys", "policies")
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": name or self.name},
            "spec": spec,
        }
        answer = await self.api.post(f"{GROUP}/{plural}", body)
        if answer.status == 201:
            self.made.append(f"{GROUP}/{plural}/{name or self.name}")
        return answer

    async def validate(self, resource: dict[str, Any], *validations: dict[str, Any], **more: Any) -> None:
        binding = {"validationActions": more.pop("actions", ["Deny"]), "paramRef": more.pop("paramRef", None)}
        spec = {"matchConstraints": {"resourceRules": [resource]}, "validations": list(validations), **more}
        answer = await self.post("ValidatingAdmissionPolicy", spec)
        assert answer.status == 201, answer.data
        await self.bind("ValidatingAdmissionPolicyBinding", **binding)

    async def mutate(self, resource: dict[str, Any], *mutations: dict[str, Any], **more: Any) -> None:
        spec = {
            "matchConstraints": {"resourceRules": [resource]},
            "mutations": list(mutations),
            "reinvocationPolicy": "Never",
            **more,
        }
        answer = await self.post("MutatingAdmissionPolicy", spec)
        assert answer.status == 201, answer.data
        await self.bind("MutatingAdmissionPolicyBinding")

    async def bind(self, kind: str, **more: Any) -> None:
        selector = {"matchLabels": {"kubernetes.io/metadata.name": self.api.namespace}}
        spec = {"policyName": self.name, "matchResources": {"namespaceSelector": selector}, **more}
        answer = await self.post(kind, {name: value for name, value in spec.items() if value is not None})
        assert answer.status == 201, answer.data


@pytest_asyncio.fixture(loop_scope="session")
async def policies(api: Api) -> AsyncIterator[Policies]:
    label = {"metadata": {"labels": {"kubernetes.io/metadata.name": api.namespace}}}
    await api.patch(f"/api/v1/namespaces/{api.namespace}", label)
    made = Policies(api, f"policy-{next(_numbers)}.example.com")
    yield made
    for path in made.made:
        await api.delete(path)


def config(name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **more}


def deployment(name: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod},
    }


async def test_a_policy_refuses_where_it_is_bound(policies: Policies, api: Api) -> None:
    few = {
        "expression": "object.spec.replicas <= variables.most",
        "messageExpression": "'at most ' + string(variables.most)",
    }
    await policies.validate(
        rule("deployments", "apps"),
        few,
        {"expression": "request.userInfo.username != 'eve'", "reason": "Forbidden"},
        variables=[{"name": "one", "expression": "1"}, {"name": "most", "expression": "variables.one + 2"}],
    )
    assert (await api.post(DEPLOYMENTS, deployment("small", 3))).status == 201
    refused = await api.post(DEPLOYMENTS, deployment("large", 4))
    by = f"ValidatingAdmissionPolicy '{policies.name}' with binding '{policies.name}' denied request: at most 3"
    assert (refused.status, refused.json["reason"]) == (422, "Invalid")
    assert refused.message == f'deployments.apps "large" is forbidden: {by}'
    assert refused.json["details"]["causes"] == [{"message": by}]
    assert (await api.get(f"{DEPLOYMENTS}/large")).status == 404
    text = (await api.get("/metrics")).data.decode()
    for action in ("allow", "deny"):
        of = f'enforcement_action="{action}",error_type="no_error",policy="{policies.name}"'
        counted = f'apiserver_validating_admission_policy_check_total{{{of},policy_binding="{policies.name}"}} 1.0'
        assert counted in {_in_order(line) for line in text.splitlines()}
    elsewhere = await api.post("/apis/apps/v1/namespaces/default/deployments?dryRun=All", deployment("large", 4))
    assert elsewhere.status == 201
    assert (await api.patch(f"{DEPLOYMENTS}/small", {"spec": {"replicas": 4}})).status == 422


def _in_order(sample: str) -> str:
    """A line of metrics with its labels in order of their names."""
    name, _, rest = sample.partition("{")
    labels, _, value = rest.partition("}")
    return f"{name}{{{','.join(sorted(labels.split(',')))}}}{value}"


async def test_findings_may_only_be_warned_of(policies: Policies, api: Api) -> None:
    await policies.validate(
        rule("configmaps"),
        {"expression": "has(object.data)", "message": "no data"},
        actions=["Warn", "Audit"],
        auditAnnotations=[{"key": "size", "valueExpression": "'size ' + string(size(object.metadata.name))"}],
    )
    made = await api.post(MAPS, config("empty"))
    assert made.status == 201
    assert made.headers["Warning"] == (
        f"299 - \"Validation failed for ValidatingAdmissionPolicy '{policies.name}' with binding '{policies.name}': "
        'no data"'
    )
    assert "Warning" not in (await api.post(MAPS, config("full", data={"a": "b"}))).headers


async def test_parameters_come_from_the_cluster(policies: Policies, api: Api) -> None:
    await api.post(MAPS, config("limits", data={"most": "2"}) | {})
    await policies.validate(
        rule("deployments", "apps"),
        {"expression": "object.spec.replicas <= int(params.data.most)"},
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        paramRef={"name": "limits", "parameterNotFoundAction": "Deny"},
    )
    assert (await api.post(DEPLOYMENTS, deployment("two", 2))).status == 201
    refused = await api.post(DEPLOYMENTS, deployment("three", 3))
    assert refused.message.endswith("denied request: failed expression: object.spec.replicas <= int(params.data.most)")
    await api.delete(f"{MAPS}/limits")
    missing = await api.post(DEPLOYMENTS, deployment("two-more", 2))
    assert missing.message.endswith(
        "denied request: failed to configure binding: no params found for policy binding with `Deny` "
        "parameterNotFoundAction"
    )


async def test_a_policy_of_a_kind_that_is_not_there_cannot_be_asked(policies: Policies, api: Api) -> None:
    await policies.validate(
        rule("configmaps"),
        {"expression": "true"},
        paramKind={"apiVersion": "none.example.com/v1", "kind": "None"},
        paramRef={"name": "x", "parameterNotFoundAction": "Allow"},
        matchConstraints={
            "resourceRules": [rule("configmaps")],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": api.namespace}},
        },
    )
    refused = await api.post(MAPS, config("any"))
    assert refused.message == (
        f"configmaps \"any\" is forbidden: ValidatingAdmissionPolicy '{policies.name}' denied request: failed to "
        "configure policy: failed to find resource referenced by paramKind: 'none.example.com/v1, Kind=None'"
    )


async def test_who_is_out_of_budget_says_nothing_else(policies: Policies, api: Api, monkeypatch: Any) -> None:
    monkeypatch.setattr(compiled, "BUDGET", 100)
    few = {"expression": "size(object.data) > 5", "message": "too few"}
    dear = {"expression": "lists.range(9).all(a, a < 9)"}
    await policies.validate(rule("configmaps"), few, *[dear] * 3)
    refused = await api.post(MAPS, config("dear"))
    [cause] = refused.json["details"]["causes"]
    assert cause["message"].endswith(
        "denied request: validation failed due to running out of cost budget, no further validation rules will be run"
    )


async def test_a_policy_that_is_dear_holds_up_nobody(policies: Policies, api: Api) -> None:
    pairs = {"expression": "lists.range(400).all(a, lists.range(400).all(b, a + b != -1))"}
    await policies.validate(rule("configmaps"), pairs)
    refused = await answered_meanwhile(api, api.post(MAPS, config("dear")))
    assert refused.message.endswith("resulted in error: operation cancelled: actual cost limit exceeded")


DEAR = "lists.range(160).all(a, lists.range(160).all(b, a + b != -1))"  # some 150,000 units
GET_SECRETS = "authorizer.group('').resource('secrets').check('get')"


async def answered_meanwhile(api: Api, asked: Awaitable[Answer]) -> Answer:
    """What is asked, which others did not have to wait for."""
    task, answered = asyncio.ensure_future(asked), 0
    while not task.done():
        assert (await api.get("/version", anonymous=True)).status == 200
        answered += 1
    assert answered > 3
    return task.result()


async def test_rights_are_asked_for_in_the_middle_of_dear_expressions(policies: Policies, api: Api) -> None:
    await policies.validate(rule("configmaps"), {"expression": f"{DEAR} && {GET_SECRETS}.allowed()"})
    assert (await answered_meanwhile(api, api.post(MAPS, config("dear")))).status == 201


async def test_a_mutation_that_is_dear_holds_up_nobody(policies: Policies, api: Api) -> None:
    value = f"{DEAR} && {GET_SECRETS}.allowed() ? 'dear' : 'none'"
    patch = f"[JSONPatch{{op: 'add', path: '/data', value: {{'a': {value}}}}}]"
    cheap = [{"name": "cheap", "expression": f"{GET_SECRETS}.allowed()"}]
    mutation = {"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}
    await policies.mutate(rule("configmaps"), mutation, matchConditions=cheap)
    assert (await answered_meanwhile(api, api.post(MAPS, config("dear")))).json["data"] == {"a": "dear"}


async def test_match_conditions_that_are_dear_hold_up_nobody(hooks: Hooks, api: Api) -> None:
    conditions = [{"name": "dear", "expression": f"{DEAR} && {GET_SECRETS}.allowed()"}]
    await hooks.validating(hooks.webhook("deny", deny(), matchConditions=conditions))
    assert (await answered_meanwhile(api, hooks.config_map())).status == 400


async def test_conditions_errors_and_the_authorizer(policies: Policies, api: Api) -> None:
    await policies.validate(
        rule("configmaps", "", "CREATE", "DELETE"),
        {"expression": "request.operation != 'DELETE' || oldObject.metadata.name != 'kept'"},
        {"expression": "request.operation == 'DELETE' || object.data.a == 'b'"},
        {"expression": "authorizer.group('').resource('secrets').namespace('x').check('get').allowed()"},
        matchConditions=[{"name": "not-ca", "expression": "request.name != 'kube-root-ca.crt'"}],
    )
    refused = await api.post(MAPS, config("none"))
    assert refused.message.endswith(
        "denied request: expression 'request.operation == 'DELETE' || object.data.a == 'b'' resulted in error: "
        "no such key: data"
    )
    assert (await api.post(MAPS, config("kept", data={"a": "b"}))).status == 201
    assert (await api.delete(f"{MAPS}/kept")).status == 422
    assert (await api.post(MAPS, config("kube-root-ca.crt"))).status == 201


async def test_configurations_and_patches_are_merged(policies: Policies, api: Api) -> None:
    await policies.mutate(
        rule("deployments", "apps"),
        {
            "patchType": "ApplyConfiguration",
            "applyConfiguration": {
                "expression": "Object{metadata: Object.metadata{labels: Object.metadata.labels{made: 'so'}}, spec: "
                "Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: "
                "[Object.spec.template.spec.containers{name: 'c', imagePullPolicy: 'Never'}]}}}}"
            },
        },
        {
            "patchType": "JSONPatch",
            "jsonPatch": {
                "expression": "[JSONPatch{op: 'add', path: '/metadata/annotations', value: {'a/b': 'c'}}, "
                "JSONPatch{op: 'replace', path: '/metadata/annotations/' + jsonpatch.escapeKey('a/b'), "
                "value: object.metadata.name}]"
            },
        },
    )
    made = (await api.post(DEPLOYMENTS, deployment("changed", 1))).json
    assert (made["metadata"]["labels"], made["metadata"]["annotations"]) == ({"made": "so"}, {"a/b": "changed"})
    container = made["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["imagePullPolicy"]) == ("i", "Never")


@pytest.mark.parametrize(
    ("patch", "code", "outcome"),
    [
        (
            "[JSONPatch{op: 'test', path: '/data/a', value: 'c'}, JSONPatch{op: 'remove', path: '/data'}]",
            201,
            {"a": "b"},
        ),
        (
            "[JSONPatch{op: 'remove', path: '/data/q'}]",
            403,
            "denied request: JSON Patch: error in remove for path: '/data/q': Unable to remove nonexistent key: q: "
            "missing value",
        ),
        (
            "[JSONPatch{op: 'add', path: '/foo', value: 1}]",
            500,
            'Internal error occurred: strict decoding error: unknown field "foo"',
        ),
        ("[JSONPatch{op: object.data.none}]", 403, "resulted in error: no such key: none"),
    ],
)
async def test_what_patches_come_to(policies: Policies, api: Api, patch: str, code: int, outcome: Any) -> None:
    await policies.mutate(
        rule("configmaps"),
        {"patchType": "JSONPatch", "jsonPatch": {"expression": patch}},
    )
    answer = await api.post(MAPS, config("patched", data={"a": "b"}))
    assert answer.status == code, answer.data
    if code == 201:
        assert answer.json["data"] == outcome
    else:
        assert answer.message.endswith(outcome)
        assert answer.json["reason"] == ("Invalid" if code == 403 else "InternalError")


async def test_what_a_configuration_cannot_change(policies: Policies, api: Api) -> None:
    labels = "Object.spec.selector.matchLabels{a: 'b'}"
    text = f"Object{{spec: Object.spec{{selector: Object.spec.selector{{matchLabels: {labels}}}}}}}"
    await policies.mutate(
        rule("deployments", "apps"), {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}}
    )
    refused = await api.post(DEPLOYMENTS, deployment("no", 1))
    assert refused.status == 403
    assert refused.message == (
        f"policy '{policies.name}' with binding '{policies.name}' denied request: error applying patch: invalid "
        "ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.selector"
    )


async def test_policies_that_make_no_sense(policies: Policies) -> None:
    constraints = {"matchConstraints": {"resourceRules": [rule("pods")]}}
    for kind, spec, complaint in (
        (
            "ValidatingAdmissionPolicy",
            {**constraints, "validations": [{"expression": "object.x +"}]},
            'spec.validations[0].expression: Invalid value: "object.x +": compilation failed: ERROR: <input>:1:11: ',
        ),
        (
            "ValidatingAdmissionPolicy",
            {**constraints, "validations": [{"expression": "int('x') == 1"}]},
            "spec.validations[0].expression: Internal error: program instantiation failed: type conversion error from "
            "'string' to 'int'",
        ),
        (
            "ValidatingAdmissionPolicy",
            {**constraints, "validations": [{"expression": "'text'"}]},
            "spec.validations[0].expression: Invalid value: \"'text'\": must evaluate to bool but got string",
        ),
        (
            "ValidatingAdmissionPolicy",
            {**constraints, "validations": [{"expression": "true", "messageExpression": "object.x"}]},
            'spec.validations[0].messageExpression: Invalid value: "object.x": must evaluate to string but got dyn',
        ),
        (
            "ValidatingAdmissionPolicy",
            {**constraints, "validations": [{"expression": "variables.a"}]},
            'spec.validations[0].expression: Invalid value: "variables.a": compilation failed: ERROR: <input>:1:1: '
            "undeclared reference to 'variables'",
        ),
        (
            "ValidatingAdmissionPolicy",
            {**constraints, "validations": [{"expression": "true", "reason": "Unauthorized"}]},
            'spec.validations[0].reason: Unsupported value: "Unauthorized": supported values: "Forbidden", "Invalid", ',
        ),
        (
            "MutatingAdmissionPolicy",
            {
                **constraints,
                "reinvocationPolicy": "Never",
                "variables": [{"name": "x", "expression": "[JSONPatch{op: 'add'}]"}],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "variables.x"}}],
            },
            "spec.variables[0].expression: Invalid value: \"[JSONPatch{op: 'add'}]\": compilation failed: ERROR: "
            "<input>:1:11: undeclared reference to 'JSONPatch'",
        ),
        (
            "ValidatingAdmissionPolicy",
            {"validations": [{"expression": "true"}]},
            "spec.matchConstraints: Required value",
        ),
        (
            "MutatingAdmissionPolicy",
            {**constraints, "mutations": [{"patchType": "JSONPatch"}], "reinvocationPolicy": "Never"},
            "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
        ),
        (
            "ValidatingAdmissionPolicyBinding",
            {"policyName": "p", "validationActions": ["Deny", "Warn"]},
            'spec.validationActions: Invalid value: ["Deny","Warn"]: must not contain both Deny and Warn',
        ),
    ):
        refused = await policies.post(kind, spec)
        assert refused.status == 422
        assert refused.message.partition(" is invalid: ")[2].removeprefix("[").startswith(complaint), refused.message
