"""Paths that name no resource: discovery, OpenAPI, health, metrics, keys of tokens, and what there is at all."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from aiohttp import web

from shim.api.keys import is_built_in
from shim.api.meta import Object
from shim.api.schema import Schema
from shim.codec.media import encode
from shim.server import errors, zpages
from shim.server.discovery import Discovery
from shim.server.health import Health
from shim.server.metric_sources import checks_text
from shim.server.metrics import MEDIA, Metrics
from shim.server.negotiation import JSON, check_accepted, form_of_document
from shim.server.openapi import OpenApi
from shim.server.options import Query
from shim.server.responses import plain, respond, respond_large, respond_tagged
from shim.server.routes import BROKEN
from shim.server.tokens import Tokens
from shim.server.zpages import ZPages

Dump = Callable[[str, Query], str | None]
_KEYS = "application/jwk-set+json"
OPEN = ("/healthz", "/livez", "/readyz", "/version", "/version/")
"""What anyone may read, whatever the roles say: probes must work before there are roles."""


class Outside:
    """Answers them."""

    def __init__(
        self,
        discovery: Discovery,
        openapi: OpenApi,
        health: Health,
        metrics: Metrics,
        tokens: Tokens,
        schema: Schema,
        zpages: ZPages,
        dump: Dump,
    ) -> None:
        """``dump``: tables for people, at paths below /debug/."""
        self._discovery, self._openapi, self._schema = discovery, openapi, schema
        self._health, self._metrics, self._tokens, self._zpages = health, metrics, tokens, zpages
        self._dump = dump

    async def answer(self, http: web.BaseRequest, path: str, query: Query) -> web.StreamResponse:
        """Raises 400, 404, 405 and 406."""
        if BROKEN.search(path):
            raise errors.PlainError(400, "400 Bad Request")
        if path.startswith("/api"):
            return await self._discover(http, path)
        if path.startswith("/openapi/"):
            _must_read(http)
            return await self._openapi.answer(http, path, query)
        if path.rstrip("/") == "/version":
            _must_read(http, head=False)
            check_accepted(http.headers.get("Accept") or JSON, JSON)
            return zpages.version()
        if (answer := self._health.answer(path, query)) is not None:
            return answer
        if (answer := self._zpages.answer(path, http.headers.get("Accept", ""))) is not None:
            return answer
        if path == "/metrics":
            response = respond(self._metrics.text(), 200, MEDIA)
            response.headers["Process-Start-Time-Unix"] = str(self._zpages.began)
            return response
        if path == "/metrics/slis":
            return respond(checks_text(self._health.results()), 200, MEDIA)
        if path == "/openid/v1/jwks":
            _must_read(http, head=False)
            return _kept(http, self._tokens.public_keys(), _KEYS)
        if path == "/.well-known/openid-configuration":
            _must_read(http, head=False)
            return _kept(http, self._tokens.configuration(), JSON)
        if path.startswith("/debug/") and (text := self._dump(path, query)) is not None:
            return plain(text)
        if path in ("/", "/index.html"):
            return respond(orjson.dumps({"paths": self._discovery.paths()}))
        raise errors.page_not_found()

    async def _discover(self, http: web.BaseRequest, path: str) -> web.StreamResponse:
        document = self._discovery.document(path)
        if document is None:
            raise errors.no_such_resource() if self._is_below_group(path) else errors.page_not_found()
        routed = self._discovery.routed(path)
        _must_read(http, head=not routed)
        accept = http.headers.get("Accept", "")
        if found := self._discovery.aggregated(path, accept):
            response = await respond_tagged(http, *found)
            response.headers["Cache-Control"] = "public"
            return response
        if accept and routed:
            check_accepted(accept)
        media = form_of_document(accept)
        return await respond_large(http, encode(media, document, self._schema), media)

    def _is_below_group(self, path: str) -> bool:
        """Whether a path names a version that a built-in group does not have."""
        root, _, group = path.strip("/").rpartition("/")[0].partition("/")
        return root == "api" or (is_built_in(group) and self._discovery.document(f"/apis/{group}") is not None)


def _kept(http: web.BaseRequest, document: Object, media: str) -> web.Response:
    """A document that clients may keep for an hour. Raises 406."""
    check_accepted(http.headers.get("Accept") or media, media)
    response = respond(orjson.dumps(document), 200, media)
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def _must_read(http: web.BaseRequest, *, head: bool = True) -> None:
    """``head``: upstream answers HEAD here. Raises 405."""
    if http.method != "GET" and not (head and http.method == "HEAD"):
        raise errors.method_not_allowed()
