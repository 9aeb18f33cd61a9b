"""A tiny API server: one collection of config maps in memory, enough to be a client of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest
from aiohttp import web

from shim.client import Client


class TinyServer:
    """Lists, watches and changes config maps; can be stopped and started again at the same port."""

    def __init__(self) -> None:
        self.objects: dict[str, dict] = {}
        self.history: list[dict] = []
        self.revision = 0
        self.changed = asyncio.Event()
        self.lists = self.watches = 0
        self.expired = False
        self.asked: asyncio.Queue[None] = asyncio.Queue()  # an entry for every watch
        self.open = asyncio.Event()  # before it is set, whoever asks to watch waits
        self.open.set()
        self.refusals: list[web.Response] = []
        self.requests: list[tuple[str, str, bytes]] = []
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self.handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def write(self, name: str, type_: str = "ADDED", **more: object) -> None:
        self.revision += 1
        obj = {"metadata": {"name": name, "namespace": "default", "resourceVersion": str(self.revision)}, **more}
        obj["metadata"]["uid"] = f"uid-of-{name}"
        if type_ == "DELETED":
            self.objects.pop(name)
        else:
            self.objects[name] = obj
        self.history.append({"type": type_, "object": {"kind": "ConfigMap", "apiVersion": "v1", **obj}})
        self.changed.set()
        self.changed = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, await request.read()))
        if self.refusals:
            return self.refusals.pop(0)
        if request.query.get("watch"):
            return await self.watch(request)
        if request.method == "GET" and request.path.endswith("/configmaps"):
            self.lists += 1
            items = list(self.objects.values())
            metadata = {"resourceVersion": str(self.revision)}
            begin, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or 1000)
            if begin + limit < len(items):
                metadata["continue"] = str(begin + limit)
            items = items[begin : begin + limit]
            body = {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": metadata}
            return web.Response(body=orjson.dumps({**body, "items": items}))
        if request.method == "GET":
            return web.Response(body=orjson.dumps(self.objects[request.path.rpartition("/")[2]]))
        body = orjson.loads(await request.read() or b"{}")
        return web.Response(body=orjson.dumps(body if isinstance(body, dict) else {}))

    async def watch(self, request: web.Request) -> web.StreamResponse:
        self.watches += 1
        self.asked.put_nowait(None)
        await self.open.wait()
        answer = web.StreamResponse()
        await answer.prepare(request)
        if self.expired:
            self.expired = False
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
            await answer.write(orjson.dumps({"type": "ERROR", "object": status}) + b"\n")
            return answer
        seen = int(request.query["resourceVersion"])
        while True:
            changed = self.changed
            for event in self.history[seen:]:
                await answer.write(orjson.dumps(event) + b"\n")
            seen = len(self.history)
            await changed.wait()


@pytest.fixture
async def server() -> AsyncIterator[TinyServer]:
    tiny = TinyServer()
    await tiny.start()
    yield tiny
    await tiny.stop()


@pytest.fixture
async def client(server: TinyServer) -> AsyncIterator[Client]:
    async with Client(server.url) as made:
        yield made
