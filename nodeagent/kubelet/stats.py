"""What do this node and its pods use? ``/stats/summary``, in the shape of the kubelet's stats API.

See https://kubernetes.io/docs/reference/instrumentation/node-metrics/. Rates are of the time since the last question.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nodeagent.engine.contract import EngineError
from nodeagent.kubelet import names, resources
from nodeagent.kubelet.context import Node
from nodeagent.kubelet.observed import Run
from nodeagent.linux import diskuse, pressure
from nodeagent.linux.diskuse import DiskUse
from nodeagent.linux.pressure import Pressure
from shim.api.meta import Object, now

Usage = Mapping[str, int]

REMEMBERED = 600.0  # seconds a reading is kept for the rate of the next one


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    cpu_ns: int


class Summary:
    """Reads it all when asked."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._before: dict[str, _Sample] = {}
        self._started = now()

    async def read(self, pods: Iterable[Object], *, only_cpu_and_memory: bool = False) -> Object:
        """The whole answer, or only what a metrics server wants."""
        node, whole = self._node, not only_cpu_and_memory
        usage, whole_memory = await node.engine.node_usage(), node.memory_capacity
        fs = _fs(node.settings.data_dir)
        told: Object = {
            "nodeName": node.settings.node_name,
            "systemContainers": [
                {"name": "pods", "startTime": self._started, **self._cpu_memory("", usage, whole_memory)}
            ],
            "startTime": _boot_time(),
            **self._cpu_memory("node", _machine(), whole_memory),
        }
        if whole:
            images = await asyncio.to_thread(diskuse.of, str(node.settings.image_dir))
            told["network"] = _network(Path("/proc/self/net/dev"))
            told["fs"] = {**fs, "usedBytes": fs["capacityBytes"] - fs["availableBytes"]}
            own = _used(_fs(node.settings.image_dir), images)
            told["runtime"] = {"imageFs": own, "containerFs": own}
            told["rlimit"] = _processes()
            _tell_pressure(told, pressure.of_machine())
        answer = {"node": told, "pods": [await self._pod(pod, fs, whole) for pod in pods]}
        recent = time.monotonic() - REMEMBERED
        self._before = {key: sample for key, sample in self._before.items() if sample.at > recent}
        return answer

    async def _pod(self, pod: Object, fs: Object, whole: bool) -> Object:
        node, uid, meta = self._node, names.uid_of(pod), pod["metadata"]
        total: dict[str, int] = {}
        containers = []
        disk = DiskUse()
        for name, runs in node.inventory.runs(uid).items():
            run = runs[0]
            if run.phase != "running":
                continue
            try:
                usage = await node.engine.usage(run.id)
                container, used = await self._container(pod, name, run, usage, fs, whole)
            except EngineError:
                continue  # it has just ended
            containers.append(container)
            disk += used
            for key, value in usage.items():
                total[key] = total.get(key, 0) + value
        told: Object = {
            "podRef": {"name": meta["name"], "namespace": meta["namespace"], "uid": uid},
            "startTime": (pod.get("status") or {}).get("startTime"),
            "containers": containers,
            **self._cpu_memory(uid, total),
        }
        if whole:
            try:
                _tell_pressure(told, await node.engine.pressure(resources.cgroup_of(pod)))
            except EngineError:
                pass  # it has just gone
            if traffic := self._traffic(uid):
                told["network"] = traffic
            volumes, kept = await self._volumes(pod, fs)
            if volumes:
                told["volume"] = volumes
            told["ephemeral-storage"] = _used(fs, disk + kept)
            told["process_stats"] = {"process_count": total.get("pids", 0)}
        return told

    async def _container(
        self, pod: Object, name: str, run: Run, usage: Usage, fs: Object, whole: bool
    ) -> tuple[Object, DiskUse]:
        node = self._node
        found = names.find_container(pod, name)
        limit = resources.container_limits(found[1]).memory_limit if found else None
        told: Object = {
            "name": name,
            "startTime": _time(run.started_at),
            **self._cpu_memory(run.id, usage, limit or 0),
        }
        if not whole:
            return told, DiskUse()
        _tell_pressure(told, await node.engine.pressure(f"{resources.cgroup_of(pod)}/{run.id}"))
        root = await node.engine.disk_usage(run.id)
        logs = await asyncio.to_thread(diskuse.of, str(node.paths.pod_logs(pod) / name))
        told["rootfs"], told["logs"] = _used(fs, root), _used(fs, logs)
        return told, root + logs

    async def _volumes(self, pod: Object, fs: Object) -> tuple[list[Object], DiskUse]:
        """Of those that are folders here; and what of it is the pod's own, which goes with it."""
        told, own = [], DiskUse()
        for volume in pod["spec"].get("volumes") or ():
            path = self._node.paths.volume(names.uid_of(pod), volume["name"])
            if path.is_dir():
                used = await asyncio.to_thread(diskuse.of, str(path))
                told.append({**_used(fs, used), "name": volume["name"]})
                own += used
        return told, own

    def _traffic(self, uid: str) -> Object | None:
        pid = next((state.pid for state in self._node.inventory.containers(uid) if state.pid), 0)
        host = any(not state.netns for state in self._node.inventory.sandboxes(uid))
        return _network(Path(f"/proc/{pid}/net/dev")) if pid and not host else None

    def _cpu_memory(self, key: str, usage: Usage, capacity: int = 0) -> Object:
        at, before = time.monotonic(), self._before.get(key)
        cpu_ns = usage.get("cpu_ns", 0)
        rate = 0
        if before and at > before.at:
            rate = max(0, int((cpu_ns - before.cpu_ns) / (at - before.at)))
        self._before[key] = _Sample(at, cpu_ns)
        working = usage.get("memory_bytes", 0)
        memory: Object = {
            "time": now(),
            "usageBytes": usage.get("memory_usage", working),
            "workingSetBytes": working,
            "rssBytes": usage.get("memory_rss", 0),
            "pageFaults": usage.get("page_faults", 0),
            "majorPageFaults": usage.get("major_page_faults", 0),
        }
        if capacity:
            memory["availableBytes"] = max(0, capacity - working)
        free = usage.get("swap_free", 0)
        swap = {"time": now(), "swapAvailableBytes": free, "swapUsageBytes": usage.get("memory_swap", 0)}
        cpu = {"time": now(), "usageNanoCores": rate, "usageCoreNanoSeconds": cpu_ns}
        return {"cpu": cpu, "memory": memory, "swap": swap}


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _boot_time() -> str:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return _time(float(line.split()[1]))
    return now()


