"""How are file systems mounted, and trees of them taken from one mount namespace into another?"""

from __future__ import annotations

import errno
import os

from nodeagent.linux import libc

RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT = 1, 2, 4, 8, 32
NOATIME, BIND, REC, PRIVATE, SLAVE, SHARED = 1024, 4096, 16384, 1 << 18, 1 << 19, 1 << 20
DETACH = 2  # umount: now out of sight, gone when no longer busy

_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_NOEXEC, _ATTR_IDMAP = 1, 2, 4, 8, 1 << 20
_OPEN_TREE_CLONE, _AT_RECURSIVE = 1, 0x8000
_PROPAGATION = {"private": PRIVATE, "rslave": SLAVE, "rshared": SHARED}


def take(
    source: str,
    *,
    readonly: bool = False,
    readonly_below: bool = True,
    harmless: bool = False,
    propagation: str = "private",
    recursive: bool = True,
    users: int = -1,
) -> int:
    """A detached copy of the mounts at ``source``, as a file descriptor for ``attach``.

    ``harmless`` is nosuid, nodev and noexec; with ``readonly_below`` read-only goes for the mounts below too.
    ``users`` is a user namespace: what its user 0 makes in the mount at ``source`` belongs to our user 0, and so on.

    Taking before ``pivot_root`` and attaching after it means that a target is only ever looked up inside
    the container's own root: no symlink in an image can point a mount at the node.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    fd = libc.open_tree(source, flags)
    try:
        libc.mount_setattr(fd, propagation=_PROPAGATION[propagation], recursive=recursive)
        if harmless:
            libc.mount_setattr(fd, attributes=_ATTR_NOSUID | _ATTR_NODEV | _ATTR_NOEXEC, recursive=recursive)
        if readonly:
            libc.mount_setattr(fd, attributes=_ATTR_RDONLY, recursive=recursive and readonly_below)
        if users >= 0:
            _shift(fd, source, users)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _shift(fd: int, source: str, users: int) -> None:
    try:
        libc.mount_setattr(fd, attributes=_ATTR_IDMAP, users=users, recursive=False)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise OSError(errno.EINVAL, "its file system cannot have other owners for a user namespace", source) from None


def fresh(fstype: str) -> int:
    """One of the kernel's own file systems, nosuid, nodev and noexec, as a file descriptor for ``attach``."""
    return libc.fsmount(fstype, _ATTR_NOSUID | _ATTR_NODEV | _ATTR_NOEXEC)


def attach(fd: int, target: str | int) -> None:
    """Put what ``take`` took at ``target`` (a path, or a descriptor of what is there), and close ``fd``."""
    try:
        libc.move_mount(fd, target)
    finally:
        os.close(fd)


def remount_readonly(path: str) -> None:
    """Make the mount at ``path`` read-only; the flags it has stay (the kernel refuses to lose some of them)."""
    libc.mount("", path, "", BIND | REMOUNT | RDONLY | (os.statvfs(path).f_flag & (NOSUID | NODEV | NOEXEC)))


def escape(path: str) -> str:
    """``path`` as an overlay option's value, where comma and colon have a meaning."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def overlay(target: str, lower: list[str], upper: str, work: str) -> None:
    """Mount an overlay; the first of ``lower`` is the uppermost. Relative names in ``lower`` keep the options short."""
    options = f"lowerdir={':'.join(escape(path) for path in lower)},upperdir={escape(upper)},workdir={escape(work)}"
    libc.mount("overlay", target, "overlay", 0, options)


def overlay_readonly(target: str, lower: list[str]) -> None:
    """At least two layers as one, which nobody can change."""
    libc.mount("overlay", target, "overlay", RDONLY, f"lowerdir={':'.join(escape(path) for path in lower)}")


def detach(target: str) -> None:
    """Unmount all that is mounted at ``target``, however often; nothing happens when nothing is."""
    while True:
        try:
            libc.umount(target, DETACH)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return
            raise


def _around(path: str) -> tuple[str, list[str], str]:
    """The mount that ``path`` lies in: its point, its optional fields and its type; see proc_pid_mountinfo(5)."""
    path = os.path.realpath(path)
    found: tuple[str, list[str], str] = ("/", [], "")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields = line.split(" ")
            point, dash = unescape(fields[4]), fields.index("-")
            inside = path == point or path.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(found[0]):  # the last of a point lies on top
                found = (point, fields[6:dash], fields[dash + 1])
    return found


def propagates(path: str) -> tuple[str, str]:
    """The mount that ``path`` lies in, and how it takes part in what is mounted elsewhere: shared, slave or private."""
    point, optional, _ = _around(path)
    kinds = [word.partition(":")[0] for word in optional]
    return point, "shared" if "shared" in kinds else "slave" if "master" in kinds else "private"


def in_memory(path: str) -> bool:
    """Whether what is written to ``path`` stays away from disks (but for swap)."""
    return _around(path)[2] in ("tmpfs", "ramfs")


def below(path: str) -> list[str]:
    """Mount points at or below ``path`` as this process sees them, the deepest first."""
    path = os.path.realpath(path)
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            point = unescape(line.split(" ", 5)[4])
            if point == path or point.startswith(path.rstrip("/") + "/"):
                found.append(point)
    return sorted(found, key=lambda point: point.count("/"), reverse=True)


def unescape(field: str) -> str:
    """mountinfo writes space, tab, newline and backslash as octal."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
