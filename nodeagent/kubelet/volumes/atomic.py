"""Files that change all at once: a container sees the old ones or the new ones, never a mixture.

The files stand in a folder named after the time; ``..data`` points at it, and each visible name points through
``..data``. Replacing that one link by a rename replaces every file at the same instant.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DATA = "..data"


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mode: int
    uid: int = -1


Payload = Mapping[str, File]


def write(target: Path, payload: Payload, *, gid: int | None = None) -> bool:
    """Make ``target`` hold exactly ``payload`` (path -> file). Whether anything changed."""
    for name in payload:
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"invalid path: {name} is not below the volume")
    target.mkdir(parents=True, exist_ok=True)
    current = _current(target)
    if current is not None and _holds(current, payload):
        return False
    if gid is not None:
        os.chown(target, -1, gid)
    os.chmod(target, 0o777 if gid is None else 0o2777)  # what is made below is the group's, too
    fresh = target / time.strftime(f"..%Y_%m_%d_%H_%M_%S.{time.monotonic_ns()}", time.gmtime())
    fresh.mkdir(mode=0o755)
    for folder in {name.rpartition("/")[0] for name in payload} - {""}:
        os.makedirs(f"{fresh}/{folder}", exist_ok=True)
    for name, file in payload.items():
        _put(f"{fresh}/{name}", file, gid)
    link = target / "..data_tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.rename(target / DATA)

    tops = {name.partition("/")[0] for name in payload}
    with os.scandir(target) as entries:
        there = {entry.name for entry in entries if entry.is_symlink() and not entry.name.startswith("..")}
    for top in tops - there:
        os.symlink(f"{DATA}/{top}", target / top)
    for top in there - tops:
        os.unlink(target / top)
    if current is not None:
        shutil.rmtree(current, ignore_errors=True)
    return True


def _put(path: str, file: File, gid: int | None) -> None:
    with open(path, "wb") as there:
        there.write(file.content)
        os.fchmod(there.fileno(), file.mode if gid is None else file.mode | ((file.mode & 0o700) >> 3 & 0o040))
        if file.uid >= 0 or gid is not None:
            os.fchown(there.fileno(), file.uid, -1 if gid is None else gid)


def _current(target: Path) -> Path | None:
    try:
        return target / os.readlink(target / DATA)
    except FileNotFoundError:
        return None


def _holds(folder: Path, payload: Payload) -> bool:
    present = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return set(present) == set(payload) and all(present[name].read_bytes() == payload[name].content for name in present)
