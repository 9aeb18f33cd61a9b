"""From an HTTP request to its answer: who asks, may they, what handles it. Every request comes by here.

The order is upstream's: authentication, then authorisation (also of paths that name nothing), then the look-up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from aiohttp import web

from shim.api import latency
from shim.api.gotext import parse_bool
from shim.api.status import ApiError
from shim.resources.metrics import GROUP as METRICS_GROUP
from shim.resources.strategy import Resource
from shim.server import errors, read, reviews, subresources, write
from shim.server.aggregation import Aggregator
from shim.server.aggregation.relay import relay
from shim.server.audit.record import RECORD, Auditor
from shim.server.authn import Authenticator
from shim.server.authz import forbidden
from shim.server.bearers import settled
from shim.server.bodies import content_type, leaves_much
from shim.server.component_statuses import component_statuses
from shim.server.connection import STARTED
from shim.server.discovery import Discovery
from shim.server.facets import FACETS, Facet
from shim.server.flowcontrol.dumps import dump
from shim.server.flowcontrol.families import families
from shim.server.flowcontrol.gate import Gate
from shim.server.flowcontrol.levels import Levels
from shim.server.health import Health
from shim.server.inflight import Inflight, is_long_running
from shim.server.metric_parts import of_audit, of_token_cache, of_tokens
from shim.server.metrics import Metrics
from shim.server.negotiation import ACCEPTED, LISTED, check_accepted, rendering
from shim.server.oidc.keys import Waiting
from shim.server.openapi import OpenApi
from shim.server.options import NO_QUERY, Query, first, is_watch, parse_query, time_limit
from shim.server.outside import OPEN, Outside
from shim.server.parts import Call, Parts
from shim.server.patches import APPLY
from shim.server.resource_metrics import ResourceMetrics
from shim.server.responses import GZIP_FROM, compress, plain, prettify, refuse, warning
from shim.server.routes import RequestInfo, parse
from shim.server.selection import equalities
from shim.server.users import User
from shim.server.watch import Watchers
from shim.server.zpages import ZPages

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
_WRITING = frozenset(("create", "update", "patch", "delete", "deletecollection"))
_BROWSERS = ("curl", "Wget", "Mozilla/5.0")
"""Programs of people, who like to see JSON indented; so does upstream."""


class Dispatcher:
    """Answers requests."""

    def __init__(
        self,
        parts: Parts,
        authenticator: Authenticator,
        discovery: Discovery,
        openapi: OpenApi,
        aggregator: Aggregator,
        auditor: Auditor | None = None,
        levels: Levels | None = None,
    ) -> None:
        settings = parts.settings
        self._auditor = auditor
        self._parts = parts
        self._authenticator, self._aggregator = authenticator, aggregator
        self._gate: Gate | Inflight
        if levels is not None:
            self._gate = Gate(levels, parts.cache, parts.routes)
        else:
            self._gate = Inflight(settings.max_requests_inflight, settings.max_mutating_requests_inflight)
        self.health = Health(lambda: parts.cache.reachable, fair=levels is not None)
        database = settings.data_dir / "store.db"
        self.metrics = Metrics(parts.cache, parts.routes, parts.registry.chain, self._gate.crowds, database)
        self.metrics.sources += [
            partial(of_tokens, parts.tokens),
            partial(of_token_cache, parts.tokens),
            partial(of_audit, auditor),
        ]
        if isinstance(self._gate, Gate):
            self.metrics.sources.append(partial(families, self._gate))
        self.watchers = Watchers(self.metrics.watched)
        zpages = ZPages(settings)
        told = (self.health, self.metrics, parts.tokens, parts.schema, zpages)
        self._outside = Outside(discovery, openapi, *told, self._dump)
        self.usage = ResourceMetrics(parts, settings.metric_resolution)

    def _dump(self, path: str, query: Query) -> str | None:
        return dump(self._gate, path, query) if isinstance(self._gate, Gate) else None

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """The handler of the HTTP server. Raises only when a connection breaks halfway through an answer."""
        began = time.perf_counter()
        path, _, query_text = http.raw_path.partition("?")
        info, query = parse(http.method, path), NO_QUERY
        response: web.StreamResponse
        try:
            if query_text:
                query = parse_query(query_text)
                if is_watch(query):
                    info = parse(http.method, path, watching=True)
            response = await self._admit(http, info, query)
        except ApiError as error:
            response = refuse(error, http.headers.get("Accept", ""), self._parts.schema)
        except errors.PlainError as error:
            if error.code == 429:
                self.metrics.terminated(info, error.code)
            response = plain(error.text, error.code, error.retry_after)
        except ConnectionError:
            if http.transport is not None and not http.transport.is_closing():
                raise  # not the client's connection: the answer stops short, and the client's ends too
            self.metrics.aborted(info)
            if (record := http.get(RECORD)) is not None:
                record.left(long=is_long_running(info))
            return web.Response()  # nobody is there to read it; to raise would make a traceback of a daily event
        except Exception as error:
            what = f"{http.method} {http.raw_path}"
            if (refusal := errors.foreseen(error, what)) is None:
                refusal = errors.unforeseen(error, what)
                if (record := http.get(RECORD)) is not None:
                    record.broke(error)
            response = refuse(refusal, http.headers.get("Accept", ""), self._parts.schema)
        if self._auditor is not None:
            self._audited(http, info, response)
        if http.writer.output_size and not response.prepared:
            _cut_off(http)  # it was halfway through another answer
            return response
        size = response.content_length
        if size is not None and size >= GZIP_FROM and info.resource:
            await compress(http, response)  # what was written or is refused, too
            size = response.content_length
        seconds = -1.0 if is_long_running(info) else time.perf_counter() - began
        apply = info.verb == "patch" and content_type(http) == APPLY
        self.metrics.request(info, response.status, seconds, size, apply=apply, dry="dryRun" in query)
        if info.verb in _WRITING and http.content_length:
            self.metrics.body(info, http.content_length, seconds, first(query, "fieldValidation"))
        if response.status == 413 and leaves_much(http):
            response.force_close()
        if _wants_pretty(http, query):
            prettify(response)
        return response

    async def _admit(self, http: web.BaseRequest, info: RequestInfo, query: Query) -> web.StreamResponse:
        """Answer when it is this request's turn, and in time. Raises 401, 429 and 504."""
        began = time.perf_counter()
        try:
            user = self._authenticate(http)
        except Waiting as waiting:
            await waiting.settle()
            user = await settled(lambda: self._authenticate(http))
        if self._auditor is not None and (record := self._auditor.begin(http, _judged(info, query), user)) is not None:
            http[RECORD] = record
            record.spent[latency.AUTHENTICATION] = time.perf_counter() - began
            if is_long_running(info):
                http[STARTED] = record.started
        began, caller = time.perf_counter(), user
        user = self._authenticator.acting_as(user, http, info)
        if user is not caller:
            latency.add(latency.IMPERSONATION, time.perf_counter() - began)
        most = self._parts.settings.request_timeout
        if is_long_running(info):
            seated = self._gate.watching(http, user, info, query, most) if info.verb == "watch" else nullcontext()
            async with seated:
                return await self._at_length(http, user, info, query)
        limit = time_limit(query, most) if query else most
        seat = self._gate.take(http, user, info, query)
        if seat.waits:
            with latency.took(latency.QUEUE):
                limit = await seat.wait(http, limit)
        try:
            if info.verb == "get" and info.name:
                return await self._answer(http, user, info, query)  # from memory: a timer would cost more than it
            return await self._in_time(limit, http, user, info, query)
        finally:
            seat.leave()

    async def _at_length(
        self, http: web.BaseRequest, user: User, info: RequestInfo, query: Query
    ) -> web.StreamResponse:
        labels = self.metrics.labels(info)
        self.metrics.long_running[labels] += 1
        try:
            return await self._answer(http, user, info, query)
        finally:
            self.metrics.long_running[labels] -= 1

    def _audited(self, http: web.BaseRequest, info: RequestInfo, response: web.StreamResponse) -> None:
        """Tell the audit log how a request ended."""
        record = http.get(RECORD)
        if record is not None:
            record.complete(response)
        elif response.status == 401 and self._auditor is not None:
            self._auditor.unknown(http, info, response)

    def _authenticate(self, http: web.BaseRequest) -> User:
        """Who asks. Raises 401, and Waiting where that cannot be said yet."""
        began = time.perf_counter()
        try:
            user = self._authenticator.user_of(http)
        except ApiError:
            self.metrics.authenticated(None, time.perf_counter() - began)
            raise
        self.metrics.authenticated(user.name, time.perf_counter() - began)
        return user

    def _permit(self, http: web.BaseRequest, user: User, asked: RequestInfo, *, open: bool = False) -> None:
        """Raises 403, but not for what is ``open`` to everyone."""
        began, allowed = time.perf_counter(), False
        authorizer = self._parts.authorizer
        record = http.get(RECORD) if self._auditor is not None else None
        try:
            if record is not None or not open:
                decision = authorizer.decide(user, asked)
                if record is not None:
                    record.decided(*decision)
                if not (open or decision.allowed):
                    raise forbidden(user, asked, decision.why)
            allowed = True
        finally:
            seconds = time.perf_counter() - began
            self.metrics.authorized(allowed, seconds)
            if record is not None:
                record.spent[latency.AUTHORIZATION] = seconds

    async def _in_time(
        self, limit: float, http: web.BaseRequest, user: User, info: RequestInfo, query: Query
    ) -> web.StreamResponse:
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                return await self._answer(http, user, info, query)
        except TimeoutError:
            if not timer.expired():
                raise
            self.metrics.terminated(info, 504)
            raise errors.timed_out() from None

    async def _answer(self, http: web.BaseRequest, user: User, info: RequestInfo, query: Query) -> web.StreamResponse:
        parts = self._parts
        if not info.resource:
            self._permit(http, user, info, open=info.path in OPEN)
            if extension := self._aggregator.serving(info):
                return await relay(http, info.path, user, extension)
            return await self._outside.answer(http, info.path, query)
        self._permit(http, user, _judged(info, query))
        if extension := self._aggregator.serving(info):
            return await relay(http, info.path, user, extension)
        resource, subresource = parts.routes.find(info)
        if http.method == "HEAD" and not resource.custom and info.subresource != "proxy":
            raise errors.method_not_allowed()  # it is judged as a get, but upstream routes it nowhere
        if accept := http.headers.get("Accept"):
            _check_accepted(accept, info, resource)
        call = Call(http, parts, user, info, query, resource, subresource)
        if self._auditor is not None:
            call.record = http.get(RECORD)
        try:
            response = await self._act(call)
        except ApiError as refusal:
            # what was noticed before the refusal is still worth knowing
            refusal.warnings = [*call.warnings, resource.deprecated] if resource.deprecated else call.warnings
            raise
        finally:
            if resource.deprecated and call.record is not None:
                call.record.uses_deprecated()
        if resource.deprecated:
            self.metrics.deprecated[info.group, info.version, resource.name, info.subresource, ""] = 1
        if resource.deprecated and not response.prepared:
            response.headers.add("Warning", warning(resource.deprecated))
        return response

    async def _act(self, call: Call) -> web.StreamResponse:
        """What the request asks of a resource."""
        info, resource, subresource = call.info, call.resource, call.subresource
        cache = call.parts.cache
        if cache.shared and info.verb != "watch" and first(call.query, "resourceVersion") != "0":
            began = time.perf_counter()
            await cache.fresh()  # but who wants any state need not wait
            cache.waits[(resource.prefix,)].add(time.perf_counter() - began)
        if subresource is None:
            if info.verb == "watch":
                return await self.watchers.serve(call)
            if resource.group == METRICS_GROUP:
                return await self.usage.answer(call)
            if resource.kind in reviews.REVIEWS:
                return await reviews.review(call)
            if resource.name == "bindings":
                return await subresources.bind_named(call)
            if resource.kind == "ComponentStatus":
                return await component_statuses(call)
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


