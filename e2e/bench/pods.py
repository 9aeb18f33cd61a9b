"""A whole cluster: how long until it is up, until a pod is Ready, until thirty are, until they are gone."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.bench import limits, node
from e2e.cluster import Cluster, pod
from shim.client import Client
from shim.client import resource as r

if TYPE_CHECKING:
    from e2e.bench.__main__ import Figure

DEAF = ("sleep", "1000")  # as process 1 it ignores SIGTERM, as the kernel has it
HEARING = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait")  # ends at once when told to
CROWD = 100


@dataclass(slots=True)
class Times:
    """Seconds."""

    single: float = 0.0
    many: float = 0.0
    gone: float = 0.0
    gone_by_force: float = 0.0
    crowd: float = 0.0


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
        took, cost = asyncio.run(_pods(cluster, say))
    finally:
        cluster.down(purge=True)
    return [
        Figure("shim up, a new cluster of three nodes", first, "s", aim="<= 5 s"),
        Figure("shim up, the same again", again, "s", aim="<= 5 s"),
        Figure(
            "pod create -> Ready, one at a time, p50", took.single * 1e3, "ms", fork * 1e3, "ms bare fork", "<= 65 ms"
        ),
        Figure("30 pods at once, all Ready", took.many, "s", aim="<= 1 s"),
        Figure("30 pods deleted that end on SIGTERM, all gone", took.gone, "s", aim="<= 0.5 s"),
        Figure("30 pods deleted that ignore it, all gone", took.gone_by_force, "s", 2.0, "s least grace"),
        Figure(f"{CROWD} pods at once on one node, all Ready", took.crowd, "s", aim="<= 4 s"),
        Figure(f"private memory beside a pod's processes, of {CROWD}", cost.memory / 1e6, "MB", aim="<= 6 MB"),
        Figure(f"idle node agent with {CROWD} pods, of a core", cost.processor * 100, "%", aim="<= 3 %"),
    ]


async def _pods(cluster: Cluster, say: Callable[[str], object]) -> tuple[Times, node.Cost]:
    took = Times()
    async with Client.from_kubeconfig(cluster.kubeconfig, user_agent="bench") as client:
        say("pods, one at a time")
        singles = []
        for number in range(20):
            one = _named("single", 1, DEAF, first=number)
            singles.append(await _until_ready(client, one))
            await _until_gone(client, one)
        took.single = statistics.median(singles)
        say("30 pods at once")
        took.many = await _until_ready(client, _named("many", 30, DEAF))
        took.gone_by_force = await _until_gone(client, _named("many", 30, DEAF))
        await _until_ready(client, _named("hearing", 30, HEARING))
        took.gone = await _until_gone(client, _named("hearing", 30, HEARING))
        say(f"{CROWD} pods on one node")
        crowd = _named("crowd", CROWD, HEARING, nodeSelector={"kubernetes.io/hostname": "node-1"})
        before = node.private_memory(cluster, "node-1")
        took.crowd = await _until_ready(client, crowd)
        cost = await node.cost(cluster, "node-1", CROWD, before)
        await _until_gone(client, crowd)
    return took, cost


def _named(name: str, count: int, command: tuple[str, ...], first: int = 0, **spec: Any) -> list[dict[str, Any]]:
    made = [pod(f"{name}-{number}", *command) for number in range(first, first + count)]
    for each in made:
        each["spec"] |= spec
    return made


async def _until_ready(client: Client, pods: list[dict[str, Any]]) -> float:
    def ready(obj: dict[str, Any]) -> bool:
        return any(each["type"] == "Ready" and each["status"] == "True" for each in obj["status"].get("conditions", ()))

    work = [client.create(r.PODS, each, "default") for each in pods]
    return await _until(client, work, pods, lambda _, obj: ready(obj))


async def _until_gone(client: Client, pods: list[dict[str, Any]]) -> float:
    work = [client.delete(r.PODS, each["metadata"]["name"], "default", grace_period=1) for each in pods]
    return await _until(client, work, pods, lambda event, _: event == "DELETED")


async def _until(
    client: Client,
    work: list[Any],
    pods: list[dict[str, Any]],
    done: Callable[[str, dict[str, Any]], bool],
) -> float:
    """Seconds from the first request until ``done`` is true of each pod, as a watcher sees it."""
    start = (await client.list(r.PODS, "default"))["metadata"]["resourceVersion"]
    waiting = {each["metadata"]["name"] for each in pods}
    began = time.perf_counter()
    asking = asyncio.gather(*work)
    async for event, obj in client.watch(r.PODS, "default", resource_version=start):
        if event != "BOOKMARK" and done(event, obj):
            waiting.discard(obj["metadata"]["name"])
        if not waiting:
            break
    seconds = time.perf_counter() - began
    await asking
    return seconds
