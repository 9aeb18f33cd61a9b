"""How is something opened below a folder whose content is others', so that no link in it leads outside?

A path that was looked at and is then used again may be another by then: what is opened here stays what it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from nodeagent.linux import libc


def folder(root: int, path: str, mode: int = 0o755) -> int:
    """The folder at ``path`` as if the folder ``root`` were ``/``; what is missing of it is made. A descriptor."""
    try:
        return libc.open_in_root(root, path or ".", os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        above = folder(root, os.path.dirname(path), mode)
        try:
            os.mkdir(os.path.basename(path), mode, dir_fd=above)
        except FileExistsError:  # made meanwhile, or a link that leads nowhere
            if (meant := _meant(above, path)) is not None:
                return folder(root, meant, mode)
        finally:
            os.close(above)
        return libc.open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)


def place(root: int, path: str, *, is_folder: bool) -> int:
    """A handle of whatever is at ``path`` as if ``root`` were ``/``: made, with all above, when there is nothing."""
    try:
        return libc.open_in_root(root, path, os.O_PATH)
    except FileNotFoundError:
        if is_folder:
            return folder(root, path)
        above = folder(root, os.path.dirname(path))
        try:
            if (meant := _meant(above, path)) is not None:
                return place(root, meant, is_folder=False)
            os.close(os.open(os.path.basename(path), os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o644, dir_fd=above))
        finally:
            os.close(above)
        return libc.open_in_root(root, path, os.O_PATH)


def _meant(above: int, path: str) -> str | None:
    """Where the link at ``path``, in the folder ``above``, leads: what it means is made. None where there is no link.

    (The kernel tells of links that lead in a circle before anybody comes here.)
    """
    try:
        return os.path.join(os.path.dirname(path), os.readlink(os.path.basename(path), dir_fd=above))
    except OSError:
        return None


class NothingThere(OSError):
    """There is nothing of that name below the folder."""


@contextmanager
def handled(top: str, path: str) -> Iterator[str]:
    """``/proc/self/fd/N`` of whatever is at ``path`` as if the folder ``top`` were ``/``. Raises NothingThere.

    Only inside of the ``with``: who keeps such a handle of the node's hands it to the program that he becomes, or lets
    that one begin its life there (CVE-2024-21626).
    """
    root = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = libc.open_in_root(root, path or ".", os.O_PATH)
    except OSError as error:
        raise NothingThere(error.errno, os.strerror(error.errno or 0), path) from None
    finally:
        os.close(root)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
