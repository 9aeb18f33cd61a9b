"""How much disk does a folder take?"""

from __future__ import annotations

import os
from typing import NamedTuple


class DiskUse(NamedTuple):
    """As ``du`` counts: blocks, not lengths, and a file with several names once."""

    size: int = 0  # bytes
    inodes: int = 0

    def __add__(self, other: object) -> DiskUse:
        assert isinstance(other, DiskUse)
        return DiskUse(self.size + other.size, self.inodes + other.inodes)


def of(folder: str) -> DiskUse:
    """All below ``folder`` on its own file system; nothing when it is gone. What goes meanwhile is not counted."""
    try:
        device = os.lstat(folder).st_dev
    except OSError:
        return DiskUse()
    size, seen, folders = 0, set(), [folder]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if status.st_dev != device or status.st_ino in seen:
                continue
            seen.add(status.st_ino)
            size += status.st_blocks * 512
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
    return DiskUse(size, len(seen))
