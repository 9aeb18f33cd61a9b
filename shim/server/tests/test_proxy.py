"""Requests passed on to pods, services and nodes, and what comes back."""

from __future__ import annotations

import asyncio
import gzip

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from shim.server import proxying
from shim.server.backends import Backend
from shim.server.subresources import proxy

PODS = "/api/v1/namespaces/{ns}/pods"
SERVICES = "/api/v1/namespaces/{ns}/services"


PACKED = {
    "/packed": gzip.compress(b'<a href="/rewriteme">test</a>'),
    "/bomb": gzip.compress(bytes(proxying.LARGEST_PAGE + 1), compresslevel=1),
    "/broken": b"no gzip at all",
}
ADDRESS = "10.9.9.9"  # of every pod here; what is sent there arrives at this machine


def _lead_here(monkeypatch):
    monkeypatch.setattr(proxy, "Backend", lambda host, port, tls: Backend("127.0.0.1", port, tls))


async def _echo(request):
    if request.path == "/page":
        return web.Response(text='<a href="/rewriteme">test</a>', content_type="text/html")
    if request.path in PACKED:
        return web.Response(body=PACKED[request.path], content_type="text/html", headers={"Content-Encoding": "gzip"})
    if request.path == "/away":
        return web.Response(status=302, headers={"Location": "/there?x=1", "Access-Control-Allow-Origin": "*"})
    if request.path == "/socket":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{message.data}!")
        return socket
    told = {
        "method": request.method,
        "path": request.raw_path,
        "body": (await request.read()).decode(),
        "headers": {name.lower(): value for name, value in request.headers.items()},
    }
    return web.json_response(told, status=418 if request.query.get("teapot") else 200)


@pytest_asyncio.fixture(loop_scope="session")
async def port(monkeypatch):
    """A server that tells what it was asked, in the place of a pod's."""
    _lead_here(monkeypatch)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _echo)
    async with TestServer(app) as server:
        yield server.port


