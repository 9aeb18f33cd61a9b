"""What does a node take of the machine for its pods, beside what the pods' own processes do?"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import Cluster
from nodeagent.engine import spawn

SETTLED, WATCHED = 5.0, 20.0  # seconds


@dataclass(frozen=True, slots=True)
class Cost:
    """``memory``: bytes for each pod; ``processor``: part of a core, while nothing happens."""

    memory: float
    processor: float


async def cost(cluster: Cluster, node: str, pods: int, before: int) -> Cost:
    """What that many pods cost that have come since ``private_memory`` was ``before``."""
    await asyncio.sleep(SETTLED)
    memory = (private_memory(cluster, node) - before) / pods
    began, ticks = time.perf_counter(), _ticks(cluster, node)
    await asyncio.sleep(WATCHED)
    seconds = (_ticks(cluster, node) - ticks) / os.sysconf("SC_CLK_TCK")
    return Cost(memory, seconds / (time.perf_counter() - began))


def private_memory(cluster: Cluster, node: str) -> int:
    """Bytes that no other process shares, of everything that works for the node's pods but is none of them."""
    return sum(_private(pid) for pid in _workers(cluster, node))


def _workers(cluster: Cluster, node: str) -> list[int]:
    """The agent, the service proxy, the zygote, and all that the zygote forked: monitors."""
    parts = [pid for name, pid in cluster.parts().items() if name.startswith(f"{node}.")]
    told = spawn.ping(cluster.run_dir / node)
    zygote = int(told["pid"]) if told else 0
    return [*parts, zygote, *(pid for pid in _processes() if _parent(pid) == zygote)]


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat(pid: int) -> list[bytes]:
    """Fields of /proc/PID/stat from the state on; none if it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _parent(pid: int) -> int:
    stat = _stat(pid)
    return int(stat[1]) if stat else 0


def _ticks(cluster: Cluster, node: str) -> int:
    """Clock ticks that those processes have had."""
    return sum(int(stat[11]) + int(stat[12]) for pid in _workers(cluster, node) if (stat := _stat(pid)))


def _private(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
