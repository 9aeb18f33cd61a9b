"""Who forks containers? A small process with one thread and only the standard library, started once and then forked.

It must be no part of the agent: a fork of a process with threads is unsafe and one with asyncio is big, and its
children must outlive the agent. Run as ``python -I -S -c "... main(run_dir)"``; see ``spawn.py``.
"""

from __future__ import annotations

import codecs
import fcntl
import gc
import os
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from nodeagent.engine import execute, monitor, sandbox, wire
from nodeagent.linux import libc, userns

SOCKET, LOCK, LOG = "zygote.sock", "zygote.lock", "zygote.log"
ALIVE = "alive.lock"  # held shared by the zygote and all that it forked, so that teardown can wait for the last of them


def main(run_dir: str, version: str) -> None:
    """Become a daemon that listens in ``run_dir``; the process that was started ends when it does listen."""
    os.closerange(3, 4096)  # whatever the agent had open: we outlive it, and its pipes must end with it
    lock = os.open(os.path.join(run_dir, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(3)  # another one answers already
    fcntl.flock(os.open(os.path.join(run_dir, ALIVE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), fcntl.LOCK_SH)
    listener = wire.listen(os.path.join(run_dir, SOCKET))
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    os.umask(0o022)
    libc.prctl_name("zygote")
    _detach_streams(os.path.join(run_dir, LOG))
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN if number != signal.SIGTERM else signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps our children; nobody asks us about them
    codecs.lookup("ascii")  # now: see init.import_nothing
    gc.disable()
    gc.freeze()  # a collection would write to every object, and so copy every page in every child
    while True:
        connection, _ = listener.accept()
        try:
            if not _take(connection, listener, lock, version):
                return
        except Exception:
            traceback.print_exc()
        finally:
            connection.close()


def _detach_streams(log: str) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, number in ((null, 0), (null, 1), (errors, 2)):
        os.dup2(source, number)
    os.close(null)
    os.close(errors)


def _take(connection: socket.socket, listener: socket.socket, lock: int, version: str) -> bool:
    """Serve one request; False to end. A request that forks leaves the connection to the child."""
    connection.settimeout(1.0)  # a caller sends at once; nobody may keep the others waiting
    packet = wire.receive(connection)
    connection.setblocking(True)
    if packet is None:
        return True
    op = packet.body["op"]
    if op == "ping":
        wire.send(connection, {"pid": os.getpid(), "version": version})
    elif op == "stop":
        wire.send(connection, {"stopped": True})
        return False
    elif os.fork() == 0:
        listener.close()
        os.close(lock)
        _child(packet.fds, connection)
    for fd in packet.fds:
        os.close(fd)
    return True


def _child(fds: list[int], connection: socket.socket) -> NoReturn:
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        request: Any = wire.read_request(fds[0])
        if request["op"] == "container":
            libc.prctl_name("monitor")
            monitor.run(request, connection)
        elif request["op"] == "exec":
            execute.run(request, connection, fds[1:])
        elif request["op"] == "sandbox":
            sandbox.run(request, connection)
        elif request["op"] == "probe":
            wire.send(connection, {"unsupported": userns.unsupported(request["folders"])})
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)
