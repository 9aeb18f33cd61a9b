"""The scheduler on nodes that are only objects: how many pods a second get their node, beside how many are created."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.bench.api import free_port
from shim.api.meta import Object
from shim.client import Client
from shim.client import resource as r

if TYPE_CHECKING:
    from e2e.bench.__main__ import Figure

NODES, PODS = 200, 2000
CLIENTS = 16


def measure(folder: Path, say: Callable[[str], object]) -> list[Figure]:
    """API server and scheduler, each a process of its own."""
    say(f"the scheduler, {NODES} nodes without agents: starting")
    port, data = free_port(), folder / "scheduling"
    server = ["apiserver", "--data-dir", str(data), "--port", str(port), "--authorization-mode", "AlwaysAllow"]
    kubeconfig = data / "admin.kubeconfig"
    with part(server), part(["scheduler", "--kubeconfig", str(kubeconfig)]) as scheduler:
        return asyncio.run(_measure(kubeconfig, scheduler, say))


async def _measure(kubeconfig: Path, scheduler: int, say: Callable[[str], object]) -> list[Figure]:
    from e2e.bench.__main__ import Figure

    async with Client.from_kubeconfig(kubeconfig, user_agent="bench") as client:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        await client.create(r.SERVICEACCOUNTS, account, "default")
        for number in range(NODES):
            await _add_node(client, f"node-{number:03d}")
        before = memory(scheduler)
        say(f"{PODS} pods")
        start = (await client.list(r.PODS, "default"))["metadata"]["resourceVersion"]
        began = time.perf_counter()
        creating = asyncio.gather(*(_create(client, first) for first in range(CLIENTS)))
        bound = asyncio.create_task(_all_bound(client, start))
        await creating
        created_in = time.perf_counter() - began
        await bound
        bound_in = time.perf_counter() - began
        grown = memory(scheduler) - before
    return [
        Figure(
            f"pods created and bound, {NODES} nodes, {PODS} pods",
            PODS / bound_in,
            "/s",
            PODS / created_in,
            "/s created",
            ">= 100/s",
        ),
        Figure("the scheduler's memory for a pod", grown / PODS / 1024, "KiB"),
    ]


async def _add_node(client: Client, name: str) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    await client.create(r.NODES, node)
    await client.patch(r.NODES, name, {"spec": {"taints": None}})
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "250"}
    status = {"allocatable": capacity, "capacity": capacity}
    await client.patch(r.NODES, name, {"status": status}, subresource="status")


async def _create(client: Client, first: int) -> None:
    for number in range(first, PODS, CLIENTS):
        container: Object = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{number:05d}", "labels": {"app": "a"}}}
        await client.create(r.PODS, {**pod, "spec": {"containers": [container]}}, "default")


async def _all_bound(client: Client, start: str) -> None:
    left = {f"p{number:05d}" for number in range(PODS)}
    while left:
        async for _, pod in client.watch(r.PODS, "default", resource_version=start):
            start = pod["metadata"]["resourceVersion"]
            if (pod.get("spec") or {}).get("nodeName"):
                left.discard(pod["metadata"]["name"])
            if not left:
                return


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@contextmanager
def part(arguments: list[str]) -> Iterator[int]:
    """A part of the cluster, ready; its process id."""
    part = subprocess.Popen([sys.executable, "-m", "shim", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert part.stdout is not None
        part.stdout.readline()
        yield part.pid
    finally:
        part.send_signal(signal.SIGTERM)
        part.wait()
