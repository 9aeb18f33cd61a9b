"""Which ids of the node are the users of a pod's user namespace? Each namespace has 65536 of its own.

All nodes of a machine share one kernel, hence one folder for all: a link for each range in use, named by its first id,
that leads to the folder of the sandbox that has it. Both are below /run: a reboot takes them, as it takes namespaces.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nodeagent.engine.contract import EngineError
from nodeagent.linux.userns import COUNT

CLAIMS = Path("/run/kubeshim/users")
RANGES = 65_534  # of 65536: the first are the node's own ids, the last hold -1, which is none


def claim(owner: Path, wish: str, claims: Path = CLAIMS) -> int:
    """The first id of a range that nobody else has. The same ``wish`` gets the same one again, if it is free."""
    first = zlib.crc32(wish.encode())
    while True:
        claims.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with _locked(claims) as folder:
                for number in range(first, first + RANGES):
                    base = (number % RANGES + 1) * COUNT
                    if _take(str(base), owner, folder):
                        return base
            raise EngineError("all ranges of user ids are in use")
        except FileNotFoundError:
            continue  # the folder went with its last claim, just now


def _take(name: str, owner: Path, folder: int) -> bool:
    try:
        os.symlink(owner, name, dir_fd=folder)
    except FileExistsError:
        holder = os.readlink(name, dir_fd=folder)
        if os.path.exists(holder) and holder != str(owner):
            return False
        os.unlink(name, dir_fd=folder)  # its sandbox has gone
        os.symlink(owner, name, dir_fd=folder)
    return True


def release(owner: Path, claims: Path = CLAIMS) -> None:
    """Whatever ``owner``, or anything below it, has claimed."""
    try:
        with _locked(claims) as folder:
            for name in os.listdir(folder):
                if Path(os.readlink(name, dir_fd=folder)).is_relative_to(owner):
                    os.unlink(name, dir_fd=folder)
            os.rmdir(claims)
    except OSError:  # nothing is claimed at all, or others still have claims
        return


@contextmanager
def _locked(claims: Path) -> Iterator[int]:
    folder = os.open(claims, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)
