"""Which objects does a list mean, and which page of them? Versions, continue tokens and selectors become entries.

A list that is continued shows every page as of the first page's revision. When that is compacted the client is told
to begin anew (410), and given a token with which it may go on with what is there now.
"""

from __future__ import annotations

import asyncio
import base64
import posixpath
import time
from collections.abc import Sequence

import orjson

from shim.api.meta import Object
from shim.api.status import ApiError, bad_request, expired
from shim.codec.jsontext import quoted
from shim.server import errors
from shim.server.options import EXACT, ListOptions
from shim.server.parts import Call
from shim.server.selection import Test, names_one, reads_objects, test_of
from shim.store.cache import Entry
from shim.store.contract import Compacted

TEST_AT_ONCE = 4000  # entries; others wait for a few milliseconds
LEAST_PAGE = 500  # entries looked at together for a page of those that a selector means

_NOW = -1  # a token's revision for "as it is when you ask", as upstream gives out after a 410
_VERSION = "meta.k8s.io/v1"
_INVALID = "invalid continue token: continue key is not valid"


async def select(call: Call, options: ListOptions) -> tuple[list[Entry], Object]:
    """The entries a list means, and the list's metadata. Raises 400, 410 and 504."""
    cache, prefix = call.parts.cache, call.prefix
    test = test_of(call, options)
    after, revision = "", 0
    if options.token:
        after, revision = _read_token(options.token, prefix)
        if options.contradicting:
            raise bad_request("specifying resource version is not allowed when using continue")
        if revision > cache.revision:
            raise errors.too_large_version(revision, cache.revision)
    elif options.revision:
        await catch_up(call, options.revision)
        if options.match == EXACT or (options.limit > 0 and not options.match):
            revision = options.revision  # upstream reads a limited list with a version as exactly that version
    if 0 < revision < cache.revision:
        return await _select_at(call, options, test, after, revision)
    if options.revision is None and not options.token:
        cache.consistent[call.resource.prefix] += 1
    revision = cache.revision
    limit = max(options.limit, 0)
    looked = found = cache.range(prefix, after=after, limit=limit + 1 if limit and test is None else 0)
    if test is not None:
        found = await _matching(call, options, looked, test, limit)
    cache.listed(call.resource.prefix, len(looked), len(found))
    meta: Object = {"resourceVersion": str(revision)}
    # as upstream: what follows need not be what the selector means, but where it means one name
    if limit and len(found) >= limit and not names_one(options) and looked[-1].key > found[limit - 1].key:
        del found[limit:]
        meta["continue"] = _token(found[-1].key, prefix, revision)
        if test is None:
            meta["remainingItemCount"] = await cache.count_at(prefix, revision=revision, after=found[-1].key)
    return found, meta


async def _matching(call: Call, options: ListOptions, entries: Sequence[Entry], test: Test, wanted: int) -> list[Entry]:
    """Those that pass the test, at most ``wanted`` (0: all); between slices others have their turn."""
    converted = reads_objects(call.resource, options)
    found: list[Entry] = []
    for start in range(0, len(entries), TEST_AT_ONCE):
        if start:
            await asyncio.sleep(0)
        some = entries[start : start + TEST_AT_ONCE]
        if converted:
            await call.parts.registry.ready(call.resource, some)
        found += filter(test, some)
        if wanted and len(found) >= wanted:
            return found[:wanted]
    return found


async def _select_at(
    call: Call, options: ListOptions, test: Test | None, after: str, revision: int
) -> tuple[list[Entry], Object]:
    """A page as of an earlier revision."""
    cache, prefix = call.parts.cache, call.prefix
    limit = max(options.limit, 0)
    at_once = max(limit, LEAST_PAGE) if limit and test else limit
    meta: Object = {"resourceVersion": str(revision)}
    found: list[Entry] = []
    more = True
    try:
        while more:
            page, more = await cache.range_at(prefix, revision=revision, after=after, limit=at_once)
            found += page if test is None else await _matching(call, options, page, test, 0)
            after = page[-1].key if page else after
            if limit and len(found) >= limit:
                more = more or page[-1].key > found[limit - 1].key
                break
        if limit and more:
            del found[limit:]
            meta["continue"] = _token(found[-1].key, prefix, revision)
            if test is None:
                meta["remainingItemCount"] = await cache.count_at(prefix, revision=revision, after=found[-1].key)
    except Compacted as error:
        if not options.token:
            raise expired("The resourceVersion for the provided list is too old.") from error
        raise _Continuable(_token(_read_token(options.token, prefix)[0], prefix, _NOW)) from error
    return found, meta


