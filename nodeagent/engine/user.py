"""Who is ``name:group``? Looked up in a container's own /etc/passwd and /etc/group, where this runs."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from nodeagent.engine.wire import Failure

MOST = 16 << 20  # bytes of a table that are read


class User(NamedTuple):
    uid: int
    gid: int
    groups: list[int]
    home: str


def _table(path: str) -> list[list[str]]:
    """Its rows. The container may have made anything of the file: a pipe to wait at, a device without an end."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return []
        text = file.read(MOST).decode(errors="surrogateescape")
    return [line.split(":") for line in text.split("\n") if ":" in line and not line.startswith("#")]


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def find(
    wanted: str, groups: list[int], *, listed: bool = True, passwd: str = "/etc/passwd", group: str = "/etc/group"
) -> User:
    """The ids of ``"uid"``, ``"uid:gid"``, ``"name"`` or ``"name:group"``. A number need not be in the tables.

    ``listed``: the groups that list the user as a member are its own too.
    """
    name, _, group_name = (wanted or "0").partition(":")
    row = next((row for row in _table(passwd) if len(row) >= 6 and name in (row[0], row[2])), None)
    if row is None and not name.isdigit():
        raise Failure(f"unable to find user {name}: no matching entries in passwd file")
    uid = _number(row[2]) if row else int(name)
    gid = _number(row[3]) if row else 0
    home = (row[5] if row else "") or "/"
    rows = [entry for entry in _table(group) if len(entry) >= 3]
    if group_name:
        match = next((entry for entry in rows if group_name in (entry[0], entry[2])), None)
        if match is None and not group_name.isdigit():
            raise Failure(f"unable to find group {group_name}: no matching entries in group file")
        gid = _number(match[2]) if match else int(group_name)
    known = row[0] if row and listed else None
    member = [_number(entry[2]) for entry in rows if len(entry) >= 4 and known in entry[3].split(",")]
    return User(uid, gid, sorted({*groups, *member, gid}), home)
