"""Paths that name no resource: discovery, OpenAPI, health, metrics, keys of tokens, and what there is at all."""

from __future__ import annotations

import orjson
from aiohttp import web

from shim.server import errors, health
from shim.server.discovery import Discovery
from shim.server.health import Health
from shim.server.metrics import MEDIA, Metrics
from shim.server.openapi import OpenApi
from shim.server.options import Query
from shim.server.responses import respond, respond_tagged
from shim.server.tokens import Tokens

OPEN = ("healthz", "livez", "readyz", "version")
"""What anyone may read, whatever the roles say: probes must work before there are roles."""


class Outside:
    """Answers them."""

    def __init__(
        self, discovery: Discovery, openapi: OpenApi, health: Health, metrics: Metrics, tokens: Tokens
    ) -> None:
        self._discovery, self._openapi = discovery, openapi
        self._health, self._metrics, self._tokens = health, metrics, tokens

    async def answer(self, http: web.BaseRequest, path: str, query: Query) -> web.StreamResponse:
        """Raises 404, 405 and 406."""
        if path.startswith("/api"):
            return await self._discover(http, path)
        if path.startswith("/openapi/"):
            _must_read(http)
            return await self._openapi.answer(http, path, query)
        if path.rstrip("/") == "/version":
            return health.version()
        if (answer := self._health.answer(path, query)) is not None:
            return answer
        if path == "/metrics":
            return respond(self._metrics.text(), 200, MEDIA)
        if path == "/openid/v1/jwks":
            return respond(orjson.dumps(self._tokens.public_keys()), 200, "application/jwk-set+json")
        if path == "/.well-known/openid-configuration":
            return respond(orjson.dumps(self._tokens.configuration()))
        if path == "/":
            return respond(orjson.dumps({"paths": self._discovery.paths()}))
        raise errors.page_not_found()

    async def _discover(self, http: web.BaseRequest, path: str) -> web.StreamResponse:
        document = self._discovery.document(path)
        if document is None:
            raise errors.no_such_resource() if path.startswith("/api/") else errors.page_not_found()
        _must_read(http)
        if found := self._discovery.aggregated(path, http.headers.get("Accept", "")):
            return await respond_tagged(http, *found)
        return await respond_tagged(http, document)


def _must_read(http: web.BaseRequest) -> None:
    if http.method not in ("GET", "HEAD"):
        raise errors.method_not_allowed()
