"""The Service ``kubernetes``, written by several servers at the same moment."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shim.api.keys import ENDPOINTS
from shim.codec.definitions import load_schema
from shim.resources.table import RESOURCES
from shim.server.masters import Masters
from shim.server.parts import index
from shim.server.routes import Routes
from shim.server.service_allocator import ServiceAllocator
from shim.settings import ApiServerSettings
from shim.store.cache import Cache
from shim.store.entry import Entry
from shim.store.sqlite import open_sqlite

KEY = f"{ENDPOINTS}default/kubernetes"


async def test_a_server_that_loses_a_race_looks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(open_sqlite(tmp_path / "store.db"), partial(index, Routes(RESOURCES)))
    await cache.start()
    try:
        services = ServiceAllocator(cache, load_schema(), "30000-30100")
        first, second = (
            Masters(cache, ApiServerSettings(data_dir=tmp_path, bind=(address,)), services.addresses, 6443)
            for address in ("10.0.0.1", "10.0.0.2")
        )
        await first.publish()
        update = cache.update
        others: list[dict[str, Any]] = [{"subsets": []}]

        async def outrun(key: str, obj: dict[str, Any], **options: Any) -> Entry:
            if key == KEY and others:
                entry = cache.get(KEY)
                assert entry is not None
                await update(KEY, {**entry.decode(), **others.pop()}, expected=entry.revision)
            return await update(key, obj, **options)

        monkeypatch.setattr(cache, "update", outrun)
        await second.publish()
        entry = cache.get(KEY)
        assert entry is not None
        assert entry.decode()["subsets"][0]["addresses"] == [{"ip": "10.0.0.2"}]
    finally:
        await cache.close()
