"""How is a command run beside a container's process? Entered from outside, with the powers the container has."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from typing import Any, NoReturn

from nodeagent.engine import become, init, wire
from nodeagent.engine.pace import Pace
from nodeagent.linux import libc, namespaces, procfs, userns

_ALL = namespaces.MOUNT | namespaces.CGROUP | namespaces.UTS | namespaces.IPC | namespaces.NET
_PR_SET_PDEATHSIG = 1


def run(request: wire.ExecRequest, report: socket.socket, fds: list[int]) -> NoReturn:
    """Run the command with the streams ``fds``; ``report`` hears of its start and end, and closing it kills it."""
    try:
        _run(request, report, dict(zip(request["streams"], fds, strict=True)))
    except wire.Failure as failure:
        wire.send(report, {"failed": str(failure), "code": failure.code})
    except OSError as error:
        wire.send(report, {"failed": str(error), "code": 128})
    finally:
        os._exit(0)


def _run(request: wire.ExecRequest, report: socket.socket, streams: dict[str, int]) -> None:
    target = _open_process(request["pid"], request["started"])
    cgroups = cgroups_of(request["pid"], request["join"])
    pace: wire.PaceRequest = {**request["pace"], "back": cgroups_of(request["pid"], request["pace"]["back"])}
    libc.setns(target, namespaces.PID)  # for our child; we stay outside
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        ours.close()
        init.report_failures(theirs, lambda: _enter(request, cgroups, pace, target, theirs, streams))
    theirs.close()
    for fd in streams.values():
        os.close(fd)
    while packet := wire.receive(ours):
        if "failed" in packet.body:
            os.waitpid(child, 0)
            wire.send(report, packet.body)
            return
        wire.send(report, packet.body, packet.fds)
        for fd in packet.fds:
            os.close(fd)
    wire.send(report, {"started": {"pid": child, "started_at": time.time()}})
    status = _wait(child, report)
    code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    wire.send(report, {"exited": {"exit_code": code}})


def _open_process(pid: int, started: int) -> int:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        raise wire.Failure("container is not running") from None
    if procfs.start_time(pid) != started:  # the pid belongs to another by now
        raise wire.Failure("container is not running")
    return pidfd


def cgroups_of(pid: int, join: list[str]) -> list[str]:
    """Where the process is: its container's cgroups, or one that it made below for itself.

    Version 2 then lets nobody into the container's own any more, for only leaves have processes.
    """
    if not join:
        return []
    folder, name = os.path.split(join[0])
    if name != procfs.PROCS:  # version 1, which has no such rule
        return join
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as lines:
        place = next(line.rstrip("\n") for line in lines if line.startswith("0::"))
    _, _, below = place.partition(f"/{os.path.basename(folder)}/")
    return [os.path.join(folder, below, name)]


def _enter(
    request: wire.ExecRequest,
    cgroups: list[str],
    paced: wire.PaceRequest,
    target: int,
    channel: socket.socket,
    streams: dict[str, int],
) -> NoReturn:
    init.import_nothing()
    init.leave_keys()
    libc.prctl_undumpable()
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    pace = Pace(paced)
    init.join([path for path in cgroups if path not in paced["back"]])  # first: the paths are the node's
    pace.leave()
    if request["users"]:
        become.hand_over(streams.values(), request["users"])
        libc.setns(target, _ALL | namespaces.USER)
        userns.become_root()
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # becoming another user cleared it
    else:
        libc.setns(target, _ALL)
    os.close(target)
    if request["process"]["tty"]:
        master, terminal = become.open_terminal()
        wire.send(channel, {"terminal": True}, [master])
        os.close(master)
        become.use_streams(terminal, terminal, terminal)
    else:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        become.use_streams(*(streams.get(name, null) for name in ("stdin", "stdout", "stderr")))
    who = become.find_user(request["process"])
    pace.keep()
    become.become(request["process"], who)


def _wait(child: int, report: socket.socket) -> int:
    """Its wait status; it is killed when the other end of ``report`` goes."""
    pidfd = os.pidfd_open(child)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(report, select.POLLIN)
    while True:
        ready: list[tuple[int, Any]] = poll.poll()
        if any(fd == pidfd for fd, _ in ready):
            return os.waitpid(child, 0)[1]
        try:
            alive = wire.receive(report) is not None
        except OSError:
            alive = False
        if not alive:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            poll.unregister(report)
