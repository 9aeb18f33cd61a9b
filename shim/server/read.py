"""Get and list, from memory alone.

A list that is continued shows every page as of the first page's revision. What was changed since is looked up in the
store's history; when that is compacted the client is told to begin anew (410).
"""

from __future__ import annotations

import base64
import json
import posixpath

import orjson
from aiohttp import web

from shim.api.meta import Object
from shim.api.status import ApiError, bad_request, expired, not_found
from shim.server import errors
from shim.server.facets import Facet
from shim.server.negotiation import AS_STORED
from shim.server.options import EXACT, ListOptions
from shim.server.parts import Call
from shim.server.render import render_list, render_one
from shim.server.responses import respond, respond_large
from shim.server.selection import test_of
from shim.store.cache import Entry
from shim.store.contract import Compacted


async def get(call: Call, facet: Facet | None = None) -> web.Response:
    """One object, or one facet of it (its scale, say)."""
    parts, resource = call.parts, call.resource
    if call.query and (asked := ListOptions.of(call.query).revision):
        await catch_up(call, asked)
    entry = parts.cache.get(call.key)
    if entry is None:
        raise not_found(resource.group, resource.name, call.info.name)
    if facet is not None and facet.show is not None:
        shown = facet.show(parts.registry.decode(resource, entry))
        body, media = render_one(call, shown, own_kind=False)
        return respond(body, 200, media)
    data = parts.registry.shown(resource, entry)
    if call.rendering is AS_STORED or call.rendering.plain:
        return respond(data)
    body, media = render_one(call, data)
    return respond(body, 200, media)


async def list_(call: Call) -> web.Response:
    """A collection, or a page of it."""
    options = ListOptions.of(call.query)
    entries, meta = await select(call, options)
    shown = call.parts.registry.shown
    if call.resource.from_storage:
        items = [shown(call.resource, entry) for entry in entries]
    else:
        items = [entry.data for entry in entries]
    body, media = render_list(call, items, meta)
    return await respond_large(call.http, body, media)


async def select(call: Call, options: ListOptions) -> tuple[list[Entry], Object]:
    """The entries a list means, and the list's metadata."""
    cache, prefix = call.parts.cache, call.prefix
    test = test_of(call.resource, options)
    after, revision = "", 0
    if options.token:
        after, revision = _read_token(options.token, prefix)
        if options.revision:
            raise bad_request("specifying resource version is not allowed when using continue")
    elif options.revision:
        await catch_up(call, options.revision)
        if options.match == EXACT or (options.limit and not options.match):
            revision = options.revision  # upstream reads a limited list with a version as exactly that version
    if revision and revision != cache.revision:
        return await _select_at(call, options, after, revision)
    revision = cache.revision
    limit = max(options.limit, 0)
    if test is None:
        found = cache.range(prefix, after=after, limit=limit + 1 if limit else 0)
    else:
        found = []
        for entry in cache.range(prefix, after=after):
            if test(entry):
                found.append(entry)
                if limit and len(found) > limit:
                    break
    meta: Object = {"resourceVersion": str(revision)}
    if limit and len(found) > limit:
        del found[limit:]
        meta["continue"] = _token(found[-1].key, prefix, revision)
        if test is None:
            meta["remainingItemCount"] = cache.count(prefix, found[-1].key)
    return found, meta


async def _select_at(call: Call, options: ListOptions, after: str, revision: int) -> tuple[list[Entry], Object]:
    """A page as of an earlier revision."""
    cache, prefix = call.parts.cache, call.prefix
    test = test_of(call.resource, options)
    limit = max(options.limit, 0)
    meta: Object = {"resourceVersion": str(revision)}
    found: list[Entry] = []
    while True:
        try:
            page, more = await cache.range_at(prefix, revision=revision, after=after, limit=limit)
        except Compacted as error:
            if not options.token:
                raise expired("The resourceVersion for the provided list is too old.") from error
            raise _expired(_token(after, prefix, cache.revision)) from error
        for index, entry in enumerate(page):
            if test is not None and not test(entry):
                continue
            found.append(entry)
            if limit and len(found) == limit:
                if index + 1 < len(page) or more:
                    meta["continue"] = _token(entry.key, prefix, revision)
                    if test is None:
                        rest, _ = await cache.range_at(prefix, revision=revision, after=entry.key)
                        meta["remainingItemCount"] = len(rest)
                return found, meta
        if not more:
            return found, meta
        after = page[-1].key


async def catch_up(call: Call, revision: int) -> None:
    """Wait until a revision the client has seen elsewhere is applied here. Raises 504."""
    cache = call.parts.cache
    if revision <= cache.revision:
        return
    try:
        await cache.wait(revision, 3.0)
    except TimeoutError:
        raise errors.too_large_version(revision, cache.revision) from None


def _token(after: str, prefix: str, revision: int) -> str:
    """Where the next page begins, as upstream encodes it; the zero byte says: past this key."""
    content = {"v": "meta.k8s.io/v1", "rv": revision, "start": after.removeprefix(prefix) + "\0"}
    return base64.urlsafe_b64encode(orjson.dumps(content)).rstrip(b"=").decode()


def _read_token(token: str, prefix: str) -> tuple[str, int]:
    def refuse(why: str) -> ApiError:
        return bad_request(f"invalid continue token: {why}")

    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise refuse("continue key is not valid: illegal base64 data at input byte 0") from None
    try:
        fields = json.loads(content)
        version, revision, start = fields.get("v"), fields.get("rv", 0), fields.get("start", "")
    except (ValueError, AttributeError):
        first = content[:1].decode("latin-1")
        why = f"continue key is not valid: invalid character '{first}' looking for beginning of value"
        raise refuse(why) from None
    if version != "meta.k8s.io/v1":
        raise refuse(f"continue key is not valid: server does not recognize this encoded version {version or ''}")
    if not isinstance(revision, int) or not isinstance(start, str) or revision == 0:
        raise refuse("continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not start:
        raise refuse("continue key is not valid: encoded start key empty (version meta.k8s.io/v1)")
    path = start if start.startswith("/") else f"/{start}"
    if posixpath.normpath(path) != path:
        raise refuse(f"continue key is not valid: {start}")
    return prefix + path[1:].rstrip("\0"), revision


def _expired(token: str) -> ApiError:
    """410 with a token that goes on from here with what is there now; it travels in the Status's metadata."""
    error = expired(errors.TOO_OLD)
    error.details = None
    return _Continuable(error, token)


class _Continuable(ApiError):
    """A 410 whose Status offers an inconsistent continuation."""

    def __init__(self, error: ApiError, token: str) -> None:
        super().__init__(error.code, error.reason, error.message)
        self._token = token

    def status(self) -> Object:
        return {**super().status(), "metadata": {"continue": self._token}}
