import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from shim.api.meta import Object
from shim.client import Informer
from shim.client import informer as informer_module
from shim.client import resource as r


@asynccontextmanager
async def running(informer: Informer) -> AsyncIterator[Informer]:
    task = asyncio.create_task(informer.run())
    try:
        await asyncio.wait_for(informer.synced(), 60)
        yield informer
    finally:
        task.cancel()


class Story:
    """What handlers were told, and a wait for it to say something."""

    def __init__(self, informer: Informer) -> None:
        self.told: list[tuple[str, str]] = []
        self._more = asyncio.Event()
        informer.on_change(self.note)

    def note(self, old: Object | None, new: Object | None) -> None:
        what = "new" if old is None else "gone" if new is None else "changed"
        self.told.append((what, (new or old)["metadata"]["name"]))
        self._more.set()

    async def until(self, said: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not said():
                self._more.clear()
                await self._more.wait()


async def test_the_copy_begins_with_a_list_and_follows_the_watch(server, client):
    server.write("a")
    async with running(Informer(client, r.CONFIGMAPS)) as informer:
        story = Story(informer)
        server.write("b")
        server.write("a", "MODIFIED", data={"k": "v"})
        server.write("b", "DELETED")
        await story.until(lambda: ("gone", "b") in story.told)

        assert story.told == [("new", "a"), ("new", "b"), ("changed", "a"), ("gone", "b")]
        assert informer.get("default/a")["data"] == {"k": "v"}
        assert informer.get("default/a")["kind"] == "ConfigMap"
        assert server.lists == 1


async def test_a_long_list_comes_in_pages_and_only_what_is_wanted_is_kept(server, client, monkeypatch):
    monkeypatch.setattr(informer_module, "PAGE", 2)
    for number in range(5):
        server.write(f"c{number}", data={"k": "v"}, more="of it")
    seen = []

    def keep(obj: Object) -> Object:
        return {"metadata": obj["metadata"], "data": obj["data"]}

    async with running(Informer(client, r.CONFIGMAPS, keep=keep)) as informer:
        informer.on_change(lambda old, new: seen.append((old, new)))
        story = Story(informer)
        server.write("c0", "MODIFIED", data={"k": "w"}, more="of it")
        server.write("c1", "DELETED", data={"k": "v"}, more="of it")
        await story.until(lambda: ("gone", "c1") in story.told)
        assert server.lists == 3
        assert [obj["data"] for obj in informer.list()] == [{"k": "w"}] + [{"k": "v"}] * 3
        assert all("more" not in obj for pair in seen for obj in pair if obj)


async def test_a_restarted_server_is_followed_on_without_a_list(server, client):
    async with running(Informer(client, r.CONFIGMAPS)) as informer:
        story = Story(informer)
        await server.stop()
        server.write("made-while-down")
        await server.start()
        await story.until(lambda: bool(story.told))

        assert story.told == [("new", "made-while-down")]
        assert server.lists == 1


async def test_an_expired_watch_lists_again_and_tells_only_of_differences(server, client):
    server.write("stays")
    server.write("goes")
    server.write("changes")
    async with running(Informer(client, r.CONFIGMAPS)) as informer:
        story = Story(informer)
        story.told.clear()
        await server.stop()
        server.write("goes", "DELETED")
        server.write("changes", "MODIFIED")
        server.write("comes")
        server.expired = True
        await server.start()
        await story.until(lambda: ("new", "comes") in story.told)

        assert story.told == [("gone", "goes"), ("changed", "changes"), ("new", "comes")]
        assert server.lists == 2


async def test_an_index_follows_its_objects(server, client):
    server.write("a", data={"node": "n1"})
    by_node = {"node": lambda obj: [obj.get("data", {}).get("node", "")]}
    async with running(Informer(client, r.CONFIGMAPS, indexers=by_node)) as informer:
        story = Story(informer)
        assert [obj["metadata"]["name"] for obj in informer.by("node", "n1")] == ["a"]

        server.write("a", "MODIFIED", data={"node": "n2"})
        await story.until(lambda: ("changed", "a") in story.told)

        assert informer.by("node", "n1") == []
        assert [obj["metadata"]["name"] for obj in informer.by("node", "n2")] == ["a"]


async def test_a_handler_that_fails_stops_nobody(server, client):
    async with running(Informer(client, r.CONFIGMAPS)) as informer:
        informer.on_change(lambda old, new: 1 / 0)
        story = Story(informer)
        server.write("a")
        await story.until(lambda: ("new", "a") in story.told)
