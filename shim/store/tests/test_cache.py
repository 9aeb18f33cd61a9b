from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shim.api.meta import Object
from shim.store import fanout, history
from shim.store.cache import Cache, Event, Overflow, Watch
from shim.store.compaction import INTERVAL, Compactor
from shim.store.contract import Change, Compacted, Conflict, Store, StoreError
from shim.store.sqlite import open_sqlite


def index(key: str, obj: Object) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return obj["metadata"].get("labels") or {}, {"metadata.name": obj["metadata"]["name"]}


def pod(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "kind": "Pod", "apiVersion": "v1"}


def key(name: str, namespace: str = "default") -> str:
    return f"/registry/pods/{namespace}/{name}"


async def opened(path: Path) -> Cache:
    cache = Cache(open_sqlite(path / "store.db"), index)
    await cache.start()
    return cache


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[Cache]:
    made = await opened(tmp_path)
    yield made
    await made.close()


async def take(watch: Watch, count: int) -> list[tuple[str, str]]:
    events: list[Event] = []
    async with asyncio.timeout(60):
        while len(events) < count:
            events += await anext(watch)
    return [(event.type, event.entry.key.rpartition("/")[2]) for event in events]


async def test_a_written_object_is_read_back_with_its_revision(cache: Cache) -> None:
    entry = await cache.create(key("a"), pod("a", app="web"))
    assert cache.get(key("a")) is entry
    assert entry.decode()["metadata"] == {"resourceVersion": "2", "name": "a", "labels": {"app": "web"}}
    assert list(entry.decode()) == ["kind", "apiVersion", "metadata", "spec"]
    assert (entry.labels, entry.fields, cache.revision) == ({"app": "web"}, {"metadata.name": "a"}, 2)

    changed = entry.decode() | {"status": {"phase": "Running"}}
    updated = await cache.update(key("a"), changed, expected=entry.revision)
    assert json.loads(updated.data)["metadata"]["resourceVersion"] == "3"
    with pytest.raises(Conflict):
        await cache.update(key("a"), changed, expected=entry.revision)
    with pytest.raises(Conflict):
        await cache.create(key("a"), changed)


async def test_text_that_looks_like_metadata_does_not_confuse_the_revision(cache: Cache) -> None:
    tricky = {"apiVersion": "v1", "kind": '"metadata":{"resourceVersion":"', "metadata": {"name": '"metadata":{'}}
    entry = await cache.create("/registry/things/a", tricky)
    assert entry.decode()["metadata"] == {"name": '"metadata":{', "resourceVersion": "2"}


async def test_a_delete_shows_the_final_state_at_its_own_revision(cache: Cache) -> None:
    entry = await cache.create(key("a"), pod("a"))
    watch = cache.watch("/registry/pods/", since=cache.revision)
    final = entry.decode()
    final["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    deleted = await cache.delete(key("a"), final, expected=entry.revision)
    assert cache.get(key("a")) is None
    (event,) = await anext(watch)
    line = json.loads(event.line())
    assert line["type"] == "DELETED"
    assert line["object"] == deleted.decode()
    assert line["object"]["metadata"]["resourceVersion"] == "3"
    assert "deletionTimestamp" in line["object"]["metadata"]


async def test_ranges_are_sorted_limited_and_counted(cache: Cache) -> None:
    for name in ("b", "c", "a"):
        await cache.create(key(name), pod(name))
    await cache.create(key("x", "other"), pod("x"))
    await cache.create("/registry/podtemplates/default/t", pod("t"))

    def names(*arguments: str, **more: int | str) -> list[str]:
        return [entry.key.rpartition("/")[2] for entry in cache.range(*arguments, **more)]  # type: ignore[arg-type]

    assert names("/registry/pods/") == ["a", "b", "c", "x"]
    assert names("/registry/pods/default/") == ["a", "b", "c"]
    assert names("/registry/pods/", after=key("b"), limit=1) == ["c"]
    assert names("/registry/pods/default/", limit=2) == ["a", "b"]
    assert len(names("/registry/")) == 5
    assert cache.count("/registry/pods/default/") == 3
    assert cache.count("/registry/pods/", after=key("a")) == 3
    assert cache.count("/registry/nothing/") == 0


async def test_a_list_goes_on_at_the_revision_it_began(cache: Cache) -> None:
    for name in ("a", "b", "c"):
        await cache.create(key(name), pod(name))
    then = cache.revision
    entry = cache.get(key("c"))
    assert entry
    await cache.delete(key("c"), entry.decode(), expected=entry.revision)
    await cache.create(key("d"), pod("d"))
    entries, more = await cache.range_at("/registry/pods/", revision=then, after=key("a"), limit=1)
    assert ([e.key for e in entries], more) == ([key("b")], True)
    entries, more = await cache.range_at("/registry/pods/", revision=then, after=key("b"))
    assert ([e.key for e in entries], more) == ([key("c")], False)
    entries, more = await cache.range_at("/registry/pods/", revision=cache.revision, limit=2)
    assert ([e.key for e in entries], more) == ([key("a"), key("b")], True)


async def test_memory_and_the_store_tell_the_same_past(cache: Cache) -> None:
    random = Random(7)
    for _ in range(120):
        name = random.choice("abcdefgh")
        entry = cache.get(key(name))
        if entry is None:
            await cache.create(key(name), pod(name))
        elif random.random() < 0.4:
            await cache.delete(key(name), entry.decode(), expected=entry.revision)
        else:
            await cache.update(key(name), pod(name, n=str(random.random())), expected=entry.revision)
    for _ in range(100):
        at, limit = random.randint(2, cache.revision), random.randint(0, 4)
        after = key(random.choice("abcdefgh")) if random.random() < 0.5 else ""
        page = await cache._store.range("/registry/pods/", after=after, limit=limit, revision=at)
        entries, more = await cache.range_at("/registry/pods/", revision=at, after=after, limit=limit)
        assert [(entry.key, entry.revision) for entry in entries] == [(r.key, r.revision) for r in page.records]
        assert more == page.more
        counted = await cache._store.count("/registry/pods/", after=after, revision=at)
        assert await cache.count_at("/registry/pods/", revision=at, after=after) == counted


async def test_a_watch_starts_at_any_revision_that_memory_or_the_store_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "EVENTS", 2)
    cache = await opened(tmp_path)
    entry = await cache.create(key("a"), pod("a", step="1"))
    entry = await cache.update(key("a"), pod("a", step="2"), expected=entry.revision)
    await cache.create("/registry/nodes/n", pod("n"))
    await cache.delete(key("a"), entry.decode(), expected=entry.revision)
    expected = [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "b")]

    old, recent, new = (cache.watch("/registry/pods/", since=since) for since in (1, 4, cache.revision))
    await cache.create(key("b"), pod("b"))
    assert await take(old, 4) == expected
    assert await take(recent, 2) == expected[2:]
    assert await take(new, 1) == expected[3:]
    await cache.close()

    again = await opened(tmp_path)
    restarted = again.watch("/registry/pods/", since=2)
    first = await anext(restarted)
    assert first[0].previous
    assert first[0].previous.labels == {"step": "1"}
    assert first[-1].entry.revision == 6
    await again.close()


