"""What do the engine, the zygote and the monitors tell one another, and how does it travel?

Each message is one packet of a SOCK_SEQPACKET Unix socket: JSON, with file descriptors beside it where
streams are handed over. A request to the zygote may be of any size, so it travels in a memfd.
"""

from __future__ import annotations

import array
import json
import os
import socket
from typing import Any, NamedTuple, TypedDict


class ProcessRequest(TypedDict):
    """What a process becomes, of a container and of an exec alike."""

    argv: list[str]
    env: list[list[str]]
    cwd: str
    user: str
    groups: list[int]
    groups_of_image: bool
    capabilities: int  # bit mask
    no_new_privileges: bool
    seccomp: bool
    seccomp_program: str  # of a profile of the user's own, in base64; "" for none
    tty: bool
    size: list[int]  # rows and columns of the terminal; empty leaves them unknown


class ImageRequest(TypedDict):
    """Another image's root, to be stacked at ``scratch`` (a folder of the container's own); ``sub`` of it is meant."""

    scratch: str
    layers: str
    lower: list[str]
    trees: dict[str, str]
    sub: str


class MountRequest(TypedDict):
    kind: str
    source: str
    target: str
    readonly: bool
    options: str
    propagation: str
    readonly_below: bool
    sub: str
    image: ImageRequest | None


class DeviceRequest(TypedDict):
    source: str
    target: str


class RootRequest(TypedDict):
    """An overlay of ``lower`` (names in ``layers``, the uppermost first), with the node's own trees overlaid on it."""

    directory: str  # of the container: holds rootfs, upper, work
    layers: str
    lower: list[str]
    trees: dict[str, str]  # place in the container -> directory of the node
    readonly: bool


class PaceRequest(TypedDict):
    """Where setting up is done when the limit of CPU time is too small for it: files to write, none where it is not."""

    aside: list[str]
    back: list[str]


class ContainerRequest(TypedDict):
    op: str  # "container"
    id: str
    socket: str
    log_path: str
    stdin: bool
    stdin_once: bool
    namespaces: dict[str, str]  # kind -> path of the sandbox's; "pid": "" is a new one
    users: int  # the node's id of the sandbox's user 0; 0 without a user namespace
    join: list[str]
    pace: PaceRequest
    procs: list[str]
    oom_file: str
    oom_score_adj: int
    cgroup_mounts: list[list[str]]
    root: RootRequest
    shm: str
    mounts: list[MountRequest]
    devices: list[DeviceRequest]
    masked_paths: list[str]
    readonly_paths: list[str]
    privileged: bool
    process: ProcessRequest


class SandboxRequest(TypedDict):
    op: str  # "sandbox"
    directory: str
    hostname: str
    new: list[str]  # kinds of namespaces made and held in ``directory``
    users: int  # the node's id of user 0 in the user namespace, if that is among them
    sysctls: list[list[str]]
    join: list[str]  # of the init process when the pid namespace is shared


class ProbeRequest(TypedDict):
    """Whether user namespaces work here, with files in these folders."""

    op: str  # "probe"
    folders: list[str]


class ExecRequest(TypedDict):
    op: str  # "exec"
    pid: int
    started: int  # start time of ``pid``
    join: list[str]
    pace: PaceRequest
    users: int  # as in ContainerRequest
    streams: list[str]  # names of the file descriptors sent along
    process: ProcessRequest


class ExitRecord(TypedDict):
    """Why and when a container ended, as its monitor writes it down."""

    exit_code: int
    signal: int
    oom_killed: bool
    started_at: float
    finished_at: float
    message: str


class Failure(Exception):
    """A process could not be started; ``code`` as a shell would give it."""

    def __init__(self, message: str, code: int = 128) -> None:
        super().__init__(message)
        self.code = code


class Packet(NamedTuple):
    body: dict[str, Any]
    fds: list[int]


_LIMIT = 64 * 1024


def send(sock: socket.socket, body: dict[str, Any], fds: list[int] | None = None) -> None:
    """Send one message."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([json.dumps(body).encode()], rights)


def receive(sock: socket.socket) -> Packet | None:
    """The next message; None at the end. File descriptors received are never inherited by an exec."""
    data, ancillary, _, _ = sock.recvmsg(_LIMIT, socket.CMSG_SPACE(8 * 4), socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
            fds.extend(numbers)
    return Packet(json.loads(data), fds) if data else None


def request_file(request: Any) -> int:
    """The file descriptor of a memfd that holds ``request``."""
    fd = os.memfd_create("request", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(json.dumps(request).encode())
    return fd


def read_request(fd: int) -> dict[str, Any]:
    """What ``request_file`` wrote; closes ``fd``."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        body: dict[str, Any] = json.loads(file.read())
        return body


def listen(path: str) -> socket.socket:
    """A listening socket at ``path``, for root alone."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    with _Near(path) as near:
        try:
            os.unlink(near)
        except FileNotFoundError:
            pass
        previous = os.umask(0o177)
        try:
            sock.bind(near)
        finally:
            os.umask(previous)
    sock.listen(128)
    return sock


def connect(path: str) -> socket.socket:
    """A connection to who listens at ``path``; OSError when nobody does."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        with _Near(path) as near:
            sock.connect(near)
    except BaseException:
        sock.close()
        raise
    return sock


class _Near:
    """A socket's path may have 108 bytes only; through a descriptor of its folder it is always short."""

    def __init__(self, path: str) -> None:
        self._folder, self._name = os.path.split(path)

    def __enter__(self) -> str:
        self._fd = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{self._name}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def write_atomically(path: str, body: Any) -> None:
    """Replace ``path`` by JSON; readers see the old or the new, never a part."""
    temporary = f"{path}.new"
    with open(temporary, "wb") as file:
        file.write(json.dumps(body).encode())  # json.dump would write it piece by piece, which takes ten times as long
    os.replace(temporary, path)
