"""What does /proc tell about a process, and how is one waited for or ended without mistaking it for another?"""

from __future__ import annotations

import os
import select
import signal
import time

from nodeagent.linux.cgroups import tree

PROCS = "cgroup.procs"


def start_time(pid: int) -> int:
    """When ``pid`` started, in clock ticks since boot: with the pid it names a process once and for all. 0 if gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])  # a zombie runs no more


def argument_area() -> tuple[int, int]:
    """Where in this process's memory its command line stands: what others read as /proc/PID/cmdline."""
    with open("/proc/self/stat", "rb") as stat:
        fields = stat.read().rpartition(b") ")[2].split()
    return int(fields[45]), int(fields[46])


def boot_id() -> str:
    """Changes with every boot of the machine."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def end(pid: int, started: int, timeout: float = 5.0) -> bool:
    """SIGKILL the process that had ``pid`` and ``started``, and wait until it is gone. False if it outlives timeout."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        if start_time(pid) != started:  # after pidfd_open: the pid cannot change hands unnoticed now
            return True
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return True
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(timeout * 1000))
    finally:
        os.close(pidfd)


def pids_in(files: list[str]) -> set[int]:
    """Process ids listed in cgroup.procs files; those of files that are gone are none."""
    found: set[int] = set()
    for path in files:
        try:
            with open(path, "rb") as file:
                found.update(int(pid) for pid in file.read().split())
        except (FileNotFoundError, OSError):
            continue
    found.discard(0)  # a process of another pid namespace than ours: not ours to name
    return found


def _kill_at_once(cgroup: str) -> None:
    """Version 2 does, with all below, and nothing that forks is quicker (Linux 5.14 and later)."""
    try:
        with open(os.path.join(cgroup, "cgroup.kill"), "w", encoding="ascii") as file:
            file.write("1")
    except OSError:
        pass  # it has gone, is of version 1, or has threads of others


def kill_all(files: list[str], timeout: float = 5.0) -> bool:
    """SIGKILL everything in a cgroup and below it, until that is empty. ``files``: its ``procs_files``, its own first.

    A container that may write to its cgroup has made some below, perhaps only now.
    """
    if not files:
        return True
    top = os.path.dirname(files[0])
    deadline = time.monotonic() + timeout
    pause = 0.001
    _kill_at_once(top)
    while pids := pids_in([os.path.join(cgroup, PROCS) for cgroup in tree(top)]):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return True
