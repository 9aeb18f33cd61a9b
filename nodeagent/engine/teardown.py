"""How does a node leave nothing behind? No running agent is needed: its cgroup and run folder lead to all."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import shutil
import socket
import struct
import time
from pathlib import Path

from nodeagent.engine import idranges, spawn, wire, zygote
from nodeagent.linux import cgroups, mounts, procfs

log = logging.getLogger(__name__)


async def teardown_node(data_dir: Path, run_dir: Path, cgroup_root: str) -> None:
    """End every process, mount and cgroup of the node and its files under /run; the files in ``data_dir`` stay."""
    await asyncio.to_thread(_teardown, Path(data_dir).absolute(), Path(run_dir).absolute(), cgroup_root.strip("/"))


def _teardown(data: Path, run: Path, cgroup_root: str) -> None:
    spawn.stop(run)  # first: nothing new starts
    tree = cgroups.detect()
    procfs.kill_all(tree.procs_files(cgroup_root))
    for path in (run / "monitors").glob("*.sock"):  # each writes down the exit it saw, and goes
        _end_monitor(path)
    procfs.kill_all(tree.procs_files(cgroup_root))
    if not _all_gone(run):
        log.warning("processes of %s do not end", run)
    for folder in (run, data / "pods"):  # namespaces; and volumes in memory, which end as at a reboot
        for point in mounts.below(str(folder)):
            mounts.detach(point)
    idranges.release(run)
    if run.exists():
        shutil.rmtree(run)
    tree.remove(cgroup_root)
    parent = os.path.dirname(cgroup_root)
    while parent:
        tree.remove_empty(parent)
        parent = os.path.dirname(parent)


def _all_gone(run: Path, timeout: float = 5.0) -> bool:
    """Wait until no child of a zygote is left: the kernel lets go of their lock for them, however they ended."""
    try:
        fd = os.open(run / zygote.ALIVE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    deadline = time.monotonic() + timeout
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.002)
    finally:
        os.close(fd)


def _end_monitor(path: Path, timeout: float = 5.0) -> None:
    try:
        sock = wire.connect(str(path))
    except OSError:
        return
    with sock:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid = struct.unpack("3i", credentials)[0]  # of who listens: the monitor
        started = procfs.start_time(pid)
        sock.settimeout(timeout)
        try:
            while wire.receive(sock) is not None:
                pass
        except OSError as error:
            if error.errno not in (None, errno.ECONNRESET):  # a timeout has none
                raise
    deadline = time.monotonic() + 0.5
    while started and procfs.start_time(pid) == started:
        if time.monotonic() > deadline:  # stuck: without it nothing of its container is left anyhow
            procfs.end(pid, started)
            return
        time.sleep(0.001)
