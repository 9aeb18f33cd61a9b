"""How do the namespaces that a pod's containers share come to be, and live on with no process in them?"""

from __future__ import annotations

import os
import signal
import socket
import struct
from contextlib import ExitStack
from typing import Any, NoReturn

from nodeagent.engine import init, wire
from nodeagent.linux import capabilities, libc, mounts, namespaces, procfs, userns
from nodeagent.linux.steps import Steps, quote

DOTS_AND_SLASHES = str.maketrans("./", "/.")  # of the name eth0/1 in a kernel parameter a folder's name is made


def run(request: wire.SandboxRequest, report: socket.socket) -> NoReturn:
    """Make the namespaces, hold each by a bind mount in the sandbox's directory, and be gone."""
    try:
        wire.send(report, {"made": _make(request)})
    except OSError as error:
        wire.send(report, {"failed": str(error), "code": 128})
    except BaseException as error:
        wire.send(report, {"failed": f"{type(error).__name__}: {error}", "code": 128})
    finally:
        os._exit(0)


def _make(request: wire.SandboxRequest) -> dict[str, object]:
    step = Steps()
    kinds = [kind for kind in request["new"] if kind not in ("pid", "user")]
    flags = 0
    for kind in kinds:
        flags |= namespaces.FILES[kind]
    unshare = "unshare " + " ".join(f"--{kind}" for kind in kinds)
    if base := request["users"]:
        mapped = f"echo 0 {base} {userns.COUNT} > /proc/$!/uid_map  # and gid_map"
        with ExitStack() as alive:
            with step("a user namespace for the pod, which owns the others", f"{unshare} --user sleep 1 &", mapped):
                within = userns.inside(base, flags, lambda: _furnish(request, kinds))
                pid, taken = alive.enter_context(within)
            step.taken += taken
            _keep(request, [*kinds, "user"], str(pid), step)
    else:
        with step("namespaces for the pod", unshare):
            namespaces.unshare(flags)
        step.taken += _furnish(request, kinds)
        _keep(request, kinds, "self", step)
    made: dict[str, object] = {}
    if "pid" in request["new"]:
        with step("a first process for all of the pod's", "unshare --pid --fork pause"):
            made.update(_share_pids(request))
    return {**made, "steps": step.taken}


def _furnish(request: wire.SandboxRequest, kinds: list[str]) -> list[dict[str, Any]]:
    """Give the namespaces that this process is in what a pod expects of them; the steps taken."""
    step = Steps()
    if "uts" in kinds:
        with step("host name", f"hostname {request['hostname']}"):
            socket.sethostname(request["hostname"])
    if "net" in kinds:
        with step("loopback", "ip link set lo up"):
            namespaces.loopback_up()
    for name, value in request["sysctls"]:  # /proc/sys shows the namespaces of who opens it: ours
        path = "/proc/sys/" + name.translate(DOTS_AND_SLASHES)
        with step("kernel parameter", f"echo {quote(value)} > {path}"), open(path, "w", encoding="ascii") as file:
            file.write(value)
    return step.taken


def _keep(request: wire.SandboxRequest, kinds: list[str], pid: str, step: Steps) -> None:
    held = {kind: os.path.join(request["directory"], kind) for kind in kinds}
    with step("keep the namespaces", *(f"mount --bind /proc/$$/ns/{kind} {path}" for kind, path in held.items())):
        for kind, path in held.items():
            namespaces.hold(kind, path, pid)


def _share_pids(request: wire.SandboxRequest) -> dict[str, int]:
    """A pid namespace dies with its first process, so this one kind needs one: it reaps what containers orphan."""
    (pid_read, pid_write), (ready_read, ready_write) = os.pipe(), os.pipe()
    if os.fork() == 0:
        _first_process(request, pid_write, ready_write)
    os.close(pid_write)
    os.close(ready_write)
    told = os.read(pid_read, 4)
    if not told:
        raise OSError(0, "the sandbox's first process failed to start")
    (first,) = struct.unpack("i", told)
    namespaces.hold("pid", os.path.join(request["directory"], "pid"), str(first))
    started = procfs.start_time(first)
    if os.read(ready_read, 1) != b"1":
        raise OSError(0, "the sandbox's first process failed to start")
    return {"pid": first, "started": started}


def _first_process(request: wire.SandboxRequest, told: int, ready: int) -> NoReturn:
    """Cut off from the node and in the pod's user namespace, if it has one, fork what is meant and end."""
    try:
        title = procfs.argument_area()  # the zygote's command line tells of the node's folders
        users = os.open(os.path.join(request["directory"], "user"), os.O_RDONLY) if request["users"] else -1
        init.join(request["join"])
        # Containers of the pod see this process: it must hold nothing of the node's, neither files nor powers.
        namespaces.unshare(namespaces.MOUNT | namespaces.CGROUP)
        libc.mount("", "/", "", mounts.REC | mounts.PRIVATE)
        root = request["directory"]
        libc.mount("tmpfs", root, "tmpfs", mounts.RDONLY | mounts.NOEXEC | mounts.NOSUID | mounts.NODEV, "size=0k")
        os.chdir(root)
        libc.pivot_root(".", ".")
        libc.umount(".", mounts.DETACH)
        os.chdir("/")
        if users >= 0:
            libc.setns(users, namespaces.USER)  # before there is a pid namespace: it is to own that one too
            userns.become_root()
        namespaces.unshare(namespaces.PID)
        if first := os.fork():
            os.write(told, struct.pack("i", first))
            os._exit(0)
        os.setsid()
        capabilities.limit(0)
        capabilities.apply(0)
        libc.prctl_name("pause")
        libc.overwrite(*title, b"/pause")
        libc.prctl_undumpable()  # nobody traces it, which no filter keeps from any system call
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTERM, signal.SIGINT])
        os.write(ready, b"1")
        os.closerange(0, 256)
        while signal.sigwait([signal.SIGCHLD, signal.SIGTERM, signal.SIGINT]) == signal.SIGCHLD:
            while _reap():
                pass
    finally:
        os._exit(0)


def _reap() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False
