"""What stands in a container's /dev: harmless devices, terminals of its own, and what it was given of the node's."""

from __future__ import annotations

import os
import stat

from nodeagent.linux import libc, mounts

_DEV = "mode=755,size=65536k"
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}


def host_devices() -> dict[str, os.stat_result]:
    """A privileged container gets every device the node has."""
    found = {}
    for folder, _, names in os.walk("/dev"):
        if folder.startswith(("/dev/pts", "/dev/shm", "/dev/mqueue")):
            continue
        for name in names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)) and name not in ("console", "ptmx"):
                found[path] = status
    return found


def take_dev(folder: str, host_devices: dict[str, os.stat_result], owner: int) -> int:
    """Device nodes for a container in a user namespace, which itself could make none that anything opens."""
    scratch = os.path.join(folder, "dev")
    os.makedirs(scratch, exist_ok=True)
    libc.mount("tmpfs", scratch, "tmpfs", mounts.NOSUID, f"{_DEV},uid={owner},gid={owner}")
    _make_nodes(scratch, host_devices, owner)
    return mounts.take(scratch)


def mount_dev(dev: int, shm: int, host_devices: dict[str, os.stat_result]) -> None:
    os.makedirs("/dev", exist_ok=True)
    if dev >= 0:
        mounts.attach(dev, "/dev")
    else:
        libc.mount("tmpfs", "/dev", "tmpfs", mounts.NOSUID, _DEV)
        _make_nodes("/dev", host_devices, 0)
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(f"/dev/{name}")
    own_terminals = "newinstance,ptmxmode=0666,mode=0620,gid=5"
    libc.mount("devpts", "/dev/pts", "devpts", mounts.NOSUID | mounts.NOEXEC, own_terminals)
    libc.mount("mqueue", "/dev/mqueue", "mqueue", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC)
    mounts.attach(shm, "/dev/shm")
    for name, target in LINKS.items():
        os.symlink(target, f"/dev/{name}")


def _make_nodes(folder: str, host_devices: dict[str, os.stat_result], owner: int) -> None:
    """The harmless devices, for ``owner``; those of the node belong to whom they belong there."""
    for name, (major, minor) in DEVICES.items():
        path = os.path.join(folder, name)
        os.mknod(path, stat.S_IFCHR, os.makedev(major, minor))
        os.chmod(path, 0o666)
        os.chown(path, owner, owner)
    for place, status in host_devices.items():
        path = folder + place.removeprefix("/dev")
        if not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            make_node(path, status)


def make_node(path: str, status: os.stat_result, folder: int | None = None) -> None:
    """A device like another one."""
    os.mknod(path, status.st_mode, status.st_rdev, dir_fd=folder)
    os.chmod(path, stat.S_IMODE(status.st_mode), dir_fd=folder)
    os.chown(path, status.st_uid, status.st_gid, dir_fd=folder)
