"""What the Store contract means. A store passes when a subclass of StoreContract that opens it passes:

class TestMyStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path): ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shim.store.contract import Change, Compacted, Conflict, Store, Write


async def take(watch: AsyncIterator[list[Change]], count: int) -> list[Change]:
    """The next ``count`` changes."""
    found: list[Change] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await anext(watch)
    return found


class StoreContract:
    async def test_an_empty_store_is_at_revision_1(self, store: Store) -> None:
        page = await store.range("/")
        assert (page.records, page.revision, page.more) == ([], 1, False)

    async def test_every_write_adds_one_to_the_revision(self, store: Store) -> None:
        assert await store.put("/a", b"1") == 2
        assert await store.put("/b", b"2") == 3
        assert await store.delete("/a") == 4
        assert (await store.range("/")).revision == 4

    async def test_a_create_is_refused_when_the_key_is_there(self, store: Store) -> None:
        revision = await store.put("/a", b"1", expected=0)
        with pytest.raises(Conflict) as refused:
            await store.put("/a", b"2", expected=0)
        assert (refused.value.key, refused.value.expected, refused.value.found) == ("/a", 0, revision)
        assert (await store.range("/a")).records[0].value == b"1"

    async def test_an_update_is_refused_when_the_key_was_changed(self, store: Store) -> None:
        first = await store.put("/a", b"1")
        second = await store.put("/a", b"2", expected=first)
        with pytest.raises(Conflict) as refused:
            await store.put("/a", b"3", expected=first)
        assert refused.value.found == second

    async def test_a_delete_is_refused_when_the_key_was_changed_or_is_absent(self, store: Store) -> None:
        first = await store.put("/a", b"1")
        await store.put("/a", b"2")
        with pytest.raises(Conflict):
            await store.delete("/a", expected=first)
        await store.delete("/a")
        with pytest.raises(Conflict) as refused:
            await store.delete("/a")
        assert refused.value.found == 0

    async def test_a_deleted_key_can_be_created_again(self, store: Store) -> None:
        await store.put("/a", b"1")
        await store.delete("/a")
        revision = await store.put("/a", b"2", expected=0)
        assert [(r.value, r.revision) for r in (await store.range("/a")).records] == [(b"2", revision)]

    async def test_one_of_many_writers_at_the_same_revision_wins(self, store: Store) -> None:
        first = await store.put("/a", b"0")
        results = await asyncio.gather(
            *(store.put("/a", b"%d" % number, expected=first) for number in range(20)), return_exceptions=True
        )
        assert sum(isinstance(result, int) for result in results) == 1
        assert sum(isinstance(result, Conflict) for result in results) == 19

    async def test_several_keys_are_written_all_or_none(self, store: Store) -> None:
        watch = store.watch(await store.put("/a", b"1"))
        assert await store.write_all([Write("/a", b"2", 2), Write("/b", b"1", 0)]) == 4
        assert [(each.key, each.revision) for each in await take(watch, 2)] == [("/a", 3), ("/b", 4)]
        with pytest.raises(Conflict) as refused:
            await store.write_all([Write("/c", b"1", 0), Write("/a", b"3", 2)])
        assert (refused.value.key, refused.value.found) == ("/a", 3)
        assert [record.key for record in (await store.range("/")).records] == ["/a", "/b"]
        assert await store.put("/d", b"1") == 5

    async def test_a_key_is_deleted_together_with_what_is_written(self, store: Store) -> None:
        one, other = await store.put("/a", b"1"), await store.put("/b", b"1")
        watch = store.watch(other)
        with pytest.raises(Conflict) as refused:
            await store.write_all([Write("/a", None, one - 1), Write("/b", b"2", other)])
        assert (refused.value.key, refused.value.found) == ("/a", one)
        await store.write_all([Write("/a", None, one), Write("/b", b"2", other)])
        assert {(each.key, each.value) for each in await take(watch, 2)} == {("/a", None), ("/b", b"2")}
        assert [record.value for record in (await store.range("/")).records] == [b"2"]

    async def test_a_write_expires_unless_the_key_is_written_again(self, store: Store) -> None:
        """Watchers see the deletion, and what it deleted; a create finds the key absent."""
        watch = store.watch((await store.range("/")).revision, previous=True)
        going = await store.put("/going", b"1", ttl=1)
        await store.put("/kept", b"1", ttl=1)
        await store.put("/kept", b"2")
        await store.write_all([Write("/both", b"1", 0, ttl=1), Write("/other", b"1", 0)])
        changes = await take(watch, 7)
        assert {change.key for change in changes[-2:]} == {"/going", "/both"}
        assert [change.value for change in changes[-2:]] == [None, None]
        gone = next(change for change in changes[-2:] if change.key == "/going")
        assert gone.previous is not None
        assert (gone.previous.value, gone.previous.revision) == (b"1", going)
        assert [record.key for record in (await store.range("/")).records] == ["/kept", "/other"]
        assert await store.put("/going", b"2", expected=0) > gone.revision

    async def test_a_range_is_sorted_and_paged(self, store: Store) -> None:
        for key in ("/p/c", "/p/a", "/q/x", "/p/b", "/o/y"):
            await store.put(key, key.encode())
        page = await store.range("/p/", limit=2)
        assert [record.key for record in page.records] == ["/p/a", "/p/b"]
        assert page.more
        page = await store.range("/p/", after="/p/b", limit=2)
        assert [record.key for record in page.records] == ["/p/c"]
        assert not page.more

    async def test_a_range_can_be_read_as_of_an_older_revision(self, store: Store) -> None:
        await store.put("/a", b"1")
        await store.put("/b", b"1")
        then = await store.put("/a", b"2")
        await store.put("/a", b"3")
        await store.delete("/b")
        await store.put("/c", b"1")
        page = await store.range("/", revision=then)
        assert [(record.key, record.value) for record in page.records] == [("/a", b"2"), ("/b", b"1")]
        assert page.revision == then
        assert await store.count("/", revision=then) == 2
        assert await store.count("/", revision=then, after="/a") == 1
        assert await store.count("/") == 2

    async def test_a_watcher_sees_each_change_after_its_start_once_and_in_order(self, store: Store) -> None:
        await store.put("/a", b"1")
        since = await store.put("/b", b"1")
        await store.put("/a", b"2")
        watch = store.watch(since)
        past = await take(watch, 1)
        await store.delete("/b")
        await asyncio.gather(*(store.put(f"/{number}", b"x") for number in range(50)))
        live = await take(watch, 51)
        assert [change.revision for change in past + live] == list(range(since + 1, since + 53))
        assert (past[0].key, past[0].value, live[0].key, live[0].value) == ("/a", b"2", "/b", None)

    async def test_a_watcher_may_ask_what_a_change_replaced(self, store: Store) -> None:
        first = await store.put("/a", b"1")
        watch = store.watch(first - 1, previous=True)
        second = await store.put("/a", b"2")
        await store.delete("/a")
        await store.put("/a", b"3")
        changes = await take(watch, 4)
        found = [(change.previous.value, change.previous.revision) if change.previous else None for change in changes]
        assert found == [None, (b"1", first), (b"2", second), None]

    async def test_a_write_that_returned_was_handed_to_watchers_before(self, store: Store) -> None:
        seen: list[int] = []
        watch = store.watch((await store.range("/")).revision)

        async def follow() -> None:
            async for changes in watch:
                seen.extend(change.revision for change in changes)

        following = asyncio.create_task(follow())
        await asyncio.sleep(0)
        revision = await store.put("/a", b"1")
        assert seen == [revision]
        following.cancel()

    async def test_compaction_forgets_what_was_superseded_and_nothing_else(self, store: Store) -> None:
        old = await store.put("/a", b"1")
        await store.put("/gone", b"1")
        await store.put("/a", b"2")
        await store.delete("/gone")
        kept = await store.put("/b", b"1")
        await store.put("/a", b"3")
        await store.compact(kept)
        with pytest.raises(Compacted) as refused:
            await store.range("/", revision=old)
        assert (refused.value.asked, refused.value.oldest) == (old, kept)
        with pytest.raises(Compacted):
            store.watch(kept - 1)
        page = await store.range("/", revision=kept)
        assert [(record.key, record.value) for record in page.records] == [("/a", b"2"), ("/b", b"1")]
        changes = await take(store.watch(kept, previous=True), 1)
        assert (changes[0].value, changes[0].previous and changes[0].previous.value) == (b"3", b"2")

    async def test_revisions_go_on_after_everything_was_deleted_and_compacted(self, store: Store) -> None:
        await store.put("/a", b"1")
        last = await store.delete("/a")
        await store.compact(last)
        assert (await store.range("/")).revision >= last
        assert await store.put("/a", b"2") > last
