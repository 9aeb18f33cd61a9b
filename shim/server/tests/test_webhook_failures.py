"""Webhooks that cannot be asked, or answer what is no answer: what the client is told, and when it is let through."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from aiohttp import web

from shim.server.tests.conftest import Api
from shim.server.tests.hooks import Hooks, allow, deny, patch

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
    (
        {"patch": base64.b64encode(b"{}").decode(), "patchType": "JSONPatch"},
        "received undecodable patch in webhook response: json: cannot unmarshal object into Go value of type "
        "jsonpatch.Patch",
    ),
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


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            {"status": 500, "text": "out of order"},
            'an error on the server ("out of order") has prevented the request from succeeding',
        ),
        (
            {"status": 500, "text": "out of order", "content_type": "application/json"},
            'an error on the server ("unknown") has prevented the request from succeeding',
        ),
        (
            {"status": 200, "content_type": "application/json"},
            "0-length response with status code: 200 and content type: application/json",
        ),
    ],
)
async def test_an_error_of_the_webhooks_server_is_told(
    api: Api, hooks: Hooks, answer: dict[str, Any], why: str
) -> None:
    async def broken(http: web.Request) -> web.Response:
        return web.Response(**answer)

    await hooks.validating(hooks.webhook("broken", broken))
    assert (await hooks.config_map()).message.endswith(f"failed to call webhook: {why}")
