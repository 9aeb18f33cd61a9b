"""A real server over TLS on a free port, one for all tests here; each test has a namespace of its own."""

from __future__ import annotations

import asyncio
import base64
import itertools
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
import yaml

from shim.server import prepare, run
from shim.settings import ApiServerSettings


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.data)

    @property
    def message(self) -> str:
        return str(self.json["message"])


@dataclass
class Api:
    """Asks the server, as the admin unless headers say otherwise."""

    url: str
    session: aiohttp.ClientSession
    anonymous: aiohttp.ClientSession
    directory: Path
    namespace: str = "default"
    headers: dict[str, str] = field(default_factory=dict)
    flags: dict[str, Any] = field(default_factory=dict)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: str = "application/json",
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> Answer:
        path = path.replace("{ns}", self.namespace)
        sent = {"Accept": accept, **self.headers, **(headers or {})}
        data = body if isinstance(body, bytes | None) else orjson.dumps(body)
        if data is not None:
            sent["Content-Type"] = content
        session = self.anonymous if anonymous else self.session
        async with session.request(method, self.url + path, data=data, headers=sent) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.ask("GET", path, **more)

    async def post(self, path: str, body: Any, **more: Any) -> Answer:
        return await self.ask("POST", path, body, **more)

    async def put(self, path: str, body: Any, **more: Any) -> Answer:
        return await self.ask("PUT", path, body, **more)

    async def patch(self, path: str, body: Any, kind: str = "merge-patch+json", **more: Any) -> Answer:
        return await self.ask("PATCH", path, body, content=f"application/{kind}", **more)

    async def delete(self, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.ask("DELETE", path, body, **more)

    def configmap(self, name: str, **more: Any) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **more}

    def pod(self, name: str, **spec: Any) -> dict[str, Any]:
        containers = [{"name": "c", "image": "busybox"}]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"containers": containers, **spec},
        }

    async def watch(self, path: str, seconds: int = 1) -> list[dict[str, Any]]:
        """All events until the server ends the watch."""
        answer = await self.get(f"{path}{'&' if '?' in path else '?'}watch=1&timeoutSeconds={seconds}")
        assert answer.status == 200
        return [orjson.loads(line) for line in answer.data.splitlines()]


@asynccontextmanager
async def serving(directory: Path, **flags: Any) -> AsyncIterator[Api]:
    """A server with these flags, for the block."""
    settings = ApiServerSettings(data_dir=directory, **{"port": 0, **flags})
    if settings.port:  # without one the server takes a free one, and prepares then
        settings = prepare(settings)
    ready = asyncio.Event()
    task = asyncio.create_task(run(settings, ready.set))
    waiter = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    url = yaml.safe_load((directory / "admin.kubeconfig").read_text())["clusters"][0]["cluster"]["server"]
    with_cert, without = tls(directory / "admin.kubeconfig"), ssl.create_default_context()
    without.load_verify_locations(directory / "pki" / "ca.crt")
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=with_cert, limit=0)) as session,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=without)) as anonymous,
    ):
        yield Api(url, session, anonymous, directory, flags=flags)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with serving(tmp_path_factory.mktemp("server")) as made:
        yield made


_numbers = itertools.count()


@pytest_asyncio.fixture(loop_scope="session")
async def api(server: Api) -> Api:
    """The server, and a fresh namespace with the account pods need."""
    name = f"story-{next(_numbers)}"
    made = Api(server.url, server.session, server.anonymous, server.directory, name)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    assert (await made.post("/api/v1/namespaces", namespace)).status == 201
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    assert (await made.post("/api/v1/namespaces/{ns}/serviceaccounts", account)).status == 201
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def hooks(api: Api) -> AsyncIterator[Any]:
    from shim.server.tests.hooks import at_work  # which needs the names above

    async with at_work(api) as made:
        yield made


def tls(kubeconfig: Path) -> ssl.SSLContext:
    config = yaml.safe_load(kubeconfig.read_text())
    user = config["users"][0]["user"]
    pem = kubeconfig.with_suffix(".pem")
    pem.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
    context = ssl.create_default_context()
    context.load_verify_locations(kubeconfig.parent / "pki" / "ca.crt")
    context.load_cert_chain(pem)
    return context


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here runs in the server's own event loop."""
    for item in items:
        if item.path.parent == Path(__file__).parent and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
