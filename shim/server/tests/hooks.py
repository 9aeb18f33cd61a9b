"""Webhooks that are real HTTPS servers: what tests of them share."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from shim import pki
from shim.server.tests.conftest import Answer, Api

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


@asynccontextmanager
async def at_work(api: Api) -> AsyncIterator[Hooks]:
    """A webhook server, and no configuration that outlives it."""
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
