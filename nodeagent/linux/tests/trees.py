"""Cgroups of version 2 to try things in, on any machine, and processes that sleep in a cgroup."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from nodeagent.linux import libc, procfs
from nodeagent.linux.cgroup2 import Version2
from nodeagent.linux.cgroups import Cgroups, hierarchies


@contextlib.contextmanager
def version_2() -> Iterator[tuple[Version2, Path]]:
    """The tree, and the folder in it of a cgroup that is not there yet and is removed at the end.

    Every kernel has one. Where version 1 is used it has few controllers or none; what needs none is the same.
    """
    with contextlib.ExitStack() as undo:
        points = [hierarchy.point for hierarchy in hierarchies() if hierarchy.version == 2]
        if not points:
            points = [undo.enter_context(tempfile.TemporaryDirectory())]
            libc.mount("cgroup2", points[0], "cgroup2")
            undo.callback(libc.umount, points[0])
        tree, folder = Version2(points[0]), Path(points[0], f"test-{uuid.uuid4().hex[:8]}")
        undo.callback(tree.remove, folder.name)
        yield tree, folder


def sleeps_in(tree: Cgroups, path: str) -> int:
    """The pid of a new process that sleeps in a cgroup, and is there already."""
    pid = os.fork()
    if pid == 0:
        for file in tree.join_files(path):
            Path(file).write_text("0")
        signal.pause()
    while pid not in procfs.pids_in(tree.procs_files(path)):
        pass
    return pid