async def catch_up(call: Call, revision: int) -> None:
    """Wait until a revision the client has seen elsewhere is applied here. Raises 504."""
    cache = call.parts.cache
    if revision <= cache.revision:
        return
    began = time.perf_counter()
    try:
        await cache.wait(revision, 3.0)
    except TimeoutError:
        raise errors.too_large_version(revision, cache.revision) from None
    finally:
        cache.waits[(call.resource.prefix,)].add(time.perf_counter() - began)


def _token(after: str, prefix: str, revision: int) -> str:
    """Where the next page begins, as upstream encodes it; the zero byte says: past this key."""
    content = {"v": _VERSION, "rv": revision, "start": after.removeprefix(prefix) + "\0"}
    return base64.urlsafe_b64encode(orjson.dumps(content)).rstrip(b"=").decode()


def _read_token(token: str, prefix: str) -> tuple[str, int]:
    """The key a page begins after, and its revision; below zero: as it is now. Raises 400."""
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        wrong = (at for at, char in enumerate(token) if not (char.isascii() and (char.isalnum() or char in "-_")))
        at = next(wrong, len(token) - 1)
        raise bad_request(f"{_INVALID}: illegal base64 data at input byte {at}") from None
    try:
        fields = orjson.loads(content)
    except ValueError:
        first = content[:1].decode("latin-1")
        why = "unexpected end of JSON input"
        if first:
            why = f"invalid character {quoted(first)} looking for beginning of value"
        raise bad_request(f"{_INVALID}: {why}") from None
    if fields is None:
        fields = {}
    if not isinstance(fields, dict):
        raise bad_request(f"{_INVALID}: {_wrong_type(fields, 'value', 'storage.continueToken')}")
    version, revision, start = (fields.get(name) for name in ("v", "rv", "start"))
    for name, value, type, go in (
        ("v", version, str, "string"),
        ("rv", revision, int, "int64"),
        ("start", start, str, "string"),
    ):
        if value is not None and (not isinstance(value, type) or isinstance(value, bool)):
            raise bad_request(f"{_INVALID}: {_wrong_type(value, f'struct field continueToken.{name}', go)}")
    if version != _VERSION:
        raise bad_request(f"{_INVALID}: server does not recognize this encoded version {version or ''}")
    if not revision:
        raise bad_request(f"{_INVALID}: incorrect encoded start resourceVersion (version {_VERSION})")
    if not start:
        raise bad_request(f"{_INVALID}: encoded start key empty (version {_VERSION})")
    path = start if start.startswith("/") else f"/{start}"
    if posixpath.normpath(path) != path:
        raise bad_request(f"{_INVALID}: {start}")
    return prefix + path[1:].rstrip("\0"), revision


def _wrong_type(value: object, where: str, wanted: str) -> str:
    """In the words of Go's decoder."""
    names: dict[type, str] = {str: "string", bool: "bool", list: "array", dict: "object"}
    found = names.get(type(value), "number")
    if found == "number" and wanted == "int64":
        found = f"number {orjson.dumps(value).decode()}"  # it is a number, but not one of these
    return f"json: cannot unmarshal {found} into Go {where} of type {wanted}"


class _Continuable(ApiError):
    """A 410 whose Status offers, in its metadata, a token to go on with."""

    def __init__(self, token: str) -> None:
        error = expired(errors.TOO_OLD)
        super().__init__(error.code, error.reason, error.message)
        self._token = token

    def status(self) -> Object:
        return {**super().status(), "metadata": {"continue": self._token}}
