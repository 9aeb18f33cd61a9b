"""How is a user namespace made, entered, and laid over mounts?

Inside it user 0 has all powers over what the namespace owns; outside it is the unprivileged user that 0 stands for.
See user_namespaces(7); mounts whose owners are shifted need Linux 5.12, those of tmpfs 6.3.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from nodeagent.linux import mounts, namespaces

COUNT = 65_536  # ids in a namespace, 0 to 65535: all that POSIX programs expect


@contextmanager
def inside(base: int, kinds: int, work: Callable[[], Any]) -> Iterator[tuple[int, Any]]:
    """A process in a user namespace, with namespaces of ``kinds`` that it owns, has done ``work`` as its root.

    Its ids from 0 on are those from ``base`` on here. Yields the process's id and what ``work`` returned (as JSON can
    hold it); the process ends with the ``with``, and the namespaces too if nobody holds them. Raises OSError.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _inhabit(theirs, kinds, work)
    theirs.close()
    try:
        _hear(ours)
        for name in ("uid_map", "gid_map"):  # only from outside may more than one id be mapped
            with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
                file.write(f"0 {base} {COUNT}\n")
        ours.send(b"mapped")
        yield pid, _hear(ours)
    finally:
        ours.close()
        os.waitpid(pid, 0)


def _inhabit(channel: socket.socket, kinds: int, work: Callable[[], Any]) -> NoReturn:
    try:
        namespaces.unshare(namespaces.USER | kinds)  # the kernel makes the user namespace first: it owns the others
        channel.send(b"{}")
        channel.recv(16)
        become_root()
        channel.send(json.dumps({"did": work()}).encode())
        channel.recv(16)  # nothing: until the other end closes
    except OSError as error:
        channel.send(json.dumps({"failed": [error.errno, error.strerror, error.filename]}).encode())
    except BaseException as error:
        channel.send(json.dumps({"failed": [0, f"{type(error).__name__}: {error}"]}).encode())
    finally:
        os._exit(0)


def _hear(channel: socket.socket) -> Any:
    said = json.loads(channel.recv(1 << 16) or b'{"failed": [0, "it died", "user namespace"]}')
    if "failed" in said:
        raise OSError(*said["failed"])
    return said.get("did")


def become_root() -> None:
    """Be user and group 0 of the user namespace just entered; who enters one is nobody in it."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def unsupported(folders: list[str]) -> str:
    """Why pods cannot have user namespaces on this machine, with files in these folders; "" when they can."""
    try:
        with inside(COUNT, 0, lambda: None) as (pid, _):
            users = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            for folder in folders:
                os.close(mounts.take(folder, users=users, recursive=False))
    except OSError as error:
        return str(error)
    return ""
