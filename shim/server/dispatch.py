"""From an HTTP request to its answer: who asks, may they, what handles it. Every request comes by here.

The order is upstream's: authentication, then authorisation (also of paths that name nothing), then the look-up.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import orjson
from aiohttp import web

from shim.api.status import ApiError
from shim.server import errors, health, read, reviews, subresources, write
from shim.server.authn import Authenticator
from shim.server.discovery import Discovery
from shim.server.facets import FACETS, Facet
from shim.server.health import METRICS_TYPE, Health, Metrics
from shim.server.openapi import OpenApi
from shim.server.options import ListOptions, Query, first, is_watch, parse_query
from shim.server.parts import Call, Parts
from shim.server.responses import plain, refuse, respond, respond_large, warning
from shim.server.routes import RequestInfo, parse
from shim.server.selection import single_name
from shim.server.watch import Watchers

Handler = Callable[[Call], Awaitable[web.StreamResponse]]
FacetHandler = Callable[[Call, Facet], Awaitable[web.StreamResponse]]

_ON_OBJECTS: dict[str, Handler] = {
    "get": read.get,
    "list": read.list_,
    "create": write.create,
    "update": write.update,
    "patch": write.patch,
    "delete": write.delete,
    "deletecollection": write.delete_collection,
}
_ON_FACETS: dict[str, FacetHandler] = {"get": read.get, "update": write.update, "patch": write.patch}
_ACTS = ("attach", "exec", "portforward")
"""A WebSocket opens them by GET, which would let whoever may read act: the right to create is asked as well."""
_OPEN = ("healthz", "livez", "readyz", "version")
"""What anyone may read, whatever the roles say: probes must work before there are roles."""


class Dispatcher:
    """Answers requests."""

    def __init__(self, parts: Parts, authenticator: Authenticator, discovery: Discovery, openapi: OpenApi) -> None:
        self._parts = parts
        self._authenticator = authenticator
        self._discovery = discovery
        self._openapi = openapi
        self.watchers = Watchers()
        self.health = Health()
        self.metrics = Metrics()

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """The handler of the HTTP server. Raises only when a connection breaks halfway through an answer."""
        began = time.perf_counter()
        path, _, query_text = http.raw_path.partition("?")
        info = RequestInfo(http.method.lower(), path)
        response: web.StreamResponse
        try:
            query = parse_query(query_text)
            info = parse(http.method, path, bool(query) and is_watch(query))
            if query and info.resource and not info.name and (selector := first(query, "fieldSelector")):
                info.name = single_name(ListOptions(field_selector=selector))
                response = await self._answer(http, info, query, selected=True)
            else:
                response = await self._answer(http, info, query)
        except ApiError as error:
            response = refuse(error)
        except errors.PlainError as error:
            response = plain(error.text, error.code)
        except ConnectionError:
            if http.transport is not None and not http.transport.is_closing():
                raise  # not the client's connection: the answer stops short, and the client's ends too
            return web.Response()  # nobody is there to read it; to raise would make a traceback of a daily event
        except Exception as error:
            response = refuse(errors.translate(error, f"{http.method} {http.raw_path}"))
        self.metrics.count(info, response.status, began)
        return response

    async def _answer(
        self, http: web.BaseRequest, info: RequestInfo, query: Query, *, selected: bool = False
    ) -> web.StreamResponse:
        parts = self._parts
        user = self._authenticator.user_of(http)
        if not info.resource:
            if info.path.lstrip("/").partition("/")[0] not in _OPEN:
                parts.authorizer.require(user, info)
            return await self._outside(http, info, query)
        parts.authorizer.require(user, info)
        if selected:
            info.name = ""  # it was for authorisation alone: the request is still one of a collection
        resource, subresource = parts.routes.find(info)
        call = Call(http, parts, user, info, query, resource, subresource)
        try:
            response = await self._act(call)
        except ApiError as refusal:
            refusal.warnings = call.warnings  # what was noticed before the refusal is still worth knowing
            raise
        if resource.deprecated and not response.prepared:
            response.headers.add("Warning", warning(resource.deprecated))
        return response

    async def _act(self, call: Call) -> web.StreamResponse:
        """What the request asks of a resource."""
        info, resource, subresource = call.info, call.resource, call.subresource
        if info.verb != "watch" and first(call.query, "resourceVersion") != "0":  # who wants any state need not wait
            await call.parts.cache.fresh()
        if subresource is None:
            if info.verb == "watch":
                return await self.watchers.serve(call)
            if resource.kind in reviews.REVIEWS:
                return await reviews.review(call)
            if resource.name == "bindings":
                return await subresources.bind_named(call)
            return await _ON_OBJECTS[info.verb](call)
        name = subresource.name
        if facet := FACETS.get(name):
            return await _ON_FACETS[info.verb](call, facet)
        key = (resource.name, name)
        handler = subresources.ORDERS.get(key) or subresources.CONNECT.get(key)
        if info.verb == "get" and name in _ACTS:
            call.parts.authorizer.require(call.user, replace(info, verb="create"))
        if key in subresources.CONNECT:
            await subresources.admit_connection(call)
        if handler is None:
            raise ApiError(501, "NotImplemented", f"{resource.name}/{name} is not built in this server")
        return await handler(call)

    async def _outside(self, http: web.BaseRequest, info: RequestInfo, query: Query) -> web.StreamResponse:
        """Paths that name no resource."""
        path = info.path
        if path.startswith(("/api", "/apis")):
            if (document := self._discovery.document(path)) is not None:
                _must_read(http)
                accept = http.headers.get("Accept", "")
                if found := self._discovery.aggregated(path, accept):
                    return await respond_large(http, *found)
                return await respond_large(http, document)
            if path.startswith("/api/"):
                raise errors.no_such_resource()
            raise errors.page_not_found()
        if path.startswith("/openapi/"):
            _must_read(http)
            return await self._openapi.answer(http, path, query)
        if path.rstrip("/") == "/version":
            return health.version()
        if (answer := self.health.answer(path, query)) is not None:
            return answer
        if path == "/metrics":
            return respond(self._measure(), 200, METRICS_TYPE)
        if path == "/openid/v1/jwks":
            return respond(_json(self._parts.tokens.public_keys()), 200, "application/jwk-set+json")
        if path == "/.well-known/openid-configuration":
            return respond(_json(self._parts.tokens.configuration()))
        if path == "/":
            return respond(_json({"paths": self._discovery.paths()}))
        raise errors.page_not_found()

    def _measure(self) -> bytes:
        self.metrics.watchers.set(len(self.watchers))
        for row in self._parts.routes.resources:
            if "list" in row.verbs and row.storage is None:
                self.metrics.objects.labels(row.group, row.name).set(self._parts.cache.count(row.prefix))
        return self.metrics.text()


def _must_read(http: web.BaseRequest) -> None:
    if http.method not in ("GET", "HEAD"):
        raise errors.method_not_allowed()


def _json(value: object) -> bytes:
    return orjson.dumps(value)
