"""What is there on this node, and who uses it? The readings that evictions rest on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from nodeagent.engine.contract import EngineError
from nodeagent.kubelet import names
from nodeagent.kubelet.context import Node
from nodeagent.kubelet.eviction.ranking import ContainerUse, PodUse
from nodeagent.kubelet.eviction.thresholds import Observation
from nodeagent.linux import diskuse
from shim.api.meta import Object


def signals(data_dir: Path, image_dir: Path) -> dict[str, Observation]:
    """How much of each is left."""
    node, images = os.statvfs(data_dir), os.statvfs(image_dir)
    memory = _meminfo()
    threads, most = _processes()
    return {
        "memory.available": Observation(memory["MemAvailable"], memory["MemTotal"]),
        "nodefs.available": Observation(node.f_bavail * node.f_frsize, node.f_blocks * node.f_frsize),
        "nodefs.inodesFree": Observation(node.f_favail, node.f_files),
        "imagefs.available": Observation(images.f_bavail * images.f_frsize, images.f_blocks * images.f_frsize),
        "imagefs.inodesFree": Observation(images.f_favail, images.f_files),
        "pid.available": Observation(max(0, most - threads), most),
    }


def _meminfo() -> dict[str, int]:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


def _processes() -> tuple[int, int]:
    """How many there are, and may be."""
    running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    most = min(int(Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("pid_max", "threads-max"))
    return running, most


async def pod_use(node: Node, pod: Object) -> PodUse:
    """What a pod uses right now; of what has just gone, nothing."""
    uid = names.uid_of(pod)
    containers = {}
    inodes = 0
    for name, runs in node.inventory.runs(uid).items():
        try:
            usage = await node.engine.usage(runs[0].id) if runs[0].phase == "running" else {}
            root = await node.engine.disk_usage(runs[0].id)
        except EngineError:
            continue
        logs = await asyncio.to_thread(diskuse.of, str(node.paths.pod_logs(pod) / name))
        containers[name] = ContainerUse(
            usage.get("memory_bytes", 0), usage.get("pids", 0), root.size, logs.size, root.inodes + logs.inodes
        )
    volumes = {}
    for volume in pod["spec"].get("volumes") or ():
        told = volume.get("emptyDir")
        if told is not None and not told.get("medium"):
            used = await asyncio.to_thread(diskuse.of, str(node.paths.volume(uid, volume["name"])))
            volumes[volume["name"]] = used.size
            inodes += used.inodes
    return PodUse(containers, volumes, inodes)
