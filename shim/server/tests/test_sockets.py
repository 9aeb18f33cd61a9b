"""Logs and watches read through WebSockets, as browsers do."""

from __future__ import annotations

import asyncio
import base64
import json

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from shim.codec import media
from shim.codec.definitions import load_schema
from shim.server.tests.kubelets import kubelet, never_silent

CONFIGMAPS = "/api/v1/namespaces/{ns}/configmaps"
SAID = [b"first line\n", b"second line, not \xff text\n"]


async def _say(request: web.BaseRequest) -> web.StreamResponse:
    if "previous" in request.query:
        return web.Response(status=400, text="previous terminated container not found")
    return web.Response(body=b"".join(SAID))


@pytest.mark.parametrize("protocol", ["", "binary.k8s.io", "base64.binary.k8s.io"])
async def test_a_log_comes_in_messages_of_the_agreed_kind(api, protocol):
    async with (
        kubelet(api, _say) as url,
        api.session.ws_connect(url, protocols=[protocol] if protocol else []) as socket,
    ):
        assert (socket.protocol or "") == protocol
        messages = [message async for message in socket]
    wanted = WSMsgType.TEXT if protocol.startswith("base64") else WSMsgType.BINARY
    assert {message.type for message in messages} == {wanted}
    assert not messages[0].data  # upstream begins so
    whole = b"".join(base64.b64decode(each.data) if protocol.startswith("base64") else each.data for each in messages)
    assert whole == b"".join(SAID)


async def test_a_log_that_cannot_be_read_is_refused_before_the_handshake(api):
    async with kubelet(api, _say) as url:
        for query, protocol, status in (("?previous=true", "binary.k8s.io", 400), ("", "v4.channel.k8s.io", 403)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await api.session.ws_connect(url + query, protocols=[protocol])
            assert caught.value.status == status


async def test_a_reader_that_closes_its_socket_ends_the_request_behind(api):
    left = asyncio.Event()
    async with kubelet(api, never_silent(left)) as url:
        async with api.session.ws_connect(f"{url}?follow=true") as socket:
            await socket.receive()
        await asyncio.wait_for(left.wait(), 60)


@pytest.mark.parametrize("form", [media.JSON, media.PROTOBUF])
async def test_a_watch_sends_each_event_as_a_message(api, form):
    for name in ("a", "b"):
        await api.post(CONFIGMAPS, api.configmap(name))
    url = f"{api.url}{CONFIGMAPS.replace('{ns}', api.namespace)}?watch=1&resourceVersion=0"
    async with api.session.ws_connect(url, headers={"Accept": form}) as socket:
        await api.post(CONFIGMAPS, api.configmap("c"))
        seen = []
        for _ in "abc":
            message = await socket.receive(20)
            if form == media.JSON:
                event = json.loads(message.data)
                seen.append((event["type"], event["object"]["metadata"]["name"]))
            else:
                type, obj = media.protobuf(load_schema()).decode_event(message.data)
                seen.append((type, obj["metadata"]["name"]))
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]


async def test_a_watch_whose_time_is_up_closes_its_socket(api):
    url = f"{api.url}{CONFIGMAPS.replace('{ns}', api.namespace)}?watch=1&timeoutSeconds=1"
    async with api.session.ws_connect(url) as socket:
        assert [message async for message in socket] == []


def bearer(token: str) -> str:
    return "base64url.bearer.authorization.k8s.io." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


async def test_a_browser_says_its_token_as_a_protocol(api):
    account = "/api/v1/namespaces/{ns}/serviceaccounts"
    await api.post(account, {"metadata": {"name": "browser"}})
    token = (await api.post(f"{account}/browser/token", {"spec": {}})).json["status"]["token"]
    subject = {"kind": "ServiceAccount", "name": "browser", "namespace": api.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings"
    await api.post(bindings, {"metadata": {"name": "view"}, "subjects": [subject], "roleRef": role})
    url = (api.url + CONFIGMAPS).replace("{ns}", api.namespace) + "?watch=1&timeoutSeconds=1"
    async with api.anonymous.ws_connect(url, protocols=[bearer(token), "binary.k8s.io"]) as socket:
        assert socket.protocol == "binary.k8s.io"
    for protocols, status in (
        ([bearer(token)], 401),  # there must be one to agree on
        ([bearer(token), bearer(token), "binary.k8s.io"], 401),
        ([bearer("nobody's"), "binary.k8s.io"], 401),
        ([f"{bearer(token)}=", "binary.k8s.io"], 401),
        ([bearer(""), "binary.k8s.io"], 403),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await api.anonymous.ws_connect(url, protocols=protocols)
        assert caught.value.status == status, protocols
