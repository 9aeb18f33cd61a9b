"""In which order does a process cut itself off from the node to become a container's first?

Each step needs what the ones before it did, and several undo powers that earlier ones used; the order is the point.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
from collections.abc import Callable
from typing import NoReturn

from nodeagent.engine import become, shell, wire
from nodeagent.linux import libc, mounts, namespaces
from nodeagent.linux.steps import Steps

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_NO_EXEC = mounts.NOSUID | mounts.NODEV | mounts.NOEXEC

DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}


def run(request: wire.ContainerRequest, channel: socket.socket, streams: tuple[int, int, int] | None) -> NoReturn:
    """Become the container. ``channel`` reports failure, hands over the terminal, and closes on success."""
    report_failures(channel, lambda: _isolate(request, channel, streams))


def report_failures(channel: socket.socket, steps: Callable[[], object]) -> NoReturn:
    """Run ``steps``, which end in exec; what they raise is sent over ``channel``."""
    try:
        steps()
    except wire.Failure as failure:
        wire.send(channel, {"failed": str(failure), "code": failure.code})
    except OSError as error:
        wire.send(channel, {"failed": _words(error), "code": 128})
    except BaseException as error:
        wire.send(channel, {"failed": f"{type(error).__name__}: {error}", "code": 128})
    finally:
        os._exit(1)


def _words(error: OSError) -> str:
    subject = f" {error.filename}" if error.filename else ""
    return f"{error.strerror}{subject}"


def _isolate(request: wire.ContainerRequest, channel: socket.socket, streams: tuple[int, int, int] | None) -> NoReturn:
    libc.prctl(_PR_SET_DUMPABLE, 0)  # others in a shared pid namespace cannot look through our descriptors
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    set_oom_score(request["oom_score_adj"])
    step = Steps()
    with step("join its cgroups", *(f"echo $$ > {path}" for path in request["join"])):
        join(request["join"])  # before unsharing the cgroup namespace: where we are becomes its root
    shared = {kind: path for kind, path in request["namespaces"].items() if path and kind != "pid"}
    with step("enter the pod's namespaces", "nsenter " + " ".join(f"--{kind}={path}" for kind, path in shared.items())):
        for kind, path in shared.items():  # the monitor has entered that of pids for us
            namespaces.enter(path, namespaces.FILES[kind])
    with step("take hold of what is to be mounted"):
        taken = [(mount, _take(mount)) for mount in request["mounts"]]  # in the node's mount namespace: see mounts.take
        shm = mounts.take(request["shm"], harmless=True)
    with step("mount and cgroup namespaces of its own", "unshare --mount --cgroup", "mount --make-rprivate /"):
        namespaces.unshare(namespaces.MOUNT | namespaces.CGROUP)
        libc.mount("", "/", "", mounts.REC | mounts.PRIVATE)  # nothing mounted from here on is seen by the node
    taken = [(mount, _take_image(mount["image"]) if mount["image"] else fd) for mount, fd in taken]
    host_devices = _host_devices() if request["privileged"] else {}
    rootfs = os.path.join(request["root"]["directory"], "rootfs")
    with step("stack the image's layers", *shell.overlay(request["root"])):
        trees = _mount_root(request["root"])
    with step("make that the root", f"cd {rootfs}", "pivot_root . .", "umount --lazy ."):
        _pivot(rootfs)
    with step("mount /proc and /sys", *shell.kernel_files(request)):
        _mount_proc_and_sys(request)
    with step("fill /dev", *shell.devices(DEVICES, request["shm"])):
        _mount_dev(shm, host_devices)
    for mount, fd in taken:
        with step(f"mount {mount['target']}", *shell.mount(mount)):
            _attach(mount, fd)
    hidden = [*request["readonly_paths"], *request["masked_paths"]]
    if hidden:
        with step("protect the node's /proc and /sys", *shell.protect(request)):
            for path in request["readonly_paths"]:
                if os.path.lexists(path):
                    mounts.attach(mounts.take(path, readonly=True), path)
            for path in request["masked_paths"]:
                _mask(path)
    if request["process"]["tty"]:
        master, terminal = become.open_terminal()
        _terminal_as_console(terminal)
        wire.send(channel, {"terminal": True}, [master])
        streams = (terminal, terminal, terminal)
    become.make_directory(request["process"]["cwd"])
    if request["root"]["readonly"]:
        for path in ("/", *trees):
            mounts.remount_readonly(path)
    assert streams is not None
    become.use_streams(*streams)
    # the last step ends in another program: what it will do is told before
    step.happened("run the program", *shell.run(request["process"]))
    wire.send(channel, {"steps": step.taken})
    become.become(request["process"])


def set_oom_score(score: int) -> None:
    """How gladly the kernel ends this process when memory is short. Lowering it is not allowed everywhere."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(score))
    except PermissionError:
        pass


def join(files: list[str]) -> None:
    """Enter cgroups: 0 means the process that writes."""
    for path in files:
        with open(path, "w", encoding="ascii") as file:
            file.write("0")


def _take(mount: wire.MountRequest) -> int:
    if mount["kind"] != "bind":
        return -1
    return mounts.take(
        mount["source"],
        readonly=mount["readonly"],
        readonly_below=mount["readonly_below"],
        propagation=mount["propagation"],
    )


