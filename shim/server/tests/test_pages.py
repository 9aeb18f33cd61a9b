"""Continue tokens: pages of one moment, and the way on when that moment is forgotten."""

from __future__ import annotations

import base64
import math
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
import pytest_asyncio

from shim.api.status import ApiError
from shim.resources.table import RESOURCES
from shim.server.listing import slices
from shim.server.options import ListOptions, parse_query
from shim.server.pages import select
from shim.server.parts import Call, Parts, index
from shim.server.routes import RequestInfo, Routes
from shim.server.users import User
from shim.store.cache import Cache, Entry
from shim.store.sqlite import open_sqlite

ROUTES = Routes(RESOURCES)
CONFIGMAPS = ROUTES.get("", "v1", "configmaps")


@pytest_asyncio.fixture(loop_scope="session")
async def cache(tmp_path: Path) -> AsyncIterator[Cache]:
    cache = Cache(open_sqlite(tmp_path / "store.db"), partial(index, ROUTES))
    await cache.start()
    for name in "abcdef":
        await write(cache, name)
    yield cache
    await cache.close()


async def write(cache: Cache, name: str) -> None:
    labels = {"vowel": str(name in "aeiou")}
    obj = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "namespace": "n", "labels": labels}}
    await cache.create(f"/registry/configmaps/n/{name}", obj)


async def ask(cache: Cache, query: str) -> tuple[str, dict[str, Any]]:
    """The names found, as one word, and the list's metadata."""
    assert CONFIGMAPS
    parts = cast("Parts", SimpleNamespace(cache=cache))
    info = RequestInfo("list", "", "", "v1", "n", "configmaps")
    call = Call(cast("Any", None), parts, User("u", ()), info, parse_query(query), CONFIGMAPS)
    entries, meta = await select(call, ListOptions.of(call.query))
    return "".join(entry.key[-1] for entry in entries), meta


async def test_a_forgotten_page_offers_to_go_on_with_what_is_there_now(cache: Cache) -> None:
    found, first = await ask(cache, "limit=2")
    assert (found, first["remainingItemCount"]) == ("ab", 4)
    await write(cache, "cc")
    await cache._store.compact(cache.revision)
    with pytest.raises(ApiError) as refused:
        await ask(cache, f"limit=2&continue={first['continue']}")
    status = refused.value.status()
    assert (status["code"], status["reason"]) == (410, "Expired")
    assert "inconsistent list" in status["message"]
    token = status["metadata"]["continue"]
    found, meta = await ask(cache, f"limit=2&continue={token}")
    assert (found, meta["resourceVersion"], meta["remainingItemCount"]) == ("cc", str(cache.revision), 3)
    assert (await ask(cache, f"continue={meta['continue']}"))[0] == "def"


async def test_an_exact_version_that_is_forgotten_is_expired(cache: Cache) -> None:
    then = cache.revision - 1
    assert (await ask(cache, f"resourceVersion={then}&resourceVersionMatch=Exact"))[0] == "abcde"
    await cache._store.compact(cache.revision)
    with pytest.raises(ApiError) as refused:
        await ask(cache, f"resourceVersion={then}&resourceVersionMatch=Exact")
    assert (refused.value.code, refused.value.message) == (410, "The resourceVersion for the provided list is too old.")
    assert (await ask(cache, f"resourceVersion={then}&resourceVersionMatch=NotOlderThan"))[0] == "abcdef"


async def test_pages_of_the_past_with_a_selector(cache: Cache) -> None:
    found, meta = await ask(cache, "limit=2&labelSelector=vowel%3DFalse")
    assert (found, "remainingItemCount" in meta) == ("bc", False)
    await write(cache, "bb")
    found, meta = await ask(cache, f"limit=2&labelSelector=vowel%3DFalse&continue={meta['continue']}")
    assert (found, "continue" in meta) == ("df", False)


async def test_whoever_takes_any_version_gets_all_that_is_left(cache: Cache) -> None:
    _, meta = await ask(cache, "limit=2")
    assert await ask(cache, f"limit=2&resourceVersion=0&continue={meta['continue']}") == (
        "cdef",
        {"resourceVersion": str(cache.revision)},
    )
    assert (await ask(cache, f"limit=-1&resourceVersion={cache.revision - 1}"))[0] == "abcdef"


def token(**fields: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps({"v": "meta.k8s.io/v1", "rv": 3, "start": "c", **fields})).decode()


@pytest.mark.parametrize(
    ("bad", "code", "why"),
    [
        ("***", 400, "illegal base64 data at input byte 0"),
        ("bm90", 400, "invalid character 'n' looking for beginning of value"),
        ("W10", 400, "json: cannot unmarshal array into Go value of type storage.continueToken"),
        (token(v="v0"), 400, "server does not recognize this encoded version v0"),
        (token(rv=0), 400, "incorrect encoded start resourceVersion (version meta.k8s.io/v1)"),
        (token(rv="x"), 400, "json: cannot unmarshal string into Go struct field continueToken.rv of type int64"),
        (token(start=""), 400, "encoded start key empty (version meta.k8s.io/v1)"),
        (token(start="../secrets/x"), 400, "../secrets/x"),
        (token(rv=10**6), 504, "Too large resource version: 1000000"),
        (f"{token()}&resourceVersion=3", 400, "specifying resource version is not allowed when using continue"),
        (base64.urlsafe_b64encode(b"[" * 100_000).decode(), 400, "continue key is not valid"),
    ],
)
async def test_tokens_that_are_refused(cache: Cache, bad: str, code: int, why: str) -> None:
    with pytest.raises(ApiError) as refused:
        await ask(cache, f"continue={bad}")
    assert refused.value.code == code
    assert why in refused.value.message


def test_of_large_objects_fewer_are_converted_together():
    def entry(size):
        return Entry("k", 1, b"x" * size, {}, {})

    def sizes(entries, size, most):
        return [[len(each.data) for each in batch] for batch in slices(entries, size, most)]

    entries = [entry(size) for size in (1, 2, 9, 1, 9, 9, 1)]
    assert sizes(entries, 3, math.inf) == [[1, 2, 9], [1, 9, 9], [1]]
    assert sizes(entries, 3, 9) == [[1, 2, 9], [1, 9], [9], [1]]
    assert sizes([], 3, 9) == []
