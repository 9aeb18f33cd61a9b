"""Custom resources whose versions a webhook converts: one object, two shapes."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest_asyncio
from aiohttp import web

from shim import pki
from shim.server.tests.conftest import Api
from shim.server.tests.test_custom import CRDS, Widgets


@dataclass
class Webhook:
    """Splits ``spec.hostPort`` of v1 into ``spec.host`` and ``spec.port`` of v2, and joins them again."""

    url: str = ""
    bundle: str = ""
    sizes: list[int] = field(default_factory=list)
    broken: str = ""

    async def handle(self, http: web.Request) -> web.Response:
        review = await http.json()
        asked = review["request"]
        self.sizes.append(len(asked["objects"]))
        result = {"status": "Failed", "message": self.broken} if self.broken else {"status": "Success"}
        made = [_convert(obj, asked["desiredAPIVersion"]) for obj in asked["objects"]]
        response = {"uid": asked["uid"], "result": result, "convertedObjects": [] if self.broken else made}
        return web.json_response({"kind": review["kind"], "apiVersion": review["apiVersion"], "response": response})


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
