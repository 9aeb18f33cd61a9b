"""Webhooks that are real HTTPS servers: what they are sent, what they change, refuse, and break."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import pytest_asyncio
from aiohttp import web

from shim import pki
from shim.server.tests.conftest import Answer, Api
from shim.server.tests.test_custom import Widgets

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"
CONFIG_MAPS = "/api/v1/namespaces/{ns}/configmaps"
PODS = "/api/v1/namespaces/{ns}/pods"
Handler = Callable[[dict[str, Any]], dict[str, Any]]


def allow(**more: Any) -> Handler:
    return lambda request: {"allowed": True, **more}


def deny(**status: Any) -> Handler:
    return lambda request: {"allowed": False, **({"status": status} if status else {})}


def patch(*operations: dict[str, Any]) -> Handler:
    text = base64.b64encode(orjson.dumps(operations)).decode()
    return allow(patch=text, patchType="JSONPatch")


def add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


@dataclass
class Hooks:
    """A webhook server, and the configurations that lead to it."""

    api: Api
    url: str
    bundle: str
    handlers: dict[str, Handler] = field(default_factory=dict)
    seen: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    async def handle(self, http: web.Request) -> web.Response:
        review = await http.json()
        name = http.path.strip("/")
        self.seen.setdefault(name, []).append(review)
        handler = self.handlers[name]
        if asyncio.iscoroutinefunction(handler):
            return await handler(http)
        response = {"uid": review["request"]["uid"], **handler(review["request"])}
        return web.json_response({"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response})

    def requests(self, name: str) -> list[dict[str, Any]]:
        return [review["request"] for review in self.seen.get(name, ())]

    def webhook(self, name: str, handler: Any, resource: str = "configmaps", **more: Any) -> dict[str, Any]:
        self.handlers[name] = handler
        group, _, plural = resource.rpartition(":")
        return {
            "name": f"{name}.example.com",
            "clientConfig": {"url": f"{self.url}/{name}", "caBundle": self.bundle},
            "rules": [{"operations": ["*"], "apiGroups": [group], "apiVersions": ["v1"], "resources": [plural]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.api.namespace}},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            **more,
        }

    async def configure(self, kind: str, *webhooks: dict[str, Any], name: str = "") -> Answer:
        name = name or f"{kind.lower()}-{self.api.namespace}"
        path = f"{CONFIGURATIONS}/{kind.lower()}webhookconfigurations"
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": f"{kind}WebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": list(webhooks),
        }
        answer = await self.api.post(path, body)
        if answer.status == 201:
            self.made.append(f"{path}/{name}")
        return answer

    async def validating(self, *webhooks: dict[str, Any]) -> None:
        assert (await self.configure("Validating", *webhooks)).status == 201

    async def mutating(self, *webhooks: dict[str, Any], name: str = "") -> None:
        assert (await self.configure("Mutating", *webhooks, name=name)).status == 201

    async def config_map(self, name: str = "c", query: str = "", **more: Any) -> Answer:
        return await self.api.post(CONFIG_MAPS + query, self.api.configmap(name, **more))


@pytest_asyncio.fixture(loop_scope="session")
async def hooks(api: Api) -> AsyncIterator[Hooks]:
    cert, key = pki.ensure_serving(api.directory, "hook", "hook", ["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    made = Hooks(api, "", base64.b64encode((api.directory / "pki" / "ca.crt").read_bytes()).decode())
    app = web.Application()
    app.router.add_post("/{name}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    made.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    for path in made.made:
        await api.delete(path)
    await runner.cleanup()


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


BROKEN: list[tuple[dict[str, Any], str]] = [
    (
        {"patch": "W10="},
        "received invalid webhook response: webhook returned response.patch but not response.patchType",
    ),
    (
        {"patchType": "JSONPatch"},
        "received invalid webhook response: webhook returned response.patchType but not response.patch",
    ),
    ({"uid": "x"}, 'received invalid webhook response: expected response.uid="'),
    (
        {"patch": base64.b64encode(b"[{}]").decode(), "patchType": "Merge"},
        'unsupported patch type "Merge"',
    ),
    ({"patch": base64.b64encode(b"{").decode(), "patchType": "JSONPatch"}, "received undecodable patch in webhook"),
]


@pytest.mark.parametrize(("response", "why"), BROKEN)
async def test_an_answer_that_is_none_fails_the_request(
    api: Api, hooks: Hooks, response: dict[str, Any], why: str
) -> None:
    await hooks.mutating(hooks.webhook("broken", allow(**response)))
    answer = await hooks.config_map()
    assert (answer.status, answer.json["reason"]) == (500, "InternalError")
    assert answer.message.startswith(f'Internal error occurred: failed calling webhook "broken.example.com": {why}'), (
        answer.message
    )


async def test_a_patch_that_does_not_apply_fails_the_request(api: Api, hooks: Hooks) -> None:
    await hooks.mutating(hooks.webhook("broken", patch({"op": "remove", "path": "/data/none"})))
    answer = await hooks.config_map()
    assert answer.status == 500
    assert answer.message.startswith("Internal error occurred: "), answer.message


async def test_a_webhook_that_cannot_be_reached(api: Api, hooks: Hooks) -> None:
    nowhere = hooks.webhook("nowhere", allow())
    nowhere["clientConfig"]["url"] = "https://127.0.0.1:1/x"
    await hooks.validating(nowhere)
    answer = await hooks.config_map()
    assert answer.status == 500
    assert answer.message == (
        'Internal error occurred: failed calling webhook "nowhere.example.com": failed to call webhook: '
        'Post "https://127.0.0.1:1/x?timeout=10s": dial tcp 127.0.0.1:1: connect: connection refused'
    )


async def test_a_webhook_may_be_allowed_to_fail(api: Api, hooks: Hooks) -> None:
    nowhere = hooks.webhook("nowhere", allow(), failurePolicy="Ignore")
    nowhere["clientConfig"]["url"] = "https://127.0.0.1:1/x"
    await hooks.validating(nowhere, hooks.webhook("deny", deny(message="but this one"), failurePolicy="Ignore"))
    assert (await hooks.config_map()).message.endswith("denied the request: but this one"), "a refusal is no failure"


async def test_a_certificate_must_be_vouched_for(api: Api, hooks: Hooks) -> None:
    stranger = hooks.webhook("stranger", allow())
    del stranger["clientConfig"]["caBundle"]
    await hooks.validating(stranger)
    answer = await hooks.config_map()
    assert answer.message.endswith(
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    ), answer.message


async def test_a_service_that_is_missing(api: Api, hooks: Hooks) -> None:
    lost = hooks.webhook("lost", allow())
    lost["clientConfig"] = {"service": {"name": "s", "namespace": api.namespace, "path": "/check"}}
    await hooks.validating(lost)
    assert (await hooks.config_map()).message.endswith(
        f'Post "https://s.{api.namespace}.svc:443/check?timeout=10s": service "s" not found'
    )


async def test_a_slow_webhook_is_given_up(api: Api, hooks: Hooks) -> None:
    gone = asyncio.Event()

    async def slow(http: web.Request) -> web.Response:
        await gone.wait()
        return web.Response()

    await hooks.validating(hooks.webhook("slow", slow, timeoutSeconds=1))
    answer = await hooks.config_map()
    gone.set()
    assert answer.status == 500
    assert answer.message.endswith('slow?timeout=1s": context deadline exceeded'), answer.message


async def test_an_error_of_the_webhooks_server_is_told(api: Api, hooks: Hooks) -> None:
    async def broken(http: web.Request) -> web.Response:
        return web.Response(status=500, text="out of order")

    await hooks.validating(hooks.webhook("broken", broken))
    assert (await hooks.config_map()).message.endswith(
        'failed to call webhook: an error on the server ("out of order") has prevented the request from succeeding'
    )


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
    await hooks.validating(hooks.webhook("warn", allow(warnings=["careful", "really"])))
    answer = await hooks.config_map()
    assert [value for name, value in answer.headers.items() if name == "Warning"] == [
        '299 - "careful"',
        '299 - "really"',
    ]


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


async def test_a_scale_is_shown_as_one(api: Api, hooks: Hooks) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    path = "/apis/apps/v1/namespaces/{ns}/deployments"
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    assert (await api.post(path, body)).status == 201
    fewer = patch({"op": "replace", "path": "/spec/replicas", "value": 3})
    await hooks.mutating(hooks.webhook("scale", fewer, "apps:deployments/scale"))
    answer = await api.patch(path + "/d/scale", {"spec": {"replicas": 9}})
    assert (answer.status, answer.json["spec"]) == (200, {"replicas": 3})
    (request,) = hooks.requests("scale")
    assert request["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert request["subResource"] == "scale"
    assert (request["oldObject"]["spec"], request["object"]["spec"]) == ({"replicas": 1}, {"replicas": 9})
    assert (await api.get(path + "/d")).json["spec"]["replicas"] == 3


async def test_equivalent_versions_are_converted(api: Api, hooks: Hooks) -> None:
    seen = hooks.webhook("scaler", allow(), "autoscaling:horizontalpodautoscalers")
    seen["rules"][0]["apiVersions"] = ["v2"]
    exact = hooks.webhook("exact", deny(), "autoscaling:horizontalpodautoscalers", matchPolicy="Exact")
    exact["rules"][0]["apiVersions"] = ["v2"]
    await hooks.validating(seen, exact)
    body = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {
            "maxReplicas": 3,
            "targetCPUUtilizationPercentage": 80,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        },
    }
    answer = await api.post("/apis/autoscaling/v1/namespaces/{ns}/horizontalpodautoscalers", body)
    assert answer.status == 201, answer.json
    (request,) = hooks.requests("scaler")
    assert (request["resource"]["version"], request["requestResource"]["version"]) == ("v2", "v1")
    assert request["object"]["apiVersion"] == "autoscaling/v2"
    assert request["object"]["spec"]["metrics"][0]["type"] == "Resource"


async def test_orders_and_connections_are_admitted(api: Api, hooks: Hooks) -> None:
    assert (await api.post(PODS, api.pod("p"))).status == 201
    await hooks.validating(
        hooks.webhook("bind", deny(), "pods/binding"),
        hooks.webhook("evict", deny(), "pods/eviction"),
        hooks.webhook("attach", deny(), "pods/attach"),
    )
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n"},
    }
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    for name, answer, operation, kind in (
        ("bind", await api.post(PODS + "/p/binding", binding), "CREATE", "Binding"),
        ("evict", await api.post(PODS + "/p/eviction", eviction), "CREATE", "Eviction"),
        ("attach", await api.post(PODS + "/p/attach?stdout=1", b""), "CONNECT", "PodAttachOptions"),
    ):
        assert answer.message == f'admission webhook "{name}.example.com" denied the request without explanation'
        (request,) = hooks.requests(name)
        assert (request["operation"], request["kind"]["kind"]) == (operation, kind)
    assert hooks.requests("attach")[0]["object"]["stdout"] is True


async def test_custom_resources_are_converted_mutated_and_pruned(api: Api, hooks: Hooks) -> None:
    widgets = Widgets(api, versions=2)
    await widgets.define()
    resource = f"{widgets.group}:widgets"
    change = patch(add("/spec/color", "blue"), add("/spec/unknown", 1))
    other = hooks.webhook("paint", change, resource)
    other["rules"][0]["apiVersions"] = ["v2"]
    await hooks.mutating(other)
    await hooks.validating(hooks.webhook("deny", deny(), resource, objectSelector={"matchLabels": {"no": "way"}}))
    made = await widgets.create(size=3)
    assert made.status == 201, made.json
    assert made.json["spec"] == {"size": 3, "color": "blue"}, "what the schema does not know is pruned again"
    assert made.json["apiVersion"] == f"{widgets.group}/v1"
    (request,) = hooks.requests("paint")
    assert request["object"]["apiVersion"] == f"{widgets.group}/v2", "the rule names another version: it is converted"
    assert request["requestKind"]["version"] == "v1"
    marked = await api.patch(widgets.path("a"), {"metadata": {"labels": {"no": "way"}}})
    assert marked.message == 'admission webhook "deny.example.com" denied the request without explanation'