def _judged(info: RequestInfo, query: Query) -> RequestInfo:
    """As authorisation and the audit log see a request: a list of one name is judged as that one, and stays a list."""
    if not query or not info.resource or info.name or not (selector := first(query, "fieldSelector")):
        return info
    fields = equalities(selector)
    return replace(info, name=dict(fields).get("metadata.name", ""), fields=fields)


def _check_accepted(accept: str, info: RequestInfo, resource: Resource) -> None:
    """Refuse who takes none of the formats there are, before anything is done. Raises 406."""
    if resource.custom:
        rendering(accept)
    elif info.subresource == "log":
        check_accepted(accept, f"text/plain, {ACCEPTED}")
    elif (info.resource, info.subresource) not in subresources.CONNECT:  # where somebody else answers, as they like
        check_accepted(accept, LISTED if info.verb in ("list", "watch") else ACCEPTED)


def _cut_off(http: web.BaseRequest) -> None:
    """End a connection whose answer cannot be finished: its client must not take it for a whole one."""
    if http.transport is not None:
        http.transport.abort()


def _wants_pretty(http: web.BaseRequest, query: Query) -> bool:
    """Whether a person reads the answer: asked for by ``pretty``, or seen by the program that asks."""
    if "pretty" in query:
        return bool(parse_bool(first(query, "pretty")))
    return http.headers.get("User-Agent", "").startswith(_BROWSERS)
