"""The kubelet's two ports: one asks who you are, the other only shows; both in the words of a real kubelet."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from nodeagent.kubelet.meters import Meters
from nodeagent.kubelet.source import NotFound
from nodeagent.server.app import serve
from nodeagent.settings import NodeAgentSettings
from shim import pki

RUNNING = {"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": []}, "status": {}}


class Source:
    """A node with one pod."""

    def __init__(self) -> None:
        self.meters = Meters()

    def pods(self) -> list[Any]:
        return [{**RUNNING, "spec": {"nodeName": "n1"}}]

    def running_pods(self) -> list[Any]:
        return [RUNNING]

    def container(self, namespace: str, pod: str, container: str) -> Any:
        raise NotFound(f'pod "{pod}" does not exist')

    def pod(self, namespace: str, name: str) -> Any:
        if name != "p":
            raise NotFound(f'pod "{name}" does not exist')
        return {**RUNNING, "spec": {"containers": [{"name": "c"}]}}


class Nobody:
    """An API server that knows no token."""

    async def create(self, kind: Any, body: Any) -> Any:
        return {"status": {"authenticated": False}}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
async def ports(tmp_path: Path) -> Any:
    """The secure and the open port, and how the owner of the cluster asks the first."""
    pki.ensure_pki(tmp_path, addresses=["127.0.0.1"], service_ip="10.0.0.1")
    certificate, key = pki.ensure_serving(tmp_path, "n1", "system:node:n1", ["127.0.0.1"])
    settings = NodeAgentSettings(
        kubeconfig=tmp_path,
        node_name="n1",
        node_ip="127.0.0.1",
        data_dir=tmp_path,
        image_dir=tmp_path,
        run_dir=tmp_path,
        cgroup_root="c",
        client_ca=tmp_path / "pki/ca.crt",
        tls_cert=certificate,
        tls_key=key,
        port=free_port(),
        read_only_port=free_port(),
    )
    owner = ssl.create_default_context(cafile=str(tmp_path / "pki/ca.crt"))
    owner.load_cert_chain(tmp_path / "pki/kubelet-client.crt", tmp_path / "pki/kubelet-client.key")
    stranger = ssl.create_default_context(cafile=str(tmp_path / "pki/ca.crt"))
    serving = asyncio.create_task(serve(settings, cast(Any, Source()), cast(Any, None), cast(Any, Nobody())))
    async with aiohttp.ClientSession() as session:

        async def ask(path: str, tls: ssl.SSLContext | None = None, method: str = "GET") -> tuple[int, str]:
            scheme, port = ("https", settings.port) if tls else ("http", settings.read_only_port)
            while True:
                try:
                    url = f"{scheme}://127.0.0.1:{port}{path}"
                    async with session.request(method, url, ssl=tls or False) as answer:
                        return answer.status, await answer.text()
                except aiohttp.ClientConnectorError:
                    assert not serving.done()
                    await asyncio.sleep(0.01)  # it does not listen yet

        yield ask, owner, stranger
    serving.cancel()
    await asyncio.wait({serving})


async def test_the_secure_port_knows_its_owner_and_nobody_else(ports: Any) -> None:
    ask, owner, stranger = ports
    assert await ask("/healthz", owner) == (200, "ok")
    assert await ask("/healthz/syncloop", owner) == (200, "ok")
    said = "[+]ping ok\n[+]log excluded: ok\n[+]syncloop ok\nhealthz check passed\n"
    assert await ask("/healthz?verbose&exclude=log", owner) == (200, said)
    assert (await ask("/healthz/other", owner))[0] == 404
    assert '"nodeName":"n1"' in (await ask("/pods/", owner))[1]
    assert '"containers":[]' in (await ask("/runningpods/", owner))[1]
    assert await ask("/exec/ns/gone/c?command=ls", owner) == (404, 'pod "gone" does not exist')
    assert await ask("/no-such-thing", owner) == (404, "404 page not found\n")
    for path in ("/exec/ns/gone/uid/c?command=ls", "/attach/ns/gone/uid/c", "/run/ns/gone/c?cmd=ls"):
        assert await ask(path, owner, "POST") == (404, 'pod "gone" does not exist')
    for query, expected in (("tailLines=x", (400, "Unable to decode query.")), ("tail=-1", (422, "Invalid request."))):
        assert await ask(f"/containerLogs/ns/p/c?{query}", owner) == (expected[0], f'{{"message": "{expected[1]}"}}')
    why = "rpc error: code = Unimplemented desc = containers cannot be saved to files"
    assert await ask("/checkpoint/ns/p/c", owner, "POST") == (500, f"checkpointing of ns/p/c failed ({why})")
    assert await ask("/checkpoint/ns/p/d", owner, "POST") == (404, "container d does not exist")
    assert await ask("/checkpoint/ns/gone/c", owner, "POST") == (404, "pod does not exist")
    unread = (404, "cannot parse value of timeout parameter")
    assert await ask("/checkpoint/ns/p/c?timeout=soon", owner, "POST") == unread
    assert await ask("/debug/pprof/heap", owner) == (405, "profiling endpoint is disabled.\n")
    assert await ask("/debug/flags/v", owner, "PUT") == (405, "flags endpoint is disabled.\n")
    status = (await ask("/statusz", owner))[1]
    assert status.startswith("\nkubelet statusz\nWarning: ")
    assert status.endswith("\nPaths: /configz /debug /flagz /healthz /metrics\n")
    assert "\nnode-name=n1\n" in (await ask("/flagz", owner))[1]
    assert 'kubernetes_healthcheck{name="ping",type="healthz"} 1.0' in (await ask("/metrics/slis", owner))[1]
    for path in ("/healthz", "/pods", "/exec/ns/p/c", "/no-such-thing"):
        assert await ask(path, stranger) == (401, "Unauthorized")


async def test_the_open_port_only_shows(ports: Any) -> None:
    ask, _, _ = ports
    assert await ask("/healthz") == (200, "ok")
    assert '"nodeName":"n1"' in (await ask("/pods"))[1]
    for path in ("/exec/ns/p/c?command=ls", "/attach/ns/p/c", "/portForward/ns/p", "/containerLogs/ns/p/c"):
        assert (await ask(path))[0] == 404
    for path in ("/configz", "/runningpods/", "/logs/"):
        assert (await ask(path))[0] == 404
