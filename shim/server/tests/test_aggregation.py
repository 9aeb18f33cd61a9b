"""An extension server of our own: found, asked with our word about who asks, told of in discovery, and withdrawn."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest_asyncio
from aiohttp import web

from shim import pki
from shim.server.tests.conftest import Answer, Api

API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
FRUITS = {"name": "fruits", "singularName": "fruit", "namespaced": True, "kind": "Fruit", "verbs": ["get", "list"]}
DOCUMENT = {
    "swagger": "2.0",
    "paths": {
        "/apis/{group}/v1/fruits": {
            "get": {
                "produces": ["application/json"],
                "parameters": [{"name": "limit", "in": "query", "type": "integer"}],
                "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/Fruit"}}},
            }
        },
        "/else": {},
    },
    "definitions": {"Fruit": {"type": "object", "description": "sweet"}, "Unused": {"type": "object"}},
}


@dataclass
class Garden:
    """An extension server, and the APIService that leads to it."""

    api: Api
    group: str
    port: int = 0
    well: bool = True
    old: bool = False
    """Whether it tells of itself by OpenAPI version 2 alone."""
    asked: list[web.Request] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"v1.{self.group}"

    async def answer(self, http: web.Request) -> web.StreamResponse:
        self.asked.append(http)
        path = http.path.replace(self.group, "{group}")
        if not self.well:
            return web.Response(status=500)
        if path == "/apis/{group}/v1":
            return web.json_response({"kind": "APIResourceList", "groupVersion": "v1", "resources": [FRUITS]})
        if path == "/openapi/v2":
            text = web.json_response(DOCUMENT).text
            assert text is not None
            return web.Response(text=text.replace("{group}", self.group), headers={"ETag": '"1"'})
        if path == "/openapi/v3" and self.old:
            return web.Response(status=404)
        if path == "/openapi/v3":
            where = {"serverRelativeURL": f"/openapi/v3/apis/{self.group}/v1?hash=1"}
            return web.json_response({"paths": {f"apis/{self.group}/v1": where}})
        if path == "/apis/{group}/v1/talk":
            socket = web.WebSocketResponse()
            await socket.prepare(http)
            async for message in socket:
                await socket.send_str(f"{message.data}!")
            return socket
        if "watch" in http.query:
            response = web.StreamResponse()
            await response.prepare(http)
            for _ in range(2):
                await response.write(b'{"type":"ADDED"}\n')
            return response
        return web.json_response({"method": http.method, "path": http.path_qs, "body": await http.text()}, status=418)

    async def register(self, **spec: Any) -> Answer:
        service = {"namespace": self.api.namespace, "name": "garden", "port": self.port}
        bundle = base64.b64encode((self.api.directory / "pki" / "ca.crt").read_bytes()).decode()
        body = {
            "kind": "APIService",
            "apiVersion": "apiregistration.k8s.io/v1",
            "metadata": {"name": self.name},
            "spec": {
                "group": self.group,
                "version": "v1",
                "groupPriorityMinimum": 500,
                "versionPriority": 10,
                "service": service,
                "caBundle": bundle,
                **spec,
            },
        }
        return await self.api.post(API_SERVICES, body)

    async def condition(self) -> dict[str, Any]:
        status = (await self.api.get(f"{API_SERVICES}/{self.name}")).json.get("status") or {}
        return dict((status.get("conditions") or [{}])[0])

    async def told(self, **wanted: str) -> dict[str, Any]:
        """The condition, once it says this."""

        async def says() -> dict[str, Any] | None:
            found = await self.condition()
            return found if found.items() >= wanted.items() else None

        return await until(says)


async def until(ask: Callable[[], Any]) -> Any:
    """What something comes to, once it is true."""
    async with asyncio.timeout(60):
        while not (found := await ask()):  # noqa: ASYNC110  # the server's doing, seen from outside
            await asyncio.sleep(0.05)
    return found


@asynccontextmanager
async def listening(garden: Garden) -> AsyncIterator[None]:
    """The extension server at work: it believes nobody but the front proxy."""
    host = f"garden.{garden.api.namespace}.svc"
    cert, key = pki.ensure_serving(garden.api.directory, f"garden-{garden.group}", host, [host])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(garden.api.directory / "pki" / "front-proxy-ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    runner = web.ServerRunner(web.Server(garden.answer), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", garden.port, ssl_context=context)
    await site.start()
    garden.port = runner.addresses[0][1]
    yield
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def garden(api: Api) -> AsyncIterator[Garden]:
    made = Garden(api, f"{api.namespace}.example.com")
    service = {"type": "ExternalName", "externalName": "127.0.0.1"}
    body = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "garden"}, "spec": service}
    assert (await api.post("/api/v1/namespaces/{ns}/services", body)).status == 201
    async with listening(made):
        yield made
    await api.delete(f"{API_SERVICES}/{made.name}")


async def test_requests_reach_the_extension_server_with_who_asks(garden):
    api = garden.api
    assert (await garden.register()).status == 201
    await garden.told(status="True", reason="Passed", message="all checks passed")
    forged = {"X-Remote-User": "root", "X-Remote-Group": "system:masters", "x-remote-extra-a": "b"}
    asks = {"Impersonate-User": "eve", "Impersonate-Group": "system:masters", "Impersonate-Extra-Ex%2fy": "z"}
    answer = await api.post(f"/apis/{garden.group}/v1/namespaces/a/fruits?x=1", {"a": 1}, headers={**forged, **asks})
    path = f"/apis/{garden.group}/v1/namespaces/a/fruits?x=1"
    assert (answer.status, answer.json) == (418, {"method": "POST", "path": path, "body": '{"a":1}'})
    seen = garden.asked[-1].headers
    assert seen.getall("X-Remote-User") == ["eve"]
    assert seen.getall("X-Remote-Group") == ["system:masters", "system:authenticated"]
    assert seen.getall("X-Remote-Extra-ex%2Fy") == ["z"]
    assert "Impersonate-User" not in seen
    assert "X-Remote-Extra-A" not in seen
    assert "Authorization" not in seen
    stranger = {"Impersonate-User": "mallory"}
    assert (await api.get(f"/apis/{garden.group}/v1/fruits", headers=stranger)).status == 403
    lines = (await api.get(f"/apis/{garden.group}/v1/fruits?watch=1")).data.splitlines()
    assert lines == [b'{"type":"ADDED"}'] * 2
    claims = {"Connection": "Upgrade, X-Remote-User", "X-Remote-User": "root"}
    async with api.session.ws_connect(f"{api.url}/apis/{garden.group}/v1/talk", headers=claims) as socket:
        await socket.send_str("hello")
        assert (await socket.receive_str()) == "hello!"
    assert garden.asked[-1].headers["Connection"] == "Upgrade"
    assert garden.asked[-1].headers.getall("X-Remote-User") == ["kubernetes-admin"]


async def test_what_it_serves_is_told_of_and_withdrawn(garden):
    api, group = garden.api, garden.group
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

    async def told() -> Any:
        groups = (await api.get("/apis", accept=aggregated)).json["items"]
        return next((each["versions"] for each in groups if each["metadata"]["name"] == group), None)

    await garden.register()
    await garden.told(status="True")
    [version] = await until(told)
    [resource] = version["resources"]
    assert (version["freshness"], resource["resource"], resource["verbs"]) == ("Current", "fruits", ["get", "list"])
    names = [each["name"] for each in (await api.get("/apis")).json["groups"]]
    assert names[-1] == group  # it asked for a low place
    assert (await api.get(f"/apis/{group}")).json["preferredVersion"]["groupVersion"] == f"{group}/v1"
    assert (await api.get(f"/apis/{group}/v1")).json["resources"] == [FRUITS]
    document = (await api.get("/openapi/v2")).json
    assert f"/apis/{group}/v1/fruits" in document["paths"]
    assert "/else" not in document["paths"]
    assert document["definitions"]["Fruit"]["description"] == "sweet"
    assert "Unused" not in document["definitions"]
    where = (await api.get("/openapi/v3")).json["paths"][f"apis/{group}/v1"]["serverRelativeURL"]
    assert (await api.get(where)).json["path"] == where  # asked of the extension server
    await api.delete(f"{API_SERVICES}/{garden.name}")

    async def withdrawn() -> bool:
        return await told() is None

    await until(withdrawn)
    assert (await api.get(f"/apis/{group}")).status == 404
    assert (await api.get(f"/apis/{group}/v1/fruits")).status == 404
    assert f"/apis/{group}/v1/fruits" not in (await api.get("/openapi/v2")).json["paths"]


async def test_a_server_with_an_old_description_is_described_by_us(garden):
    api, group, name = garden.api, garden.group, f"apis/{garden.group}/v1"
    garden.old = True
    await garden.register()
    await garden.told(status="True")

    async def indexed() -> Any:
        return (await api.get("/openapi/v3")).json["paths"].get(name)

    where = (await until(indexed))["serverRelativeURL"]
    assert where.startswith(f"/openapi/v3/{name}?hash=")
    answer = await api.get(where)
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.json["openapi"] == "3.0.0"
    operation = answer.json["paths"][f"/apis/{group}/v1/fruits"]["get"]
    sweet = {"$ref": "#/components/schemas/Fruit"}
    assert operation["responses"]["200"]["content"] == {"application/json": {"schema": sweet}}
    assert operation["parameters"] == [{"name": "limit", "in": "query", "schema": {"type": "integer"}}]
    assert list(answer.json["components"]["schemas"]) == ["Fruit"]
    await api.delete(f"{API_SERVICES}/{garden.name}")

    async def withdrawn() -> bool:
        return (await api.get(where)).status == 404

    await until(withdrawn)


async def test_a_server_that_is_not_there_is_unavailable_until_it_is(garden, api):
    async def refused() -> bool:
        return (await api.get(f"/apis/{garden.group}/v1/fruits")).status == 503

    garden.well = False
    await garden.register()
    condition = await garden.told(status="False", reason="FailedDiscoveryCheck")
    url = f"https://127.0.0.1:{garden.port}/apis/{garden.group}/v1"
    assert condition["message"] == f"failing or missing response from {url}: bad status from {url}: 500"
    assert f'aggregator_unavailable_apiservice{{name="{garden.name}"}} 1.0' in (await api.get("/metrics")).data.decode()
    answer = await api.get(f"/apis/{garden.group}/v1/fruits")
    assert (answer.status, answer.data) == (503, b"service unavailable\n")
    garden.well = True
    await garden.told(status="True")
    assert (await api.get(f"/apis/{garden.group}/v1/fruits")).status == 418
    await api.delete("/api/v1/namespaces/{ns}/services/garden")
    await garden.told(
        status="False", reason="ServiceNotFound", message=f'service/garden in "{api.namespace}" is not present'
    )
    await until(refused)


async def test_a_certificate_nobody_vouches_for_is_believed_only_when_told_so(garden, api):
    await garden.register(
        caBundle=base64.b64encode((api.directory / "pki" / "front-proxy-ca.crt").read_bytes()).decode()
    )
    condition = await garden.told(status="False")
    assert condition["message"].endswith(
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    )
    blind = {"spec": {"caBundle": None, "insecureSkipTLSVerify": True}}
    assert (await api.patch(f"{API_SERVICES}/{garden.name}", blind)).status == 200
    await garden.told(status="True")


async def test_every_group_version_of_our_own_has_an_api_service(api):
    custom = {
        "kind": "CustomResourceDefinition",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"name": "stones.local.example.com"},
        "spec": {
            "group": "local.example.com",
            "scope": "Namespaced",
            "names": {"plural": "stones", "kind": "Stone"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await api.post(path, custom)).status == 201

    async def there() -> Any:
        answer = await api.get(f"{API_SERVICES}/v1.local.example.com")
        return answer.json if answer.status == 200 and answer.json.get("status") else None

    made = await until(there)
    assert made["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "true"}
    assert (made["spec"]["groupPriorityMinimum"], made["spec"]["versionPriority"]) == (1000, 100)
    assert made["status"]["conditions"][0]["reason"] == "Local"
    await api.delete(f"{API_SERVICES}/v1.local.example.com")
    assert (await until(there))["metadata"]["uid"] != made["metadata"]["uid"]  # it is wanted still
    await api.delete(f"{path}/stones.local.example.com")

    async def gone() -> bool:
        return (await api.get(f"{API_SERVICES}/v1.local.example.com")).status == 404

    await until(gone)


async def test_groups_are_listed_as_their_api_services_say(api):
    """All at once, and what is served, are another matter: who built the server has decided about these."""
    name, path = "v1.node.k8s.io", f"{API_SERVICES}/v1.node.k8s.io"
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

    async def listed() -> list[str]:
        return [each["name"] for each in (await api.get("/apis")).json["groups"]]

    async def becomes(wanted: Callable[[list[str]], bool]) -> None:
        async def asked() -> bool:
            return wanted(await listed())

        await until(asked)

    was, before = (await api.get(path)).json, await listed()
    group = (await api.get("/apis/node.k8s.io")).json
    at_once = (await api.get("/apis", accept=aggregated)).data
    await api.delete(path)
    await becomes(lambda names: "node.k8s.io" not in names)
    assert (await api.get("/apis", accept=aggregated)).data == at_once
    assert (await api.get("/apis/node.k8s.io")).json == group
    assert (await api.get("/apis/node.k8s.io/v1/runtimeclasses")).status == 200
    assert (await api.get(path)).status == 404  # until the server starts again
    spec = {**was["spec"], "groupPriorityMinimum": 19_000}
    made = await api.post(API_SERVICES, {**was, "metadata": {"name": name}, "spec": spec})
    assert made.json["status"]["conditions"][0]["reason"] == "Local"
    await becomes(lambda names: names[1] == "node.k8s.io")
    other = {"group": "node.k8s.io", "version": "v2", "groupPriorityMinimum": 1, "versionPriority": 999}
    await api.post(API_SERVICES, {**was, "metadata": {"name": "v2.node.k8s.io"}, "spec": other})

    async def preferred() -> bool:
        return bool((await api.get("/apis/node.k8s.io")).json["preferredVersion"]["version"] == "v2")

    await until(preferred)
    await api.delete(f"{API_SERVICES}/v2.node.k8s.io")
    await api.delete(path)
    await api.post(API_SERVICES, {**was, "metadata": {"name": name, "labels": was["metadata"]["labels"]}})
    await becomes(lambda names: names == before)


async def test_extension_servers_can_read_whom_to_believe(api):
    path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"

    async def published() -> Any:
        return (await api.get(path)).json.get("data")

    await until(published)
    await api.delete(path)
    data = await until(published)
    assert data["requestheader-client-ca-file"] == (api.directory / "pki" / "front-proxy-ca.crt").read_text()
    assert data["client-ca-file"] == (api.directory / "pki" / "ca.crt").read_text()
    assert data["requestheader-allowed-names"] == '["front-proxy-client"]'
    assert data["requestheader-extra-headers-prefix"] == '["X-Remote-Extra-"]'
    front = ssl.create_default_context(cafile=str(api.directory / "pki" / "ca.crt"))
    front.load_cert_chain(
        api.directory / "pki" / "front-proxy-client.crt", api.directory / "pki" / "front-proxy-client.key"
    )
    async with aiohttp.ClientSession() as session:  # our own clients' CA did not sign it
        try:
            async with session.get(f"{api.url}/api/v1/nodes", ssl=front) as answer:
                assert answer.status in (401, 403)
        except (aiohttp.ClientError, OSError):
            pass