async def _pod(api, port, name="p"):
    body = api.pod(name)
    body["spec"]["containers"][0]["ports"] = [{"containerPort": port, "name": "http"}]
    assert (await api.post(PODS, body)).status == 201
    status = {"status": {"podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}]}}
    assert (await api.patch(f"{PODS}/{name}/status", status)).status == 200


async def test_every_method_reaches_the_pod_with_path_query_and_body(api, port):
    await _pod(api, port)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        body = None if method in ("GET", "OPTIONS") else b"hello"
        answer = await api.ask(method, f"{PODS}/p/proxy/a/b%20c/?d=%26e", body)
        told = answer.json
        assert (told["method"], told["path"], told["body"]) == (method, "/a/b%20c/?d=%26e", (body or b"").decode())
    assert (await api.ask("HEAD", f"{PODS}/p/proxy/a")).status == 200
    assert (await api.get(f"{PODS}/http:p:{port}/proxy/x?teapot=1")).status == 418
    assert (await api.ask("TRACE", f"{PODS}/p/proxy/a")).status == 405


async def test_the_root_is_below_a_slash_and_links_lead_back(api, port):
    await _pod(api, port)
    base = f"{PODS}/p/proxy".replace("{ns}", api.namespace)
    async with api.session.get(f"{api.url}{base}?a=b", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (301, f"{base}/?a=b")
    assert (await api.get(f"{base}/page")).data.decode() == f'<a href="{base}/rewriteme">test</a>'
    assert (await api.get(f"{base}/packed")).data.decode() == f'<a href="{base}/rewriteme">test</a>'
    for weapon in ("bomb", "broken"):
        answer = await api.get(f"{base}/{weapon}")
        assert (answer.status, answer.json["reason"]) == (503, "ServiceUnavailable")
    async with api.session.get(f"{api.url}{base}/away", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, f"{base}/there?x=1")
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_nobodys_proof_of_identity_is_passed_on(api, port):
    await _pod(api, port)
    headers = {
        "Authorization": "Basic c2VjcmV0",
        "Impersonate-User": "system:admin",
        "Impersonate-Group": "system:masters",
    }
    told = (await api.get(f"{PODS}/p/proxy/a", headers=headers)).json["headers"]
    assert not [name for name in told if name.startswith(("authorization", "impersonate", "x-remote"))]
    assert told["x-forwarded-for"] == "127.0.0.1"
    assert told["x-forwarded-uri"].endswith("/pods/p/proxy/a")


async def test_a_websocket_goes_through(api, port):
    await _pod(api, port)
    url = f"{api.url}{PODS}/p/proxy/socket".replace("{ns}", api.namespace)
    async with api.session.ws_connect(url) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello!"


async def test_a_service_leads_to_its_pods_by_port_name_or_number(api, port):
    await _pod(api, port)
    spec = {"ports": [{"name": "web", "port": 80}], "selector": {"app": "x"}}
    await api.post(SERVICES, {"metadata": {"name": "s"}, "spec": spec})
    refused = await api.get(f"{SERVICES}/s/proxy/")
    assert (refused.status, refused.message) == (404, 'services "s" not found')
    target = {"kind": "Pod", "namespace": api.namespace, "name": "p"}
    subset = {"addresses": [{"ip": ADDRESS, "targetRef": target}], "ports": [{"name": "web", "port": port}]}
    stray = {"addresses": [{"ip": ADDRESS}], "ports": [{"name": "stray", "port": 1}]}
    made = await api.post("/api/v1/namespaces/{ns}/endpoints", {"metadata": {"name": "s"}, "subsets": [subset, stray]})
    assert made.status == 201
    for name in ("s:web", "s:80", "http:s:web"):
        assert (await api.get(f"{SERVICES}/{name}/proxy/a")).json["path"] == "/a"
    for name, said in (
        ("s", 'no endpoints available for service "s"'),
        ("s:81", 'no service port 81 found for service "s"'),
        ("s:stray", 'no endpoints available for service "s:stray"'),
    ):
        refused = await api.get(f"{SERVICES}/{name}/proxy/")
        assert (refused.status, refused.json["reason"], refused.message) == (503, "ServiceUnavailable", said)


async def test_what_cannot_be_reached_says_why(api, port, unused_tcp_port):
    await _pod(api, port)
    refused = await api.get(f"{PODS}/p:{unused_tcp_port}/proxy/")
    assert refused.status == 503
    said = f"error trying to reach service: dial tcp 127.0.0.1:{unused_tcp_port}: connect: connection refused"
    assert refused.message == said
    for name, code, said in (
        ("ftp:p:1", 400, 'invalid pod request "ftp:p:1"'),
        ("a:b:c:d", 400, 'invalid pod request "a:b:c:d"'),
        ("q", 404, 'pods "q" not found'),
    ):
        refused = await api.get(f"{PODS}/{name}/proxy/")
        assert (refused.status, refused.message) == (code, said)
    await api.patch(f"{PODS}/p/status", {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}})
    assert (await api.get(f"{PODS}/p/proxy/")).message == "address not allowed"
    assert (await api.get("/api/v1/nodes/nobody/proxy/pods")).message == 'nodes "nobody" not found'


async def test_a_client_that_leaves_ends_the_request_behind(api, monkeypatch):
    _lead_here(monkeypatch)
    left = asyncio.Event()
    begun = asyncio.Event()

    async def stay(reader, writer):
        begun.set()
        while await reader.read(1000):
            pass
        left.set()
        writer.close()

    async with await asyncio.start_server(stay, "127.0.0.1", 0) as server:
        await _pod(api, server.sockets[0].getsockname()[1])
        asking = asyncio.create_task(api.get(f"{PODS}/p/proxy/"))
        await begun.wait()
        asking.cancel()
        with pytest.raises((asyncio.CancelledError, aiohttp.ClientError)):
            await asking
        await asyncio.wait_for(left.wait(), 60)
