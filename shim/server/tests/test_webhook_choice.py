"""Which webhooks are asked: dry runs, selectors, conditions, and what a configuration may say."""

from __future__ import annotations

from typing import Any

import pytest

from shim.server.tests.conftest import Api
from shim.server.tests.hooks import CONFIG_MAPS, Hooks, add, allow, deny, patch


async def test_only_harmless_webhooks_take_part_in_a_dry_run(api: Api, hooks: Hooks) -> None:
    await hooks.mutating(hooks.webhook("tidy", patch(add("/data", {"a": "b"})), sideEffects="NoneOnDryRun"))
    answer = await hooks.config_map(query="?dryRun=All")
    assert answer.json["data"] == {"a": "b"}
    assert hooks.requests("tidy")[0]["dryRun"] is True
    assert (await api.get(CONFIG_MAPS + "/c")).status == 404


async def test_selectors_choose_objects_and_namespaces(api: Api, hooks: Hooks) -> None:
    await hooks.validating(
        hooks.webhook("red", deny(), objectSelector={"matchLabels": {"colour": "red"}}),
        hooks.webhook("far", deny(), namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "far"}}),
    )
    assert (await hooks.config_map()).status == 201
    red = api.configmap("red")
    red["metadata"]["labels"] = {"colour": "red"}
    assert (await api.post(CONFIG_MAPS, red)).status == 400
    labels = {"metadata": {"labels": {"colour": "red"}}}
    assert (await api.patch(CONFIG_MAPS + "/c", labels)).status == 400, "the new object is looked at, and the old one"


async def test_conditions_narrow_what_a_webhook_sees(api: Api, hooks: Hooks) -> None:
    conditions = [
        {"name": "not-skipped", "expression": "object.metadata.name != 'skip'"},
        {"name": "by-the-admin", "expression": "request.userInfo.username == 'kubernetes-admin'"},
        {"name": "allowed", "expression": "authorizer.requestResource.check('get').allowed()"},
    ]
    await hooks.validating(hooks.webhook("deny", deny(), matchConditions=conditions))
    assert (await hooks.config_map("skip")).status == 201
    assert (await hooks.config_map("c")).status == 400


async def test_a_condition_that_cannot_be_told_fails_the_request(api: Api, hooks: Hooks) -> None:
    conditions = [{"name": "missing", "expression": "object.data.none == 'x'"}]
    await hooks.validating(hooks.webhook("deny", deny(), matchConditions=conditions))
    answer = await hooks.config_map()
    assert answer.status == 403
    assert "expression 'object.data.none == 'x'' resulted in error: no such key: data" in answer.message


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"name": "short"}, "webhooks[0].name", "should be a domain with at least three segments separated by dots"),
    ({"sideEffects": "Some"}, "webhooks[0].sideEffects", 'supported values: "None", "NoneOnDryRun"'),
    ({"timeoutSeconds": 31}, "webhooks[0].timeoutSeconds", "the timeout value must be between 1 and 30 seconds"),
    (
        {"admissionReviewVersions": ["v2"]},
        "webhooks[0].admissionReviewVersions",
        "must include at least one of v1, v1beta1",
    ),
    ({"clientConfig": {}}, "webhooks[0].clientConfig", "exactly one of url or service is required"),
    (
        {"clientConfig": {"url": "http://x/"}},
        "webhooks[0].clientConfig.url",
        "'https' is the only allowed URL scheme; desired format: https://host[/path]",
    ),
    (
        {"matchConditions": [{"name": "x", "expression": "request.none"}]},
        "webhooks[0].matchConditions[0].expression",
        "compilation failed: ERROR: <input>:1:8: undefined field 'none'",
    ),
    (
        {"matchConditions": [{"name": "x", "expression": "1"}]},
        "webhooks[0].matchConditions[0].expression",
        "must evaluate to bool but got int",
    ),
    (
        {"rules": [{"operations": ["*", "CREATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]},
        "webhooks[0].rules[0].operations",
        "if '*' is present, must not specify other operations",
    ),
]


@pytest.mark.parametrize(("change", "place", "why"), REFUSED)
async def test_a_configuration_must_make_sense(
    api: Api, hooks: Hooks, change: dict[str, Any], place: str, why: str
) -> None:
    answer = await hooks.configure("Validating", {**hooks.webhook("x", allow()), **change})
    assert answer.status == 422
    (cause,) = answer.json["details"]["causes"]
    assert cause["field"] == place
    assert why in cause["message"]


async def test_configurations_are_out_of_the_reach_of_webhooks(api: Api, hooks: Hooks) -> None:
    everything = hooks.webhook("deny", deny(), namespaceSelector={})
    everything["rules"] = [
        {
            "operations": ["*"],
            "apiGroups": ["admissionregistration.k8s.io"],
            "apiVersions": ["*"],
            "resources": ["*"],
        }
    ]
    await hooks.validating(everything)
    assert (await hooks.configure("Mutating", hooks.webhook("other", allow()))).status == 201
    assert (await api.delete(hooks.made[0])).status == 200