def _machine() -> dict[str, int]:
    """Processor time and memory of the whole machine: with its system, and of all nodes that share it."""
    ticks = Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = map(int, ticks)
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    lines = Path("/proc/meminfo").read_text().splitlines()
    memory = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    used = memory["MemTotal"] - memory["MemFree"]
    return {
        "cpu_ns": int(busy * 1e9),
        "memory_bytes": max(0, used - memory.get("Inactive(file)", 0)),
        "memory_usage": used,
        "memory_rss": memory.get("AnonPages", 0),
        "memory_swap": memory["SwapTotal"] - memory["SwapFree"],
        "swap_free": memory["SwapFree"],
    }


def _tell_pressure(of: Object, found: Pressure) -> None:
    """Beside what else is told of each resource."""
    for resource, stalls in found.items():
        of.setdefault(resource, {"time": now()})["psi"] = {which: _stall(stall) for which, stall in stalls.items()}


def _stall(told: pressure.Stall) -> Object:
    return {"total": told.total_ns, "avg10": told.avg10, "avg60": told.avg60, "avg300": told.avg300}


def _network(path: Path) -> Object:
    """Counters of every interface but the loopback; eth0's, or the first one's, are the default's."""
    interfaces = []
    try:
        lines = path.read_text().splitlines()[2:]
    except OSError:
        lines = []
    for line in lines:
        name, _, numbers = line.partition(":")
        fields = [int(number) for number in numbers.split()]
        counted = {"rxBytes": fields[0], "rxErrors": fields[2], "txBytes": fields[8], "txErrors": fields[10]}
        if name.strip() != "lo":
            interfaces.append({"name": name.strip(), **counted})
    first = next((each for each in interfaces if each["name"] == "eth0"), interfaces[0] if interfaces else {})
    return {"time": now(), **first, "interfaces": interfaces}


def _fs(path: Path) -> Object:
    disk = os.statvfs(path)
    return {
        "time": now(),
        "availableBytes": disk.f_bavail * disk.f_frsize,
        "capacityBytes": disk.f_blocks * disk.f_frsize,
        "inodesFree": disk.f_ffree,
        "inodes": disk.f_files,
        "inodesUsed": disk.f_files - disk.f_ffree,
    }


def _used(fs: Object, used: DiskUse) -> Object:
    return {**fs, "usedBytes": used.size, "inodesUsed": used.inodes}


def _processes() -> Object:
    running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    return {"time": now(), "maxpid": int(Path("/proc/sys/kernel/pid_max").read_text()), "curproc": running}
