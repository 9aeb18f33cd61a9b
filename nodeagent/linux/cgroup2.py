"""How are version 2 cgroups, one tree for all controllers, made and limited?"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence

from nodeagent.linux import device_filter, hugepages, pressure
from nodeagent.linux.cgroups import ALLOWED_DEVICES, UNLIMITED, CgroupMount, remove_if_empty, remove_tree, tree
from nodeagent.linux.pressure import Pressure

NEEDED = frozenset({"cpu", "memory", "pids", "hugetlb"})
"""Controllers that limits are given to here. All others are passed on too, as a kubelet does: for pods to look at."""

_SWAP = "memory.swap.max"
_SHOWN = (
    *("cpu.weight", "cpu.max", "cpu.stat", "memory.max", _SWAP, "memory.current", "memory.events"),
    *("pids.max", "pids.current"),
)


class Version2:
    """Cgroups of version 2. What each method does is said, and their signatures are fixed, in ``cgroups.Cgroups``."""

    def __init__(self, point: str) -> None:
        self._point = point
        self._kept: set[str] = set()  # controllers that nobody needs and that the kernel does not pass on here

    def _file(self, path: str, name: str) -> str:
        return os.path.join(self._point, path, name)

    def _read(self, path: str, name: str) -> str:
        with open(self._file(path, name), encoding="ascii") as file:
            return file.read()

    def _write(self, path: str, name: str, value: str) -> None:
        with open(self._file(path, name), "w", encoding="ascii") as file:
            file.write(value)

    def create(self, path: str) -> None:
        parent = ""
        for part in path.strip("/").split("/"):
            self._delegate(parent)  # a controller works in a cgroup only when its parent passes it on
            parent = os.path.join(parent, part)
            os.makedirs(self._file(parent, ""), exist_ok=True)

    def _delegate(self, path: str) -> None:
        there = self._read(path, "cgroup.controllers").split()
        missing = {*there} - {*self._read(path, "cgroup.subtree_control").split()} - self._kept
        if needed := missing & NEEDED:
            self._pass_on(path, needed)
        for name in sorted(missing - NEEDED):
            try:
                self._write(path, "cgroup.subtree_control", f"+{name}")
            except OSError:
                self._kept.add(name)

    def _pass_on(self, path: str, names: Iterable[str]) -> None:
        wanted = " ".join(f"+{name}" for name in sorted(names))
        try:
            self._write(path, "cgroup.subtree_control", wanted)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # A cgroup with processes of its own passes nothing on (only the machine's very root may). In a
            # container our root is such a one: its processes move into a leaf beside ours.
            os.makedirs(self._file(path, "init"), exist_ok=True)
            for pid in self._read(path, "cgroup.procs").split():
                try:
                    self._write(os.path.join(path, "init"), "cgroup.procs", pid)
                except ProcessLookupError:
                    continue
            self._write(path, "cgroup.subtree_control", wanted)

    def limit(self, path: str, **limits: int | None) -> None:
        for file, value in _writes(**limits):
            if file != _SWAP or os.path.exists(self._file(path, file)):
                self._write(path, file, value)

    def limit_huge_pages(self, path: str, most: Mapping[int, int]) -> None:
        for size in hugepages.sizes():
            file = f"hugetlb.{hugepages.name(size)}"
            if os.path.exists(self._file(path, f"{file}.max")):
                self._write(path, f"{file}.max", str(most.get(size, 0)))
                self._write(path, f"{file}.rsvd.max", str(most.get(size, 0)))  # what is mapped, used or not

    def commands(self, path: str, **limits: int | None) -> list[str]:
        folder = self._file(path, "").rstrip("/")
        return [f"mkdir -p {folder}", *(f"echo {value} > {folder}/{file}" for file, value in _writes(**limits))]

    def files(self, path: str) -> list[str]:
        found = [self._file(path, name) for name in _SHOWN]
        return [file for file in found if os.path.exists(file)]

    def restrict_devices(self, path: str, more: Sequence[str] = ()) -> None:
        device_filter.attach(self._file(path, ""), (*ALLOWED_DEVICES, *more))

    def remove(self, path: str) -> None:
        remove_tree(self._file(path, ""))

    def remove_empty(self, path: str) -> None:
        remove_if_empty(self._file(path, ""))

    def join_files(self, path: str) -> list[str]:
        return [self._file(path, "cgroup.procs")]

    def cpu_files(self, path: str) -> list[str]:
        return self.join_files(path)

    def procs_files(self, path: str) -> list[str]:
        return [os.path.join(folder, "cgroup.procs") for folder in tree(self._file(path, ""))]

    def oom_file(self, path: str) -> str:
        return self._file(path, "memory.events")

    def usage(self, path: str) -> Mapping[str, int]:
        cpu = dict(line.split() for line in self._read(path, "cpu.stat").splitlines())
        stat = dict(line.split() for line in self._read(path, "memory.stat").splitlines())
        memory = int(self._read(path, "memory.current"))
        swap = self._number(path, "memory.swap.current")
        return {
            **self._swap_free(path, swap),
            "cpu_ns": int(cpu.get("usage_usec", 0)) * 1000,
            "cpu_user_ns": int(cpu.get("user_usec", 0)) * 1000,
            "cpu_system_ns": int(cpu.get("system_usec", 0)) * 1000,
            "periods": int(cpu.get("nr_periods", 0)),
            "throttled_periods": int(cpu.get("nr_throttled", 0)),
            "throttled_ns": int(cpu.get("throttled_usec", 0)) * 1000,
            "memory_usage": memory,
            "memory_cache": int(stat.get("file", 0)),
            "memory_mapped_file": int(stat.get("file_mapped", 0)),
            "memory_active_file": int(stat.get("active_file", 0)),
            "memory_inactive_file": int(stat.get("inactive_file", 0)),
            "memory_bytes": max(0, memory - int(stat.get("inactive_file", 0))),
            "memory_swap": swap,
            "memory_most": self._number(path, "memory.peak"),
            "memory_rss": int(stat.get("anon", 0)),
            "page_faults": int(stat.get("pgfault", 0)),
            "major_page_faults": int(stat.get("pgmajfault", 0)),
            "pids": int(self._read(path, "pids.current")),
        }

    def _swap_free(self, path: str, used: int) -> dict[str, int]:
        try:
            limit = self._read(path, _SWAP).strip()
        except FileNotFoundError:
            return {}
        return {} if limit == "max" else {"swap_free": max(0, int(limit) - used)}

    def _number(self, path: str, name: str) -> int:
        try:
            return int(self._read(path, name))
        except FileNotFoundError:  # a kernel without swap, or before 5.19
            return 0

    def pressure(self, path: str) -> Pressure:
        return pressure.of_cgroup(self._file(path, "").rstrip("/"))

    def mounts(self) -> list[CgroupMount]:
        return [CgroupMount("", "cgroup2", "")]


def _writes(
    cpu_shares: int | None = None,
    cpu_quota_us: int | None = None,
    cpu_period_us: int | None = None,
    memory_limit: int | None = None,
    swap_limit: int | None = None,
    pids_limit: int | None = None,
    die_together: int | None = None,
) -> list[tuple[str, str]]:
    """Which file gets what."""
    found = []
    if cpu_shares is not None:
        shares = min(max(2, cpu_shares), 262_144)
        found.append(("cpu.weight", str(1 + (shares - 2) * 9999 // 262_142)))  # 2..262144 onto 1..10000
    if cpu_quota_us is not None:
        quota = "max" if cpu_quota_us == UNLIMITED else max(1000, cpu_quota_us)
        found.append(("cpu.max", f"{quota} {cpu_period_us or 100_000}"))
    if memory_limit is not None:
        found.append(("memory.max", "max" if memory_limit == UNLIMITED else str(memory_limit)))
    if swap_limit is not None:
        found.append((_SWAP, "max" if swap_limit == UNLIMITED else str(swap_limit)))
    if die_together:
        found.append(("memory.oom.group", "1"))
    if pids_limit is not None:
        found.append(("pids.max", str(pids_limit)))
    return found
