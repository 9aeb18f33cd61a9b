"""What is kept true in the store is tried again when the store did not take it, though nothing more happens."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shim.server import following
from shim.store.cache import Cache
from shim.store.contract import StoreError
from shim.store.sqlite import open_sqlite


async def test_what_the_store_did_not_take_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(following, "RETRY", 0.01)
    cache = Cache(open_sqlite(tmp_path / "store.db"), lambda key, obj: ({}, {}))
    await cache.start()
    key = "/registry/configmaps/ns/a"
    tried: list[bool] = []  # whether the key was there
    looked = asyncio.Event()

    async def settle() -> None:
        tried.append(cache.get(key) is not None)
        if len(tried) in (1, 3):
            raise StoreError("away")
        looked.set()

    keeping = asyncio.create_task(following.keep(cache, key, settle, "a thing"))
    try:
        async with asyncio.timeout(30):
            await looked.wait()
            looked.clear()
            await cache.create(key, {"metadata": {"name": "a", "namespace": "ns"}})
            await looked.wait()
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        await cache.close()
    assert tried == [False, False, True, True]
    assert caplog.messages == ["a thing: away; trying again"] * 2
