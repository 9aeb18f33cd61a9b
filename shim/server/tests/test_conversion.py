"""Custom resources whose versions a webhook converts: one object, two shapes."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest_asyncio
from aiohttp import web

from shim import pki
from shim.server.tests.conftest import Api
from shim.server.tests.widgets import CRDS, Widgets


@dataclass
class Webhook:
    """Splits ``spec.hostPort`` of v1 into ``spec.host`` and ``spec.port`` of v2, and joins them again."""

    url: str = ""
    bundle: str = ""
    sizes: list[int] = field(default_factory=list)
    broken: str = ""
    twist: Callable[[dict[str, Any]], dict[str, Any]] = dict
    """What it makes of its answer before it is sent."""

    async def handle(self, http: web.Request) -> web.Response:
        review = await http.json()
        asked = review["request"]
        self.sizes.append(len(asked["objects"]))
        result = {"status": "Failed", "message": self.broken} if self.broken else {"status": "Success"}
        made = [_convert(obj, asked["desiredAPIVersion"]) for obj in asked["objects"]]
        response = {"uid": asked["uid"], "result": result, "convertedObjects": [] if self.broken else made}
        answer = {"kind": review["kind"], "apiVersion": review["apiVersion"], "response": response}
        return web.json_response(self.twist(answer))


def _convert(obj: dict[str, Any], api_version: str) -> dict[str, Any]:
    spec = obj["spec"]
    if api_version.endswith("/v2"):
        host, _, port = spec["hostPort"].partition(":")
        spec = {"host": host, "port": int(port)}
    else:
        spec = {"hostPort": f"{spec['host']}:{spec['port']}"}
    return {**obj, "apiVersion": api_version, "spec": spec}


@pytest_asyncio.fixture(loop_scope="session")
async def webhook(api: Api) -> AsyncIterator[Webhook]:
    cert, key = pki.ensure_serving(api.directory, "convert", "convert", ["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    made = Webhook(bundle=base64.b64encode((api.directory / "pki" / "ca.crt").read_bytes()).decode())
    app = web.Application()
    app.router.add_post("/convert", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    made.url = f"https://127.0.0.1:{runner.addresses[0][1]}/convert"
    yield made
    await runner.cleanup()


async def defined(api: Api, webhook: Webhook, *selectable: tuple[str, ...]) -> Widgets:
    """Widgets in two versions; ``selectable`` are the fields that each of them can be selected by."""
    widgets = Widgets(api, versions=2)
    text, number = {"type": "string"}, {"type": "integer", "maximum": 65535}
    for version, fields in zip(
        widgets.crd["spec"]["versions"], ({"hostPort": text}, {"host": text, "port": number}), strict=True
    ):
        spec = {"type": "object", "properties": fields}
        version["schema"] = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
        for name in ("subresources", "selectableFields", "additionalPrinterColumns"):
            version.pop(name)
    for version, paths in zip(widgets.crd["spec"]["versions"], selectable, strict=False):
        version["selectableFields"] = [{"jsonPath": path} for path in paths]
    client = {"url": webhook.url, "caBundle": webhook.bundle}
    widgets.crd["spec"]["conversion"] = {
        "strategy": "Webhook",
        "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]},
    }
    return await widgets.define()


async def test_each_version_has_its_shape(api: Api, webhook: Webhook) -> None:
    widgets = await defined(api, webhook)
    for name in ("a", "b"):
        assert (await widgets.create(name, hostPort=f"{name}.example:80")).status == 201
    assert webhook.sizes == []  # what is stored is what was asked for
    shown = (await api.get(widgets.path("a", "v2"))).json
    assert (shown["apiVersion"], shown["spec"]) == (f"{widgets.group}/v2", {"host": "a.example", "port": 80})
    listed = (await api.get(widgets.path("", "v2"))).json
    assert [item["spec"]["host"] for item in listed["items"]] == ["a.example", "b.example"]
    assert webhook.sizes == [1, 1]  # what was converted before is known
    made = {**widgets.widget("c", host="c.example", port=99), "apiVersion": f"{widgets.group}/v2"}
    created = await api.post(widgets.path("", "v2"), made)
    assert (created.status, created.json["spec"]) == (201, {"host": "c.example", "port": 99})
    assert (await api.get(widgets.path("c"))).json["spec"] == {"hostPort": "c.example:99"}
    changed = await api.patch(widgets.path("a", "v2"), {"spec": {"port": 81}})
    assert changed.json["spec"] == {"host": "a.example", "port": 81}
    assert (await api.get(widgets.path("a"))).json["spec"] == {"hostPort": "a.example:81"}
    too_high = await api.patch(widgets.path("a", "v2"), {"spec": {"port": 70000}})
    assert too_high.message.endswith("spec.port in body should be less than or equal to 65535")
    events = await api.watch(widgets.path("", "v2"))
    assert [event["object"]["spec"]["port"] for event in events] == [81, 80, 99]
    assert (await api.delete(widgets.path("b", "v2"))).status == 200


async def test_each_version_is_selected_by_its_own_fields(api: Api, webhook: Webhook) -> None:
    widgets = await defined(api, webhook, (".spec.hostPort",), (".spec.host", ".spec.port"))

    async def names(version: str, selector: str) -> list[str]:
        answer = await api.get(f"{widgets.path('', version)}?fieldSelector={selector}")
        return [item["metadata"]["name"] for item in answer.json["items"]]

    for name, where in (("a", "here:80"), ("b", "here:81"), ("c", "there:80")):
        await widgets.create(name, hostPort=where)
    assert await names("v2", "spec.host=here") == ["a", "b"]
    assert await names("v2", "spec.host=here,spec.port!=80") == ["b"]
    assert await names("v1", "spec.hostPort=there:80") == ["c"]
    revision = (await api.get(widgets.path("", "v2"))).json["metadata"]["resourceVersion"]
    watched = f"{widgets.path('', 'v2')}?fieldSelector=spec.host=here&resourceVersion={revision}"
    await api.patch(widgets.path("b", "v2"), {"spec": {"host": "there"}})
    await api.delete(f"{widgets.path('', 'v2')}?fieldSelector=spec.host=here")
    events = await api.watch(watched)
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in events] == [
        ("DELETED", "b"),
        ("DELETED", "a"),
    ]
    assert [event["object"]["spec"] for event in events] == [
        {"host": "here", "port": 81},  # as it last matched
        {"host": "here", "port": 80},
    ]


async def test_a_webhook_that_fails(api: Api, webhook: Webhook) -> None:
    widgets = await defined(api, webhook)
    await widgets.create("a", hostPort="a:1")
    webhook.broken = "out of order"
    failed = await api.get(widgets.path("a", "v2"))
    kind = f"{widgets.group}/v1, Kind=Widget"
    assert (failed.status, failed.message) == (500, f"conversion webhook for {kind} failed: out of order")
    events = await api.watch(widgets.path("", "v2"))
    assert [event["type"] for event in events] == ["ERROR"]
    assert (await api.get(widgets.path("a"))).status == 200  # needs no conversion
    assert (await api.delete(f"{CRDS}/{widgets.name}")).status == 200
    await widgets.until(lambda crd: crd.get("reason") == "NotFound")


def _with(**response: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda answer: {**answer, "response": {**answer["response"], **response}}


def _first(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def twist(answer: dict[str, Any]) -> dict[str, Any]:
        [made] = answer["response"]["convertedObjects"]
        return _with(convertedObjects=[change(made)])(answer)

    return twist


def _metadata(**changed: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return _first(lambda made: {**made, "metadata": {**made["metadata"], **changed}})


async def test_answers_that_are_none_are_told_of(api: Api, webhook: Webhook) -> None:
    widgets = await defined(api, webhook)
    body = widgets.widget("a", hostPort="h:1")
    assert (await api.post(widgets.path(), body)).status == 201
    kind = f"conversion webhook for {widgets.group}/v1, Kind=Widget"
    wanted = f"(expected {widgets.group}/v2, received {widgets.group}/v9)"
    for number, (twist, message) in enumerate(
        (
            (_with(result={"status": "Failure"}), "failed: response.result.status was 'Failure', not 'Success'"),
            (lambda answer: {**answer, "response": None}, "failed: no response provided"),
            (
                lambda answer: {**answer, "apiVersion": "apiextensions.k8s.io/v1beta1"},
                "failed: converting (v1beta1.ConversionReview) to (v1.ConversionReview): unknown conversion",
            ),
            (_with(convertedObjects=[]), "returned 0 objects, expected 1"),
            (
                _first(lambda made: {**made, "apiVersion": f"{widgets.group}/v9"}),
                f"returned invalid object at index 0: invalid groupVersion {wanted}",
            ),
            (_metadata(name="b"), "returned invalid object: must have the same name: a != b"),
            (
                _metadata(labels={"a": 5}),
                "returned invalid metadata: metadata.labels[a] must be a string, but is int64 in converted object",
            ),
        )
    ):
        webhook.twist = dict
        changed = {"metadata": {"annotations": {"n": str(number)}}}  # so that nothing is remembered
        assert (await api.patch(widgets.path("a"), changed)).status == 200
        webhook.twist = twist
        refused = await api.get(widgets.path("a", "v2"))
        assert (refused.status, refused.message) == (500, f"{kind} {message}")
    tried = await api.post(f"{widgets.path(version='v2')}?dryRun=All", {**body, "apiVersion": f"{widgets.group}/v2",
        "metadata": {"name": "c"}, "spec": {"host": "h", "port": 1}})  # fmt: skip
    assert tried.message.startswith(kind.replace("/v1", "/v2"))  # it would not be stored
