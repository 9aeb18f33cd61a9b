"""Much through streams, and many of them: nothing is lost, nothing waits for another."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest
import yaml

from e2e.cluster import KUBECTL, Cluster, eventually, pod

AT_ONCE = 200
SIZE = 32 << 20


@pytest.fixture
def idle(cluster: Cluster, namespace: str) -> str:
    """A pod that serves ``/tmp/file`` on port 9000."""
    serve = ["sh", "-c", "exec nc -ll -p 9000 -e cat /tmp/file"]
    cluster.apply(pod("idle", *serve), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/idle", "--timeout=60s")
    return "idle"


def reached(cluster: Cluster, folder: Path) -> tuple[str, ssl.SSLContext]:
    """The API server's address, and the admin's certificate."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    tls = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
    for name, part in (("cert", "client-certificate-data"), ("key", "client-key-data")):
        (folder / name).write_bytes(base64.b64decode(user[part]))
    tls.load_cert_chain(folder / "cert", folder / "key")
    return str(server["server"]), tls


@pytest.mark.parametrize("protocol", ["binary.k8s.io", "base64.binary.k8s.io"])
def test_logs_are_read_in_a_websocket(cluster: Cluster, namespace: str, tmp_path: Path, protocol: str) -> None:
    cluster.apply(pod("told", "echo", "container is alive"), namespace=namespace)
    done = "--for=jsonpath={.status.phase}=Succeeded"
    cluster.kubectl("wait", "-n", namespace, done, "pod/told", "--timeout=60s")
    server, tls = reached(cluster, tmp_path)

    async def read() -> bytes:
        url = f"{server}/api/v1/namespaces/{namespace}/pods/told/log?container=main"
        async with aiohttp.ClientSession() as http, http.ws_connect(url, protocols=(protocol,), ssl=tls) as socket:
            assert socket.protocol == protocol
            return b"".join([base64.b64decode(m.data) if isinstance(m.data, str) else m.data async for m in socket])

    assert asyncio.run(read()) == b"container is alive\n"


def test_two_hundred_commands_run_at_once(cluster: Cluster, namespace: str, idle: str, tmp_path: Path) -> None:
    """Each waits for a word of its own, which none gets before all are there."""
    server, tls = reached(cluster, tmp_path)
    url = f"{server}/api/v1/namespaces/{namespace}/pods/{idle}/exec"
    query = [("command", word) for word in ("sh", "-c", "echo here; read word; echo got $word")]
    query += [("stdin", "1"), ("stdout", "1"), ("container", "main")]

    async def all_of_them() -> list[str]:
        everybody = asyncio.Barrier(AT_ONCE)
        few = asyncio.Semaphore(20)  # opening at a time

        async def one(http: aiohttp.ClientSession, number: int) -> str:
            async with few:
                stream = await http.ws_connect(url, params=query, protocols=("v5.channel.k8s.io",), ssl=tls)
                said = b""
                while b"here" not in said:
                    said += (await stream.receive_bytes())[1:]
            await everybody.wait()
            await stream.send_bytes(b"\0" + f"word-{number}\n".encode())
            async for message in stream:
                if message.type == aiohttp.WSMsgType.BINARY and message.data[0] == 1:
                    said += message.data[1:]
            return said.decode()

        async with asyncio.timeout(120), aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            return list(await asyncio.gather(*(one(http, number) for number in range(AT_ONCE))))

    said = asyncio.run(all_of_them())
    assert said == [f"here\ngot word-{number}\n" for number in range(AT_ONCE)]


def test_much_is_copied_in_and_out_and_forwarded_unchanged(
    cluster: Cluster, namespace: str, idle: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(os.urandom(SIZE))
    digest = hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()
    cluster.kubectl("cp", f"{tmp_path}/file", f"{namespace}/{idle}:/tmp/file", timeout=120)
    there = cluster.kubectl("exec", "-n", namespace, idle, "--", "sha256sum", "/tmp/file")
    assert there.split()[0] == digest
    cluster.kubectl("cp", f"{namespace}/{idle}:/tmp/file", f"{tmp_path}/back", timeout=120)
    assert hashlib.sha256((tmp_path / "back").read_bytes()).hexdigest() == digest

    command = [str(KUBECTL), "port-forward", "-n", namespace, idle, ":9000"]
    forward = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=cluster.environment())
    try:
        assert forward.stdout is not None
        port = int(forward.stdout.readline().split()[2].rpartition(":")[2])

        def fetched() -> str:
            with socket.create_connection(("127.0.0.1", port), 30) as connection:
                found, size = hashlib.sha256(), 0
                while data := connection.recv(1 << 20):
                    found.update(data)
                    size += len(data)
                assert size == SIZE
                return found.hexdigest()

        assert eventually(fetched, "all of it comes through", timeout=60) == digest
    finally:
        forward.terminate()
        forward.wait(10)
