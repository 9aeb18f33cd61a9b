"""Network namespaces: named ones under /run/netns as ``ip netns`` makes them, and how a thread works inside one.

The node agent has such a file of its own (``nodeagent.linux.namespaces``): that one holds every kind of namespace for
containers, and a node's network must start, and be replaced, without the node agent.

Entering a namespace concerns the calling thread only. A netlink socket stays in the namespace it was opened in, and
/proc/sys/net shows the namespace of the thread that opens a file there.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

NAMED = Path("/run/netns")
CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_SHARED = 4096, 16384, 1 << 20
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def create(path: Path) -> None:
    """Make a namespace that lives, without any process, until :func:`remove`. Keeps one that is there already."""
    if is_namespace(path):
        return
    _share(path.parent)
    path.touch(exist_ok=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(CLONE_NEWNET), "unshare", path)
        try:
            _mount("/proc/thread-self/ns/net", path, MS_BIND)
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "setns", Path("the former namespace"))
    finally:
        os.close(home)


def remove(path: Path) -> None:
    """Let a namespace go; it ends with the last process or socket in it. Nothing happens where it is not."""
    while _libc.umount2(os.fsencode(path), MNT_DETACH) == 0:
        pass  # a crash between two mounts can leave more than one
    path.unlink(missing_ok=True)


def is_namespace(path: Path) -> bool:
    """Whether a namespace is mounted here; after a crash it may be a plain file."""
    try:
        return path.stat().st_dev == os.stat("/proc/self/ns/net").st_dev
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def inside(path: Path | str) -> Iterator[None]:
    """Run the block in another network namespace. No await in it: only this thread is there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(target, CLONE_NEWNET), "setns", path)
        finally:
            os.close(target)
        try:
            yield
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "setns", "the former namespace")
    finally:
        os.close(home)


def sysctl(name: str, value: str | None = None) -> str | None:
    """Read ``net/...`` or set it, in the namespace the thread is in; None where this kernel does not have it."""
    path = Path("/proc/sys", name)
    try:
        before = path.read_text().strip()
        if value is not None and before != value:
            path.write_text(value)
    except FileNotFoundError:
        return None
    return before


def sysctls(settings: Mapping[str, str]) -> None:
    """Set several; those this kernel does not have are left out."""
    for name, value in settings.items():
        sysctl(name, value)


def _share(folder: Path) -> None:
    """Make mounts below the folder visible in every mount namespace, as ``ip netns`` does."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        _mount("none", folder, MS_SHARED | MS_REC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _mount(str(folder), folder, MS_BIND | MS_REC)  # it has to be a mount point for that
        _mount("none", folder, MS_SHARED | MS_REC)


def _mount(source: str, target: Path, flags: int) -> None:
    done = _libc.mount(os.fsencode(source), os.fsencode(target), b"none", ctypes.c_ulong(flags), None)
    _check(done, "mount", target)


def _check(result: int, operation: str, on: Path | str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{operation}: {os.strerror(number)}", str(on))
