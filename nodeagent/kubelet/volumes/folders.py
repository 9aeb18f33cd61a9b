"""Volumes that are folders: emptyDir and hostPath, and the check of what a hostPath really is."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection
from pathlib import Path

from nodeagent.linux import libc, mounts
from shim.api import quantity
from shim.api.meta import Object

HUGE_PAGES = "HugePages"
_CHECKS = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


def empty_dir(told: Object, path: Path, page_sizes: Collection[int] = ()) -> None:
    """A folder anyone may write to, in memory if so asked. What is there already stays.

    ``page_sizes``: of the huge pages that its pod asks for. Raises ValueError, OSError.
    """
    if not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o777)
    medium = told.get("medium") or ""
    if medium == "Memory":
        if not os.path.ismount(path):
            limit = told.get("sizeLimit")
            size = f"size={quantity.parse(str(limit)).value}," if limit else ""
            libc.mount("tmpfs", str(path), "tmpfs", 0, f"{size}mode=0777")
    elif medium == HUGE_PAGES or medium.startswith(f"{HUGE_PAGES}-"):
        pages = _page_size(medium, page_sizes)
        if not os.path.ismount(path):
            libc.mount("nodev", str(path), "hugetlbfs", 0, f"pagesize={pages},mode=0777")
    elif medium:
        raise ValueError(f'unknown storage medium "{medium}"')


def _page_size(medium: str, asked: Collection[int]) -> int:
    """The medium may leave open which size is meant, if the pod asks for one only. Raises ValueError."""
    _, _, text = medium.partition("-")
    meant = {size for size in asked if not text or size == quantity.parse(text).value}
    if not meant:
        why = "hugePages storage requested, but there is no resource request for huge pages"
        raise ValueError(f"medium {medium}: {why}")
    if len(meant) > 1:
        raise ValueError(f"medium: {medium} can't be used if container requests multiple huge page sizes")
    return meant.pop()


def host_path(told: Object) -> Path:
    """The node's own path, made or checked as its type demands. Raises ValueError."""
    path, kind = Path(told["path"]), told.get("type") or ""
    if kind and kind not in _CHECKS:
        raise ValueError(f"hostPath type {kind} is not known")
    if not path.exists():
        _make(path, kind)
    if not kind:
        return path
    check, name = _CHECKS[kind]
    if not path.exists() or not check(path.stat().st_mode):
        raise ValueError(f"hostPath type check failed: {path} is not {name}")
    return path


def _make(path: Path, kind: str) -> None:
    """Raises ValueError."""
    doing = "open" if kind == "FileOrCreate" else "mkdir"
    try:
        if kind == "FileOrCreate":
            path.touch(mode=0o644)
        elif kind in ("", "DirectoryOrCreate"):  # none: as container engines do with a folder that is to be mounted
            path.mkdir(mode=0o755, parents=True)
    except OSError as error:
        raise ValueError(f"{doing} {path}: {os.strerror(error.errno or 0).lower()}") from error


def give_to_group(path: Path, gid: int) -> None:
    """fsGroup: everything below belongs to the group, new files too. What is there may be changed by others meanwhile:
    nothing is looked up by a path, and no link is followed."""
    for _, folders, files, folder in os.fwalk(path, follow_symlinks=False):
        os.fchown(folder, -1, gid)
        os.fchmod(folder, stat.S_IMODE(os.fstat(folder).st_mode) | 0o2770)
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):
                os.chown(name, -1, gid, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    _let_group_write(name, folder)


def _let_group_write(name: str, folder: int) -> None:
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fchmod(file, stat.S_IMODE(os.fstat(file).st_mode) | 0o660)
    finally:
        os.close(file)


def belongs_to(path: Path, gid: int) -> bool:
    """Whether the folder itself is as ``give_to_group`` leaves it: then all below is taken to be (OnRootMismatch)."""
    status = path.stat()
    return status.st_gid == gid and status.st_mode & 0o2770 == 0o2770


def unmount_below(path: Path) -> None:
    """Let go of every mount at or below ``path``."""
    for mount in sorted(mounts.below(str(path)), key=len, reverse=True):
        mounts.detach(mount)
