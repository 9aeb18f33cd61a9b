"""How are version 1 cgroups, one tree per controller, made and limited? The only user of cgroupspy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from cgroupspy.controllers import Controller, CpuAcctController, CpuController, DevicesController, MemoryController
from cgroupspy.interfaces import BaseFileInterface, IntegerFile
from cgroupspy.nodes import Node

from nodeagent.linux.cgroups import ALLOWED_DEVICES, UNLIMITED, CgroupMount, remove_if_empty, remove_tree, tree
from nodeagent.linux.pressure import Pressure

CONTROLLERS = ("cpu", "cpuacct", "memory", "pids", "freezer", "devices")


_WITH_SWAP = "memory.memsw.limit_in_bytes"
_SHOWN = (
    *(("cpu", "cpu.shares"), ("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.cfs_period_us"), ("cpuacct", "cpuacct.usage")),
    *(("memory", "memory.limit_in_bytes"), ("memory", "memory.usage_in_bytes"), ("memory", "memory.failcnt")),
    *(("pids", "pids.max"), ("pids", "pids.current")),
)


class PidsController(Controller):  # type: ignore[misc]  # cgroupspy has no types
    """What cgroupspy lacks: the number of processes."""

    max = BaseFileInterface("pids.max")
    current = IntegerFile("pids.current", readonly=True)


class Version1:
    """Cgroups of version 1. What each method does is said, and their signatures are fixed, in ``cgroups.Cgroups``."""

    def __init__(self, points: Mapping[str, str]) -> None:
        self._points = {name: points[name] for name in CONTROLLERS if name in points}
        self._trees = tuple(dict.fromkeys(self._points.values()))  # cpu and cpuacct are one tree on many machines

    def _node(self, controller: str, path: str) -> Node | None:
        point = self._points.get(controller)
        return None if point is None else Node(os.path.join(point, path).encode())

    def create(self, path: str) -> None:
        for top in self._trees:
            os.makedirs(os.path.join(top, path), exist_ok=True)

    def limit(self, path: str, **limits: int | None) -> None:
        for controller, file, value in self._in_order(path, _writes(**limits)):
            if (node := self._node(controller, path)) is not None:
                Controller(node).set_property(file.encode(), value)

    def _in_order(self, path: str, writes: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
        """Memory with swap may never have less than memory: it is the first to grow, and the last to shrink."""
        with_swap = [write for write in writes if write[1] == _WITH_SWAP]
        others = [write for write in writes if write[1] != _WITH_SWAP]
        if not with_swap or not os.path.exists(os.path.join(self._points["memory"], path, _WITH_SWAP)):
            return others
        with open(os.path.join(self._points["memory"], path, _WITH_SWAP), encoding="ascii") as file:
            now, wanted = int(file.read()), with_swap[0][2]
        return [*with_swap, *others] if wanted == UNLIMITED or wanted > now else [*others, *with_swap]

    def limit_huge_pages(self, path: str, most: Mapping[int, int]) -> None:
        return None  # theirs is not among the trees made here

    def commands(self, path: str, **limits: int | None) -> list[str]:
        writes = [(self._points[name], file, value) for name, file, value in _writes(**limits) if name in self._points]
        writes = [write for write in writes if write[1] != _WITH_SWAP or os.path.exists(f"{write[0]}/{_WITH_SWAP}")]
        folders = " ".join(os.path.join(top, path) for top in self._trees)
        return [
            f"mkdir -p {folders}",
            *(f"echo {value} > {os.path.join(top, path, file)}" for top, file, value in writes),
        ]

    def files(self, path: str) -> list[str]:
        found = [os.path.join(self._points.get(name, ""), path, file) for name, file in _SHOWN]
        return [file for file in found if os.path.exists(file)]

    def restrict_devices(self, path: str, more: Sequence[str] = ()) -> None:
        if (node := self._node("devices", path)) is not None:
            devices = DevicesController(node)
            devices.set_property(b"devices.deny", "a")  # first: it also forgets what was allowed
            for rule in (*ALLOWED_DEVICES, *more):
                devices.set_property(b"devices.allow", rule)

    def remove(self, path: str) -> None:
        for top in self._trees:
            remove_tree(os.path.join(top, path))

    def remove_empty(self, path: str) -> None:
        for top in self._trees:
            remove_if_empty(os.path.join(top, path))

    def join_files(self, path: str) -> list[str]:
        # "tasks" moves one thread, all we have. "cgroup.procs" would move a thread group, for which the kernel
        # waits out an RCU grace period: 10-20 ms measured, against 1 ms.
        return [os.path.join(top, path, "tasks") for top in self._trees]

    def cpu_files(self, path: str) -> list[str]:
        return [os.path.join(self._points["cpu"], path, "tasks")] if "cpu" in self._points else []

    def procs_files(self, path: str) -> list[str]:
        top = os.path.join(self._points.get("pids", self._trees[0]), path)
        return [os.path.join(folder, "cgroup.procs") for folder in tree(top)]

    def oom_file(self, path: str) -> str:
        return os.path.join(self._points["memory"], path, "memory.oom_control")

    def usage(self, path: str) -> Mapping[str, int]:
        usage = {"cpu_ns": 0, "memory_bytes": 0, "pids": 0}
        if (node := self._node("cpuacct", path)) is not None:
            accounted = CpuAcctController(node)
            usage["cpu_ns"] = int(accounted.usage)
            for word in ("user", "system"):
                usage[f"cpu_{word}_ns"] = int(accounted.acct_stat[word]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        if (node := self._node("cpu", path)) is not None:
            stat = CpuController(node).stat
            usage["periods"], usage["throttled_periods"] = int(stat["nr_periods"]), int(stat["nr_throttled"])
            usage["throttled_ns"] = int(stat["throttled_time"])
        if (node := self._node("memory", path)) is not None:
            memory = MemoryController(node)
            stat = memory.stat
            idle = int(stat.get("total_inactive_file", 0))  # cache the kernel can take back at once
            usage["memory_usage"] = int(memory.usage_in_bytes)
            usage["memory_bytes"] = max(0, usage["memory_usage"] - idle)
            usage["memory_rss"] = int(stat.get("total_rss", 0))
            usage["memory_swap"] = int(stat.get("total_swap", 0))
            usage["page_faults"] = int(stat.get("total_pgfault", 0))
            usage["major_page_faults"] = int(stat.get("total_pgmajfault", 0))
            for key in ("cache", "mapped_file", "active_file", "inactive_file"):
                usage[f"memory_{key}"] = int(stat.get(f"total_{key}", 0))
            usage["memory_most"] = int(memory.max_usage_in_bytes)
        if (node := self._node("pids", path)) is not None:
            usage["pids"] = int(PidsController(node).current)
        return usage

    def pressure(self, path: str) -> Pressure:
        return {}

    def mounts(self) -> list[CgroupMount]:
        names: dict[str, list[str]] = {}
        for name, point in self._points.items():
            names.setdefault(point, []).append(name)
        return [CgroupMount(os.path.basename(point), "cgroup", ",".join(names[point])) for point in self._trees]


def _writes(
    cpu_shares: int | None = None,
    cpu_quota_us: int | None = None,
    cpu_period_us: int | None = None,
    memory_limit: int | None = None,
    swap_limit: int | None = None,
    pids_limit: int | None = None,
    die_together: int | None = None,
) -> list[tuple[str, str, int]]:
    """Which controller's file gets which number."""
    found = []
    if cpu_shares is not None:
        found.append(("cpu", "cpu.shares", max(2, cpu_shares)))
    if cpu_quota_us is not None:
        found.append(("cpu", "cpu.cfs_period_us", cpu_period_us or 100_000))
        least = 1000  # the kernel's
        found.append(("cpu", "cpu.cfs_quota_us", UNLIMITED if cpu_quota_us == UNLIMITED else max(least, cpu_quota_us)))
    if memory_limit is not None:
        found.append(("memory", "memory.limit_in_bytes", memory_limit))
        if swap_limit is not None:
            together = UNLIMITED if UNLIMITED in (memory_limit, swap_limit) else memory_limit + swap_limit
            found.append(("memory", _WITH_SWAP, together))
    if pids_limit is not None:
        found.append(("pids", "pids.max", pids_limit))
    return found
