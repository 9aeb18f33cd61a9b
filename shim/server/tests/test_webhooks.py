"""Webhooks that are real HTTPS servers: what they are sent, what they refuse and what they change."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from shim.server.tests.conftest import Api
from shim.server.tests.hooks import CONFIG_MAPS, PODS, Hooks, add, allow, deny, patch


async def test_a_webhook_is_told_what_is_asked(api: Api, hooks: Hooks) -> None:
    await hooks.validating(hooks.webhook("watch", allow()))
    assert (await hooks.config_map(query="?fieldManager=me", data={"a": "b"})).status == 201
    assert (await api.put(CONFIG_MAPS + "/c", api.configmap("c", data={"a": "c"}))).status == 200
    assert (await api.delete(CONFIG_MAPS + "/c?gracePeriodSeconds=0")).status == 200
    created, updated, deleted = hooks.requests("watch")
    kind, resource = {"group": "", "version": "v1", "kind": "ConfigMap"}, {"group": "", "version": "v1"}
    resource["resource"] = "configmaps"
    assert {key: value for key, value in created.items() if key not in ("uid", "object", "userInfo")} == {
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "name": "c",
        "namespace": api.namespace,
        "operation": "CREATE",
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"},
    }
    assert created["userInfo"]["username"] == "kubernetes-admin"
    assert (created["object"]["kind"], created["object"]["data"]) == ("ConfigMap", {"a": "b"})
    assert created["object"]["metadata"]["uid"], "validating webhooks see what will be stored"
    assert (updated["oldObject"]["data"], updated["object"]["data"]) == ({"a": "b"}, {"a": "c"})
    assert (deleted["object"], deleted["oldObject"]["data"]) == (None, {"a": "c"})
    assert deleted["options"]["gracePeriodSeconds"] == 0


async def test_webhooks_are_counted_and_timed(api: Api, hooks: Hooks) -> None:
    hook = hooks.webhook("counted", deny(message="no"))
    gone = hooks.webhook("gone", allow()) | {"failurePolicy": "Ignore"}
    gone["clientConfig"] = {**gone["clientConfig"], "url": "https://127.0.0.1:1/"}
    await hooks.validating(hook, gone)
    assert (await hooks.config_map()).status == 400
    lines = (await api.get("/metrics")).data.decode().splitlines()

    def has(name: str, *labels: str) -> bool:
        return any(line.startswith(f"{name}{{") and all(label in line for label in labels) for line in lines)

    mine = ('name="counted.example.com"', 'type="validating"', 'operation="CREATE"')
    assert has("apiserver_admission_webhook_request_total", *mine, 'code="400"', 'rejected="true"')
    assert has("apiserver_admission_webhook_rejection_count", *mine, 'error_type="no_error"', 'rejection_code="400"')
    assert has("apiserver_admission_webhook_admission_duration_seconds_bucket", *mine, 'le="25"')
    assert has("apiserver_admission_webhook_fail_open_count", 'name="gone.example.com"', 'type="validating"')


DENIALS: list[tuple[dict[str, Any], int, str, str]] = [
    ({}, 400, "", " without explanation"),
    ({"message": "no way"}, 400, "", ": no way"),
    ({"reason": "Forbidden", "code": 403}, 403, "Forbidden", ": Forbidden"),
    ({"message": "odd", "code": 200, "status": "Success"}, 400, "", ": odd"),
]


@pytest.mark.parametrize(("status", "code", "reason", "text"), DENIALS)
async def test_a_webhook_refuses_in_its_own_words(
    api: Api, hooks: Hooks, status: dict[str, Any], code: int, reason: str, text: str
) -> None:
    await hooks.validating(hooks.webhook("deny", deny(**status)))
    answer = await hooks.config_map()
    assert (answer.status, answer.json.get("reason", "")) == (code, reason)
    assert answer.message == f'admission webhook "deny.example.com" denied the request{text}'
    assert (await api.get(CONFIG_MAPS + "/c")).status == 404


async def test_every_way_of_writing_is_asked(api: Api, hooks: Hooks) -> None:
    assert (await hooks.config_map()).status == 201
    await hooks.validating(hooks.webhook("deny", deny()))
    path = CONFIG_MAPS + "/c"
    changed = api.configmap("c", data={"a": "b"})
    for answer in (
        await api.put(path, changed),
        await api.patch(path, {"data": {"a": "b"}}),
        await api.patch(path + "?fieldManager=x", changed, "apply-patch+yaml"),
        await api.delete(path),
        await api.delete(CONFIG_MAPS),
    ):
        assert answer.status == 400, answer.json


async def test_a_patch_is_shown_as_the_write_it_comes_to(api: Api, hooks: Hooks) -> None:
    await hooks.validating(hooks.webhook("see", allow()))
    applied = api.configmap("c", data={"a": "b"})
    for change in ({"a": "b"}, {"a": "c"}):
        applied["data"] = change
        answer = await api.patch(CONFIG_MAPS + "/c?fieldManager=x&force=true", applied, "apply-patch+yaml")
        assert answer.status in (200, 201)
    await api.patch(CONFIG_MAPS + "/c?fieldManager=y", {"data": {"a": "d"}})
    assert [(each["operation"], each["options"]) for each in hooks.requests("see")] == [
        (operation, {"kind": kind, "apiVersion": "meta.k8s.io/v1", "fieldManager": manager})
        for operation, kind, manager in (
            ("CREATE", "CreateOptions", "x"),
            ("UPDATE", "UpdateOptions", "x"),
            ("UPDATE", "UpdateOptions", "y"),
        )
    ]


async def test_mutating_webhooks_are_asked_in_the_order_of_their_names(api: Api, hooks: Hooks) -> None:
    await hooks.mutating(hooks.webhook("second", patch(add("/data/second", "2"))), name=f"b-{api.namespace}")
    await hooks.mutating(hooks.webhook("first", patch(add("/data", {"first": "1"}))), name=f"a-{api.namespace}")
    answer = await hooks.config_map()
    assert answer.json["data"] == {"first": "1", "second": "2"}
    assert hooks.requests("second")[0]["object"]["data"] == {"first": "1"}


async def test_who_wishes_is_asked_again_when_the_object_changed_after(api: Api, hooks: Hooks) -> None:
    def first(request: dict[str, Any]) -> dict[str, Any]:
        if "late" in request["object"].get("data", {}):
            return patch(add("/data/seen", "late"))(request)
        return patch(add("/data", {"early": "1"}))(request)

    await hooks.mutating(
        hooks.webhook("first", first, reinvocationPolicy="IfNeeded"),
        hooks.webhook("once", allow()),
        hooks.webhook("late", patch(add("/data/late", "1"))),
    )
    answer = await hooks.config_map()
    assert answer.json["data"] == {"early": "1", "late": "1", "seen": "late"}
    assert {name: len(asked) for name, asked in hooks.seen.items()} == {"first": 2, "once": 1, "late": 1}


async def test_a_mutated_pod_is_defaulted_and_seen_by_the_other_plugins(api: Api, hooks: Hooks) -> None:
    extra = {"name": "added", "image": "busybox", "unknown": 1}
    await hooks.mutating(hooks.webhook("sidecar", patch(add("/spec/initContainers", [extra])), "pods"))
    answer = await api.post(PODS, api.pod("p"))
    assert answer.status == 201, answer.json
    (added,) = answer.json["spec"]["initContainers"]
    assert added["terminationMessagePolicy"] == "File", "defaults are applied to what a webhook adds"
    assert added["volumeMounts"][0]["mountPath"].endswith("serviceaccount"), "and the token is mounted there as well"
    assert "unknown" not in added


async def test_a_mutated_object_must_be_valid(api: Api, hooks: Hooks) -> None:
    await hooks.mutating(hooks.webhook("spoil", patch(add("/spec/restartPolicy", "Sometimes")), "pods"))
    answer = await api.post(PODS, api.pod("p"))
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    assert answer.json["details"]["causes"][0]["field"] == "spec.restartPolicy"


async def test_validating_webhooks_are_asked_side_by_side(api: Api, hooks: Hooks) -> None:
    both = asyncio.Barrier(2)

    async def meet(http: web.Request) -> web.Response:
        await both.wait()  # only goes on when the other one is asked at the same time
        review = await http.json()
        response = {"uid": review["request"]["uid"], "allowed": True}
        return web.json_response({**review, "response": response})

    await hooks.validating(hooks.webhook("one", meet), hooks.webhook("two", meet))
    assert (await hooks.config_map()).status == 201


async def test_warnings_reach_the_client(api: Api, hooks: Hooks) -> None:
    texts = ["careful", "", "two\nlines are no header", "really", "careful"]
    await hooks.validating(hooks.webhook("warn", allow(warnings=texts)))
    answer = await hooks.config_map()
    assert [value for name, value in answer.headers.items() if name == "Warning"] == [
        '299 - "careful"',
        '299 - "really"',
    ]
