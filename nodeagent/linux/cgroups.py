"""Which cgroups does this machine have, and what may be done with either kind?

A *path* here is below the mount of the hierarchy: ``shim/node-1/kubepods/pod42/web``. Version 1 has one
directory of that name per controller, version 2 a single one; callers need not know which.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from nodeagent.linux.pressure import Pressure

# What a container may open whatever its user: "type major:minor access", as cgroup v1 writes it.
# mknod alone (m) is harmless: only opening what was made needs r or w.
ALLOWED_DEVICES = (
    *("c *:* m", "b *:* m"),
    *("c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm"),  # null zero full random urandom
    *("c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm"),  # tty ptmx pts; a container's console is one of pts
)


UNLIMITED = -1


class CgroupMount(NamedTuple):
    """One file system to mount for a container to see its own cgroup."""

    name: str  # folder below /sys/fs/cgroup; "" is that folder itself
    fstype: str
    options: str


class Cgroups(Protocol):
    """Version 1 or 2. Creating what exists and removing what is gone succeed."""

    def create(self, path: str) -> None: ...

    def limit(
        self,
        path: str,
        *,
        cpu_shares: int | None = None,
        cpu_quota_us: int | None = None,
        cpu_period_us: int = 100_000,
        memory_limit: int | None = None,
        swap_limit: int | None = None,
        pids_limit: int | None = None,
        die_together: int | None = None,
    ) -> None:
        """What is None stays as it is; UNLIMITED takes a quota or a limit away.

        Swap is limited beside memory where this kernel counts it; version 1 does so only below a limit of memory.
        """

    def limit_huge_pages(self, path: str, most: Mapping[int, int]) -> None:
        """Bytes by the size of the pages; none of other sizes. Only version 2 limits them, if the kernel can."""

    def commands(self, path: str, **limits: int | None) -> list[str]:
        """What one would type to create and limit ``path``."""

    def files(self, path: str) -> list[str]:
        """The files that tell limits and use, of those there are."""

    def restrict_devices(self, path: str, more: Sequence[str] = ()) -> None:
        """Let the processes in ``path`` open ALLOWED_DEVICES and ``more`` only."""

    def remove(self, path: str) -> None:
        """Remove ``path`` and all below; its processes must be gone (dying ones are waited for)."""

    def remove_empty(self, path: str) -> None:
        """Remove ``path`` if nothing is in it."""

    def join_files(self, path: str) -> list[str]:
        """A process that writes 0 to each of these is in the cgroup."""

    def cpu_files(self, path: str) -> list[str]:
        """Those of ``join_files`` that make the limits of CPU time count: with version 2 there is but one for all."""

    def procs_files(self, path: str) -> list[str]:
        """Files that list the processes in ``path`` and below."""

    def oom_file(self, path: str) -> str:
        """The file whose ``oom_kill`` line counts processes killed for memory."""

    def usage(self, path: str) -> Mapping[str, int]: ...

    def pressure(self, path: str) -> Pressure:
        """Version 1 does not count it."""

    def mounts(self) -> list[CgroupMount]: ...


class Hierarchy(NamedTuple):
    """A mounted cgroup file system."""

    point: str
    version: int
    controllers: frozenset[str]  # of version 1


def hierarchies() -> list[Hierarchy]:
    """What is mounted, the last mount on a point winning."""
    found: dict[str, Hierarchy] = {}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            left, _, right = line.rstrip("\n").partition(" - ")
            fstype, _, options = right.split(" ", 2)
            point = left.split(" ", 5)[4]
            if fstype == "cgroup":
                found[point] = Hierarchy(point, 1, frozenset(options.split(",")))
            elif fstype == "cgroup2":
                found[point] = Hierarchy(point, 2, frozenset())
    return list(found.values())


def detect() -> Cgroups:
    """The version that has the memory controller: on a hybrid machine that is 1."""
    mounted = hierarchies()
    first = {name: h.point for h in mounted if h.version == 1 for name in h.controllers}
    if "memory" in first:
        from nodeagent.linux.cgroup1 import Version1  # imports cgroupspy, which a version 2 machine needs not

        return Version1(first)
    for hierarchy in mounted:
        if hierarchy.version == 2:
            from nodeagent.linux.cgroup2 import Version2

            return Version2(hierarchy.point)
    raise OSError(errno.ENOENT, "cgroups: neither version 1 with memory nor version 2 is mounted", "/sys/fs/cgroup")


def version() -> int:
    """Which of them ``detect`` finds."""
    return 1 if any(each.version == 1 and "memory" in each.controllers for each in hierarchies()) else 2


def tree(top: str) -> list[str]:
    """``top`` and the directories below, the deepest last; none when it is gone."""
    return [folder for folder, _, _ in os.walk(top)]


def remove_tree(top: str, timeout: float = 2.0) -> None:
    """rmdir ``top`` and all below. A process that just died keeps its cgroup busy for a moment, hence the retry."""
    deadline = time.monotonic() + timeout
    for folder in reversed(tree(top)):
        while True:
            try:
                os.rmdir(folder)
                break
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.002)


def remove_if_empty(folder: str) -> None:
    """rmdir ``folder`` unless it has processes or cgroups in it."""
    try:
        os.rmdir(folder)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOENT, errno.ENOTEMPTY):
            raise


def oom_kills(file: str) -> int:
    """The count in ``Cgroups.oom_file``; 0 when the cgroup is gone."""
    try:
        with open(file, encoding="ascii") as lines:
            for line in lines:
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
    except OSError:
        pass
    return 0
