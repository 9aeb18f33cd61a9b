"""How does a process enter and leave namespaces, and how does a namespace live on without a process?"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from nodeagent.linux import libc, mounts

MOUNT = 0x00020000
CGROUP = 0x02000000
UTS = 0x04000000
IPC = 0x08000000
USER = 0x10000000
PID = 0x20000000
NET = 0x40000000

# by their names in /proc/PID/ns
FILES = {"mnt": MOUNT, "cgroup": CGROUP, "uts": UTS, "ipc": IPC, "pid": PID, "net": NET, "user": USER}


def unshare(flags: int) -> None:
    """Give this process new namespaces of the kinds in ``flags``; with PID, its next child is process 1."""
    libc.unshare(flags)


def enter(path: str, flags: int = 0) -> None:
    """Move this thread into the namespace at ``path`` (``/run/netns/x``); flags 0 takes any kind."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.setns(fd, flags)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


@contextmanager
def entered(path: str, flags: int) -> Iterator[None]:
    """Inside the ``with``, this thread is in the namespace at ``path``. Never await inside it."""
    kind = next(name for name, flag in FILES.items() if flag == flags)
    home = os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(path, flags)
        try:
            yield
        finally:
            libc.setns(home, flags)
    finally:
        os.close(home)


def hold(kind: str, path: str, pid: str = "self") -> None:
    """Keep a namespace of ``pid`` alive by a bind mount at ``path``: no process is needed then."""
    os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o444))
    libc.mount(f"/proc/{pid}/ns/{kind}", path, "", mounts.BIND)


def is_held(path: str) -> bool:
    """Whether a namespace is mounted at ``path``."""
    try:
        return os.stat(path).st_dev == os.stat("/proc/self/ns/mnt").st_dev
    except OSError:
        return False


def release(path: str) -> None:
    """Undo ``hold``; nothing happens when it is gone already."""
    mounts.detach(path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def identity(kind: str, pid: int | str = "self") -> int:
    """The inode number that tells two namespaces of one kind apart."""
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino


def loopback_up() -> None:
    """Bring up ``lo`` in this network namespace; a new one has it down."""
    siocgifflags, siocsifflags, iff_up = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        request = struct.pack("16sh22x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(sock, siocgifflags, request), 16)
        fcntl.ioctl(sock, siocsifflags, struct.pack("16sh22x", b"lo", flags | iff_up))
