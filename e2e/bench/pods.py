"""A whole cluster: how long until it is up, until a pod is Ready, until thirty are, until they are gone."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.bench import limits
from e2e.cluster import Cluster, pod
from shim.client import Client
from shim.client import resource as r

if TYPE_CHECKING:
    from e2e.bench.__main__ import Figure


def measure(folder: Path, say: Callable[[str], object]) -> list[Figure]:
    """All figures of a cluster with three nodes."""
    from e2e.bench.__main__ import Figure

    fork = limits.bare_fork()
    cluster = Cluster("bench", folder / "pods")
    say("a cluster of three nodes: starting")
    try:
        began = time.perf_counter()
        cluster.up(nodes=3)
        first = time.perf_counter() - began
        cluster.down()
        began = time.perf_counter()
        cluster.up(nodes=3)
        again = time.perf_counter() - began
        single, many, gone = asyncio.run(_pods(cluster, say))
    finally:
        cluster.down(purge=True)
    return [
        Figure("shim up, a new cluster of three nodes", first, "s", aim="<= 5 s"),
        Figure("shim up, the same again", again, "s", aim="<= 5 s"),
        Figure("pod create -> Ready, one at a time, p50", single * 1e3, "ms", fork * 1e3, "ms bare fork", "<= 65 ms"),
        Figure("30 pods at once, all Ready", many, "s", aim="<= 1 s"),
        Figure("30 pods deleted, all gone", gone, "s", aim="<= 0.5 s"),
    ]


async def _pods(cluster: Cluster, say: Callable[[str], object]) -> tuple[float, float, float]:
    async with Client.from_kubeconfig(cluster.kubeconfig, user_agent="bench") as client:
        say("pods, one at a time")
        singles = []
        for number in range(20):
            singles.append(await _until_ready(client, [f"single-{number}"]))
            await _until_gone(client, [f"single-{number}"])
        say("30 pods at once")
        names = [f"many-{number}" for number in range(30)]
        many = await _until_ready(client, names)
        gone = await _until_gone(client, names)
    return statistics.median(singles), many, gone


async def _until_ready(client: Client, names: list[str]) -> float:
    start = (await client.list(r.PODS, "default"))["metadata"]["resourceVersion"]
    waiting = set(names)
    began = time.perf_counter()
    creating = asyncio.gather(*(client.create(r.PODS, pod(name, "sleep", "1000"), "default") for name in names))
    async for _, obj in client.watch(r.PODS, "default", resource_version=start):
        if any(each["type"] == "Ready" and each["status"] == "True" for each in obj["status"].get("conditions", ())):
            waiting.discard(obj["metadata"]["name"])
        if not waiting:
            break
    seconds = time.perf_counter() - began
    await creating
    return seconds


async def _until_gone(client: Client, names: list[str]) -> float:
    start = (await client.list(r.PODS, "default"))["metadata"]["resourceVersion"]
    waiting = set(names)
    began = time.perf_counter()
    deleting = asyncio.gather(*(client.delete(r.PODS, name, "default", grace_period=1) for name in names))
    async for event, obj in client.watch(r.PODS, "default", resource_version=start):
        if event == "DELETED":
            waiting.discard(obj["metadata"]["name"])
        if not waiting:
            break
    seconds = time.perf_counter() - began
    await deleting
    return seconds
