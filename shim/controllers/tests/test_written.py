"""What a controller remembers of its own writes, beside a watch that may be behind them or ahead."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shim.api.meta import Object, key_of
from shim.client import Informer
from shim.client import resource as r
from shim.controllers.tests.live import World, world
from shim.controllers.written import Written


async def create(here: World, name: str) -> Object:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    return await here.client.create(r.CONFIGMAPS, body, "default")


async def test_a_write_counts_until_the_watch_shows_it(tmp_path: Path) -> None:
    async with world(tmp_path, []) as here:
        informer = Informer(here.client, r.CONFIGMAPS)
        written = Written(informer)
        made = await create(here, "a")
        written.remember(made)
        assert written.unseen() == [made]

        following = asyncio.create_task(informer.run())
        await informer.synced()
        assert written.unseen() == []
        assert written.get("default/a") == informer.get("default/a")
        following.cancel()


async def test_what_the_watch_has_seen_go_is_not_remembered_when_its_answer_comes_late(tmp_path: Path) -> None:
    async with world(tmp_path, []) as here:
        informer = Informer(here.client, r.CONFIGMAPS)
        written = Written(informer)
        shown: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
        informer.on_change(lambda old, new: shown.put_nowait((key_of(new or old or {}), new is not None)))
        following = asyncio.create_task(informer.run())
        await informer.synced()

        made = await create(here, "a")
        await here.client.delete(r.CONFIGMAPS, "a", "default")
        while await shown.get() != ("default/a", False):
            pass
        written.remember(made)

        assert written.get("default/a") is None
        assert written.unseen() == []
        following.cancel()