def _take_image(image: wire.ImageRequest) -> int:
    """Another image, as the container sees it: its layers as one. They are mounted where nobody else sees it."""
    scratch, lower = image["scratch"], image["lower"]
    os.chdir(image["layers"])
    if len(lower) > 1:
        mounts.overlay_readonly(scratch, lower)
    else:  # an overlay of one layer is refused
        libc.mount(lower[0], scratch, "", mounts.BIND)
    for place, source in image["trees"].items():
        libc.mount(source, scratch + place, "", mounts.BIND)
    root = os.open(scratch, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        part = libc.open_in_root(root, image["sub"] or ".", os.O_PATH | os.O_CLOEXEC)  # a link in it leads not outside
    except OSError as error:
        raise wire.Failure(
            f"failed to mount image volume: {image['sub']}: {os.strerror(error.errno or 0)}", 128
        ) from None
    return mounts.take(f"/proc/self/fd/{part}", readonly=True)


def _mount_root(root: wire.RootRequest) -> list[str]:
    """The image's layers below a layer of the container's own; returns the trees mounted inside."""
    folder = root["directory"]
    target = os.path.join(folder, "rootfs")
    os.chdir(root["layers"])  # the names of layers are relative: 128 of them must fit in one page of options
    _overlay(target, root["lower"], folder, "")
    for place, source in root["trees"].items():
        _overlay(target + place, [source], folder, place.strip("/").replace("/", "-") + ".")
    return list(root["trees"])


def _overlay(target: str, lower: list[str], folder: str, prefix: str) -> None:
    for attempt in ("disk", "memory"):
        upper, work = os.path.join(folder, f"{prefix}upper"), os.path.join(folder, f"{prefix}work")
        os.makedirs(upper, exist_ok=True)
        os.makedirs(work, exist_ok=True)
        try:
            mounts.overlay(target, lower, upper, work)
            return
        except OSError as error:
            # An overlay cannot be the upper layer of another: inside a container, say. Then changes live in memory.
            if attempt == "memory" or error.errno not in (errno.EINVAL, errno.EREMOTE):
                raise
            folder = os.path.join(folder, "memory")
            os.makedirs(folder, exist_ok=True)
            libc.mount("tmpfs", folder, "tmpfs", 0, "mode=700")


def _pivot(root: str) -> None:
    os.chdir(root)
    libc.pivot_root(".", ".")  # the old root lands on top of the new one
    libc.umount(".", mounts.DETACH)  # and off it comes, with all of the node's mounts
    os.chdir("/")


def _mount_proc_and_sys(request: wire.ContainerRequest) -> None:
    for path in ("/proc", "/sys"):
        os.makedirs(path, exist_ok=True)
    libc.mount("proc", "/proc", "proc", _NO_EXEC)
    libc.mount("sysfs", "/sys", "sysfs", _NO_EXEC)
    top = "/sys/fs/cgroup"
    if [name for name, _, _ in request["cgroup_mounts"]] != [""]:
        libc.mount("tmpfs", top, "tmpfs", _NO_EXEC, "mode=755,size=64k")
    for name, fstype, options in request["cgroup_mounts"]:
        if name:
            os.mkdir(os.path.join(top, name))
        libc.mount("cgroup", os.path.join(top, name), fstype, _NO_EXEC, options)
    if not request["privileged"]:
        # The mounts, not the file systems: those may be shared with others, who would get them read-only too.
        for path in ("/sys", top, *(os.path.join(top, name) for name, _, _ in request["cgroup_mounts"] if name)):
            mounts.remount_readonly(path)


def _host_devices() -> dict[str, os.stat_result]:
    """A privileged container gets every device the node has."""
    found = {}
    for folder, _, names in os.walk("/dev"):
        if folder.startswith(("/dev/pts", "/dev/shm", "/dev/mqueue")):
            continue
        for name in names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)) and name not in ("console", "ptmx"):
                found[path] = status
    return found


def _mount_dev(shm: int, host_devices: dict[str, os.stat_result]) -> None:
    os.makedirs("/dev", exist_ok=True)
    libc.mount("tmpfs", "/dev", "tmpfs", mounts.NOSUID, "mode=755,size=65536k")
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(f"/dev/{name}")
    own_terminals = "newinstance,ptmxmode=0666,mode=0620,gid=5"
    libc.mount("devpts", "/dev/pts", "devpts", mounts.NOSUID | mounts.NOEXEC, own_terminals)
    libc.mount("mqueue", "/dev/mqueue", "mqueue", _NO_EXEC)
    mounts.attach(shm, "/dev/shm")
    mask = os.umask(0)
    for name, (major, minor) in DEVICES.items():
        os.mknod(f"/dev/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
    for path, status in host_devices.items():
        if not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            os.mknod(path, status.st_mode, status.st_rdev)
            os.chown(path, status.st_uid, status.st_gid)
    os.umask(mask)
    for name, target in LINKS.items():
        os.symlink(target, f"/dev/{name}")


def _attach(mount: wire.MountRequest, fd: int) -> None:
    target = mount["target"]
    folder = fd < 0 or stat.S_ISDIR(os.fstat(fd).st_mode)
    _make_target(target, folder)
    if fd >= 0:
        mounts.attach(fd, target)
        return
    flags = mounts.NOSUID | mounts.NODEV | (mounts.RDONLY if mount["readonly"] else 0)
    libc.mount("tmpfs", target, "tmpfs", flags, mount["options"])


def _make_target(target: str, folder: bool) -> None:
    if folder:
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _mask(path: str) -> None:
    """Nothing to see: an empty read-only folder, or a file that is always empty."""
    if not os.path.lexists(path):
        return
    if os.path.isdir(path):
        libc.mount("tmpfs", path, "tmpfs", mounts.RDONLY | _NO_EXEC, "size=0k")
    else:
        mounts.attach(mounts.take("/dev/null"), path)


def _terminal_as_console(terminal: int) -> None:
    os.close(os.open("/dev/console", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    mounts.attach(mounts.take(os.ttyname(terminal), recursive=False), "/dev/console")
