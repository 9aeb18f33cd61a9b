"""How is something opened below a folder whose content is others', so that no link in it leads outside?

A path that was looked at and is then used again may be another by then: what is opened here stays what it is.
"""

from __future__ import annotations

import os

from nodeagent.linux import libc


def folder(root: int, path: str, mode: int = 0o755) -> int:
    """The folder at ``path`` as if the folder ``root`` were ``/``; what is missing of it is made. A descriptor."""
    try:
        return libc.open_in_root(root, path or ".", os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        above = folder(root, os.path.dirname(path), mode)
        try:
            os.mkdir(os.path.basename(path), mode, dir_fd=above)
        except FileExistsError:  # made meanwhile; or a link that leads nowhere
            pass
        finally:
            os.close(above)
        return libc.open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)


def handle(top: str, path: str) -> int:
    """A handle of whatever is at ``path`` as if the folder ``top`` were ``/``, good for ``/proc/self/fd/N``."""
    root = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return libc.open_in_root(root, path or ".", os.O_PATH)
    finally:
        os.close(root)