async def test_watchers_see_only_their_prefix_and_each_change_once(cache: Cache) -> None:
    everything = cache.watch("/registry/", since=1)
    default = cache.watch("/registry/pods/default/", since=1)
    pods = [cache.watch("/registry/pods/", since=1) for _ in range(3)]
    await cache.create(key("a"), pod("a"))
    await cache.create(key("b", "other"), pod("b"))
    await cache.create("/registry/nodes/n", pod("n"))
    assert await take(everything, 3) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "n")]
    assert await take(default, 1) == [("ADDED", "a")]
    for watch in pods:
        assert await take(watch, 2) == [("ADDED", "a"), ("ADDED", "b")]
    assert pods[0].revision == cache.revision


async def test_an_update_that_leaves_a_selector_is_shown_as_last_matched(cache: Cache) -> None:
    entry = await cache.create(key("a"), pod("a", app="web"))
    watch = cache.watch("/registry/pods/", since=cache.revision)
    await cache.update(key("a"), pod("a", app="db"), expected=entry.revision)
    (event,) = await anext(watch)
    assert event.line() is event.line()
    assert event.previous is entry
    gone = json.loads(event.line("DELETED"))
    assert (gone["type"], gone["object"]["metadata"]["labels"]) == ("DELETED", {"app": "web"})
    assert gone["object"]["metadata"]["resourceVersion"] == "3"
    assert json.loads(event.line("ADDED"))["object"]["metadata"]["labels"] == {"app": "db"}


async def test_a_slow_watcher_is_dropped_and_the_others_go_on(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "MAX_WAITING", 3)
    slow = cache.watch("/registry/pods/", since=1)
    quick = cache.watch("/registry/pods/", since=1)
    for number in range(4):
        await cache.create(key(f"p{number}"), pod(f"p{number}"))
        await anext(quick)
    with pytest.raises(Overflow):
        await anext(slow)


async def test_a_closed_watch_stops(cache: Cache) -> None:
    watch = cache.watch("/registry/pods/", since=1)
    waiting = asyncio.create_task(anext(watch))
    await asyncio.sleep(0)
    watch.close()
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert len(cache._fanout) == 0


async def test_wait_returns_when_the_revision_is_there(cache: Cache) -> None:
    waiting = asyncio.create_task(cache.wait(2))
    await cache.create(key("a"), pod("a"))
    await waiting
    with pytest.raises(TimeoutError):
        await cache.wait(1000, timeout=0.01)


async def test_the_compactor_keeps_what_is_recent(cache: Cache, tmp_path: Path) -> None:
    compactor = Compactor(cache._store, lambda: cache.revision)
    entry = await cache.create(key("a"), pod("a"))
    entry = await cache.update(key("a"), pod("a", n="1"), expected=entry.revision)
    assert await compactor.tick(0) == 0
    await cache.update(key("a"), pod("a", n="2"), expected=entry.revision)
    assert await compactor.tick(INTERVAL - 1) == 0
    assert await compactor.tick(INTERVAL) == 3  # so that after twice the interval nothing older is left
    with pytest.raises(Compacted):
        await cache.range_at("/registry/pods/", revision=2)
    assert (await cache.range_at("/registry/pods/", revision=3))[0][0].labels == {"n": "1"}
    cache._history.start = 4  # as after a restart: memory remembers nothing
    with pytest.raises(Compacted):
        cache.watch("/registry/pods/", since=2)


async def test_who_serves_from_a_cache_learns_that_it_has_lost_the_store(tmp_path: Path) -> None:
    class Breaking:
        """A store whose changes stop coming when it is told to."""

        def __init__(self, store: Store) -> None:
            self._store, self.breaks = store, asyncio.Event()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

        async def watch(self, since: int, *, previous: bool = False) -> AsyncIterator[list[Change]]:
            await self.breaks.wait()
            raise StoreError("no more changes")
            yield []

    store = Breaking(open_sqlite(tmp_path / "store.db"))
    cache = Cache(store, index)  # type: ignore[arg-type]  # the rest of the contract is that of the store in it
    await cache.start()
    losing = asyncio.create_task(cache.lost())
    await asyncio.sleep(0)
    assert cache.reachable
    assert not losing.done()
    store.breaks.set()
    with pytest.raises(StoreError):
        await losing
    assert not cache.reachable
    await cache.close()
