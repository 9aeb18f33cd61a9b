"""Has something in a folder changed? inotify(7), told as a file descriptor that becomes readable."""

from __future__ import annotations

import os

from nodeagent.linux import libc

_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_ATTRIB, _CLOSE_WRITE, _MOVED = 0x004, 0x008, 0x0C0
_DELETE, _DELETE_SELF, _MOVE_SELF = 0x200, 0x400, 0x800
CHANGES = _ATTRIB | _CLOSE_WRITE | _MOVED | _DELETE | _DELETE_SELF | _MOVE_SELF
"""A file counts as changed when its writer has closed it: half a file is nobody's wish."""


def watch(path: str) -> int | None:
    """Readable once ``path``, or a file directly in it, has changed; None where there is nothing to watch."""
    fd = libc.inotify_init(_NONBLOCK | _CLOEXEC)
    try:
        libc.inotify_add_watch(fd, path, CHANGES)
    except OSError:
        os.close(fd)
        return None
    return fd


def close(fd: int) -> None:
    os.close(fd)
