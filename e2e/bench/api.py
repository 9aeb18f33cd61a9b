"""The API server alone: get, list, create, patch, watch, each against what a server that does nothing else reaches."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from e2e.bench import limits
from e2e.bench.load import http
from e2e.bench.load import measure as load

if TYPE_CHECKING:
    from e2e.bench.__main__ import Figure

PODS = 2000
WATCHERS = 100
EVENTS = 200


def measure(folder: Path, say: Callable[[str], object]) -> list[Figure]:
    """All figures of the API server, on a data directory of its own."""
    say("the API server alone: starting")
    port, data = free_port(), folder / "api"
    server = subprocess.Popen(
        [sys.executable, "-m", "shim", "apiserver", "--data-dir", str(data), "--port", str(port)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    server.stdout.readline()
    try:
        return asyncio.run(_measure(port, data, folder, say))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


async def _measure(port: int, data: Path, folder: Path, say: Callable[[str], object]) -> list[Figure]:
    from e2e.bench.__main__ import Figure

    tls = client_tls(data)
    path = "/api/v1/namespaces/default/pods"
    figures = []

    async def create(number: int) -> bytes:
        return json.dumps(bench_pod(f"p{number:05d}")).encode()

    await asyncio.to_thread(_wait_for_account, data)
    say(f"creating {PODS} pods")
    bodies = [await create(number) for number in range(PODS)]
    created = await load(port, tls, lambda number: http("POST", path, bodies[number]), PODS)
    limit = limits.group_commits(folder, b"x" * 4700)
    figures.append(
        Figure("create pod, 16 clients, durable", created.rate, "/s", limit, "/s raw SQLite group commit", ">= 1,000/s")
    )

    one = await _fetch(port, tls, f"{path}/p00000")
    all_of_them = await _fetch(port, tls, path)
    bare_port = free_port()
    bare = limits.bare_handler(
        bare_port, {"/one": one, "/all": all_of_them}, data / "pki/apiserver.crt", data / "pki/apiserver.key"
    )
    try:
        await _until_open(bare_port)
        say("get and list")
        # each pair is measured in turns, so that a machine that slows down slows both
        got, got_bare, listed, listed_bare = [], [], [], []
        for _ in range(3):
            got.append((await load(port, tls, lambda number: http("GET", f"{path}/p{number % PODS:05d}"), 3000)).rate)
            got_bare.append((await load(bare_port, tls, lambda _: http("GET", "/one"), 3000)).rate)
            listed.append((await load(port, tls, lambda _: http("GET", path), 20, 4)).rate)
            listed_bare.append((await load(bare_port, tls, lambda _: http("GET", "/all"), 20, 4)).rate)
    finally:
        await asyncio.to_thread(limits.stop, bare)
    size, megabytes = len(one) / 1e3, len(all_of_them) / 1e6
    figures.append(
        Figure(f"get a pod ({size:.1f} KB)", max(got), "/s", max(got_bare), "/s bare aiohttp handler", ">= 50%")
    )
    figures.append(
        Figure(
            f"list {PODS} pods ({megabytes:.1f} MB)", max(listed), "/s", max(listed_bare), "/s bare handler", ">= 60%"
        )
    )
    say("merge patches")
    patched = await load(
        port,
        tls,
        lambda number: http(
            "PATCH",
            f"{path}/p{number % PODS:05d}",
            b'{"metadata":{"labels":{"n":"%d"}}}' % number,
            "application/merge-patch+json",
        ),
        2000,
    )
    figures.append(
        Figure("merge patch, 16 clients, durable", patched.rate, "/s", limit, "/s raw group commit", ">= 1,000/s")
    )
    say(f"watch: {EVENTS} events to {WATCHERS} watchers")
    rate = await _fan_out(port, tls)
    figures.append(Figure(f"watch fan-out to {WATCHERS}", rate, "events/s", aim=">= 30,000/s"))
    return figures


async def _fan_out(port: int, tls: ssl.SSLContext) -> float:
    """Events a second that reach all watchers together, while configmaps are created."""
    path = "/api/v1/namespaces/default/configmaps"
    streams = []
    for _ in range(WATCHERS):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname="localhost", limit=2**22
        )
        writer.write(http("GET", f"{path}?watch=1&resourceVersion=0"))
        await reader.readuntil(b"\r\n\r\n")
        streams.append((reader, writer))

    async def count(reader: asyncio.StreamReader) -> None:
        seen, tail = 0, b""
        while seen < EVENTS:
            data = tail + await reader.read(1 << 18)
            seen += data.count(b'"name":"event-')
            tail = data[-13:] if not data.endswith(b"}\n\r\n") else b""

    text = "x" * 1500
    bodies = [
        json.dumps(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"event-{n}"}, "data": {"t": text}}
        ).encode()
        for n in range(EVENTS)
    ]
    began = time.perf_counter()
    counting = [asyncio.create_task(count(reader)) for reader, _ in streams]
    await load(port, tls, lambda number: http("POST", path, bodies[number]), EVENTS)
    await asyncio.wait_for(asyncio.gather(*counting), 120)
    seconds = time.perf_counter() - began
    for _, writer in streams:
        writer.close()
    return WATCHERS * EVENTS / seconds


def bench_pod(name: str) -> dict[str, Any]:
    """A pod of some 4.7 KB once it has been defaulted, as the reference speeds were measured with."""
    container = {
        "name": "app",
        "image": "registry.example/team/application:1.2.3",
        "args": [f"--option-{number}=value-{number}" for number in range(20)],
        "env": [{"name": f"VARIABLE_{number}", "value": f"value {number}" * 2} for number in range(20)],
        "ports": [{"containerPort": 8080, "name": "http"}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
    }
    metadata = {"name": name, "labels": {"app": "bench", "shard": name[-1]}, "annotations": {"note": "n" * 400}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def client_tls(data: Path) -> ssl.SSLContext:
    """TLS as the admin of the kubeconfig."""
    config = yaml.safe_load((data / "admin.kubeconfig").read_text())
    user = config["users"][0]["user"]
    context = ssl.create_default_context(cafile=str(data / "pki" / "ca.crt"))
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        pair.flush()
        context.load_cert_chain(pair.name)
    return context


def _wait_for_account(data: Path) -> None:
    """No controllers run: make the account that pods need."""
    from kubernetes import client, config

    api = client.CoreV1Api(config.new_client_from_config(str(data / "admin.kubeconfig")))
    api.create_namespaced_service_account("default", {"metadata": {"name": "default"}})


async def _fetch(port: int, tls: ssl.SSLContext, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="localhost", limit=2**26)
    writer.write(http("GET", path).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    answer = await reader.read(-1)
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]


async def _until_open(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
