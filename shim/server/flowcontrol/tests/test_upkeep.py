"""The levels and schemas that every cluster has: put back, put right, or left to whoever has made them their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from shim.codec.definitions import load_schema
from shim.resources.bootstrap.flow import AUTO_UPDATE
from shim.resources.table import RESOURCES
from shim.server.flowcontrol.follow import LEVELS, SCHEMAS
from shim.server.flowcontrol.upkeep import Upkeep, revised
from shim.server.parts import index
from shim.server.routes import Routes
from shim.store.cache import Cache
from shim.store.sqlite import open_sqlite

WANTED = {"metadata": {"name": "system"}, "spec": {"shares": 1}}


def _found(shares: int, said: str | None, generation: int) -> dict[str, Any]:
    annotations = {} if said is None else {AUTO_UPDATE: said}
    metadata = {"name": "system", "generation": generation, "annotations": annotations}
    return {"metadata": metadata, "spec": {"shares": shares}}


@pytest.mark.parametrize(
    ("shares", "said", "generation", "mandatory", "then"),
    [
        (1, "true", 1, False, None),
        (2, "true", 5, False, (1, "true", 6)),
        (2, "false", 5, False, None),
        (2, "0", 5, False, None),
        (2, "false", 5, True, (1, "true", 6)),
        (1, "false", 5, True, (1, "true", 5)),
        (2, None, 1, False, (1, "true", 2)),
        (2, None, 5, False, (2, "false", 5)),
        (2, "maybe", 5, False, (2, "false", 5)),
    ],
)
def test_what_is_put_right(
    shares: int, said: str | None, generation: int, mandatory: bool, then: tuple[int, str, int] | None
) -> None:
    found = revised(_found(shares, said, generation), WANTED, mandatory=mandatory)
    assert found == (None if then is None else _found(*then))


def test_an_exempt_level_may_have_shares() -> None:
    wanted = {"metadata": {"name": "exempt"}, "spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0}}}
    metadata = {"name": "exempt", "generation": 2, "annotations": {AUTO_UPDATE: "true"}}
    shared = {"metadata": metadata, "spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 7}}}
    assert revised(shared, wanted, mandatory=True) is None


@pytest_asyncio.fixture
async def cache(tmp_path: Path) -> AsyncIterator[Cache]:
    routes = Routes(RESOURCES)
    made = Cache(open_sqlite(tmp_path / "store.db"), lambda key, obj: index(routes, key, obj))
    await made.start()
    yield made
    await made.close()


async def test_what_is_missing_is_made_and_what_no_release_has_goes(cache: Cache) -> None:
    upkeep = Upkeep(cache, load_schema())
    await upkeep.ensure()
    assert (cache.count(LEVELS), cache.count(SCHEMAS)) == (8, 11)
    entry = cache.get(f"{LEVELS}workload-low")
    assert entry is not None
    obj = entry.decode()
    assert [each["manager"] for each in obj["metadata"]["managedFields"]] == [
        "api-priority-and-fairness-config-producer-v1"
    ]
    old = {**obj["metadata"], "name": "old"}
    await cache.create(f"{LEVELS}old", {**obj, "metadata": old})
    await cache.create(f"{LEVELS}own", {**obj, "metadata": {**old, "name": "own", "annotations": {}}})
    other = {**obj["spec"], "limited": {**obj["spec"]["limited"], "nominalConcurrencyShares": 1}}
    await cache.update(entry.key, {**obj, "spec": other}, expected=entry.revision)
    gone = cache.get(f"{SCHEMAS}probes")
    assert gone is not None
    await cache.delete(gone.key, gone.decode(), expected=gone.revision)
    await upkeep.ensure()
    assert (cache.count(LEVELS), cache.count(SCHEMAS), cache.get(f"{LEVELS}old")) == (9, 11, None)
    after = cache.get(entry.key)
    assert after is not None
    assert after.decode()["spec"] == obj["spec"]
    revision = cache.revision
    await upkeep.ensure()
    assert cache.revision == revision
