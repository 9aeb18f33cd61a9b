"""In which order does a process cut itself off from the node to become a container's first?

Each step needs what the ones before it did, and several undo powers that earlier ones used; the order is the point.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import NoReturn

from nodeagent.engine import become, devices, shell, unprivileged, wire
from nodeagent.engine.pace import Pace
from nodeagent.linux import beneath, libc, mounts, namespaces
from nodeagent.linux.steps import Steps

_PR_SET_PDEATHSIG = 1
_NO_EXEC = mounts.NOSUID | mounts.NODEV | mounts.NOEXEC


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
    import_nothing()
    leave_keys()
    libc.prctl_undumpable()  # others in a shared pid namespace cannot look through our descriptors
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    set_oom_score(request["oom_score_adj"])
    step = Steps()
    base = request["users"]
    pace = Pace(request["pace"])
    with step("join its cgroups", *shell.move(request["join"])):
        join(request["join"])
    if not base:
        with step("a cgroup namespace of its own", "unshare --cgroup"):
            namespaces.unshare(namespaces.CGROUP)  # where we are becomes its root
    if request["pace"]["aside"]:
        with step("leave its limit of CPU time until it is set up", *shell.move(request["pace"]["aside"])):
            pace.leave()
    shared = {kind: path for kind, path in request["namespaces"].items() if path and kind not in ("pid", "user")}
    with step("enter the pod's namespaces", "nsenter " + " ".join(f"--{kind}={path}" for kind, path in shared.items())):
        for kind, path in shared.items():  # the monitor has entered that of pids for us
            namespaces.enter(path, namespaces.FILES[kind])
    users = -1
    if base:
        users = os.open(request["namespaces"]["user"], os.O_RDONLY | os.O_CLOEXEC)
        become.hand_over(streams or (), base)
    with step("take hold of what is to be mounted"):  # in the node's mount namespace: see mounts.take
        taken = [(mount, _take(mount, users)) for mount in request["mounts"]]
        shm = mounts.take(request["shm"], harmless=True, users=users)
    with step("a mount namespace of its own", "unshare --mount", "mount --make-rprivate /"):
        namespaces.unshare(namespaces.MOUNT)
        libc.mount("", "/", "", mounts.REC | mounts.PRIVATE)  # nothing mounted from here on is seen by the node
    taken = [(mount, _take_image(mount["image"], users) if mount["image"] else fd) for mount, fd in taken]
    host_devices = devices.host_devices() if request["privileged"] else {}
    given = {device["target"]: os.stat(device["source"]) for device in request["devices"]}
    rootfs = os.path.join(request["root"]["directory"], "rootfs")
    with step("stack the image's layers", *shell.overlay(request["root"])):
        trees = _mount_root(request["root"], users, base)
    os.chdir(rootfs)
    root = dev = -1
    if base:
        dev = devices.take_dev(request["root"]["directory"], host_devices, base)
        root = mounts.take(".")
        locked = _mount_locked(taken)
        entered = step("enter the pod's user namespace", f"nsenter --user={request['namespaces']['user']} unshare -mC")
        with entered:
            unprivileged.enter(request, channel, users, pace)
        taken = [(mount, mounts.take(locked[fd]) if fd in locked else fd) for mount, fd in taken]
    proc, sysfs = mounts.fresh("proc"), mounts.fresh("sysfs")  # before: they show no more than others in sight
    with step("make that the root", f"cd {rootfs}", "pivot_root . .", "umount --lazy ."):
        _pivot(root)
    with step("mount /proc and /sys", *shell.kernel_files(request)):
        _mount_proc_and_sys(request, proc, sysfs)
    with step("fill /dev", *shell.devices(devices.DEVICES, request["shm"])):
        devices.mount_dev(dev, shm, host_devices)
    nulls = [mounts.take("/dev/null") for _ in request["masked_paths"]]  # before a volume may cover that one
    top = become.root()
    for mount, fd in taken:
        with step(f"mount {mount['target']}", *shell.mount(mount)):
            _attach(top, mount, fd)
    for path, status in given.items():
        with step(f"device {path}", f"mknod {path} b {os.major(status.st_rdev)} {os.minor(status.st_rdev)}"):
            folder = beneath.folder(top, os.path.dirname(path))
            devices.make_node(os.path.basename(path), status, folder)
            os.close(folder)
    hidden = [*request["readonly_paths"], *request["masked_paths"]]
    if hidden:
        with step("protect the node's /proc and /sys", *shell.protect(request)):
            for path in request["readonly_paths"]:
                if os.path.lexists(path):
                    mounts.attach(mounts.take(path, readonly=True), path)
            for path, null in zip(request["masked_paths"], nulls, strict=True):
                _mask(path, null)
    if request["process"]["tty"]:
        master, terminal = become.open_terminal()
        _terminal_as_console(top, terminal)
        wire.send(channel, {"terminal": True}, [master])
        streams = (terminal, terminal, terminal)
    os.close(become.working_directory(request["process"]["cwd"]))
    if request["root"]["readonly"]:
        for path in ("/", *trees):
            mounts.remount_readonly(path)
    assert streams is not None
    become.use_streams(*streams)
    who = become.find_user(request["process"])
    if request["pace"]["back"]:
        with step("come back under its limit of CPU time", *shell.move(request["pace"]["back"])):
            pace.keep()
    # the last step ends in another program: what it will do is told before
    step.happened("run the program", *shell.run(request["process"]))
    wire.send(channel, {"steps": step.taken, "user": [who.uid, who.gid, who.groups]})
    become.become(request["process"], who)


def import_nothing() -> None:
    """From here on Python loads no module: it would look for it among the container's files, with the node's powers."""
    sys.meta_path.clear()


def leave_keys() -> None:
    """What the node's session keeps with the kernel (passwords of file systems, say) is not the container's."""
    try:
        libc.new_session_keyring()
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise


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


def _take(mount: wire.MountRequest, users: int) -> int:
    if mount["kind"] != "bind":
        return -1
    source = mount["source"]
    _check_propagation(source, mount["propagation"])
    try:
        with beneath.handled(source, mount["sub"]) if mount["sub"] else nullcontext(source) as meant:
            return mounts.take(
                meant,
                readonly=mount["readonly"],
                readonly_below=mount["readonly_below"],
                # nothing that a user namespace's root mounts is the node's
                propagation="rslave" if users >= 0 and mount["propagation"] == "rshared" else mount["propagation"],
                users=users,
            )
    except beneath.NothingThere as error:
        raise wire.Failure(f"failed to prepare subPath {mount['sub']}: {error.strerror}", 128) from None


def _check_propagation(source: str, asked: str) -> None:
    """Where nothing arrives or leaves, a container that counts on it must not run."""
    if asked == "private":
        return
    point, how = mounts.propagates(source)
    if asked == "rshared" and how != "shared":
        raise wire.Failure(f'path "{source}" is mounted on "{point}" but it is not a shared mount')
    if how == "private":
        raise wire.Failure(f'path "{source}" is mounted on "{point}" but it is not a shared or slave mount')


def _take_image(image: wire.ImageRequest, users: int) -> int:
    """Another image, as the container sees it: its layers as one. They are mounted where nobody else sees it.

    Always by an overlay that nobody can write to, if need be of one layer and an empty one: what is mounted for
    reading only, a container that may mount could mount for writing again, and others have the same layers.
    """
    scratch = image["scratch"]
    empty = f"{scratch}.empty"
    os.makedirs(empty, exist_ok=True)
    _shift(image["layers"], f"{scratch}.lower", users)
    mounts.overlay_readonly(scratch, [*image["lower"], empty])
    for number, (place, source) in enumerate(image["trees"].items()):
        _shift(source, f"{scratch}.lower{number}", users)
        mounts.overlay_readonly(scratch + place, [".", empty])
    try:
        with beneath.handled(scratch, image["sub"]) as part:
            return mounts.take(part, readonly=True)
    except beneath.NothingThere as error:
        raise wire.Failure(f"failed to mount image volume: {image['sub']}: {error.strerror}", 128) from None


def _mount_root(root: wire.RootRequest, users: int, base: int) -> list[str]:
    """The image's layers below a layer of the container's own; returns the trees mounted inside."""
    folder = root["directory"]
    target = os.path.join(folder, "rootfs")
    _shift(root["layers"], os.path.join(folder, "lower"), users)
    _overlay(target, root["lower"], folder, "", base)
    for place, source in root["trees"].items():
        prefix = place.strip("/").replace("/", "-") + "."
        _shift(source, os.path.join(folder, f"{prefix}lower"), users)
        _overlay(target + place, ["."], folder, prefix, base)
    return list(root["trees"])


def _shift(source: str, scratch: str, users: int) -> None:
    """Go to ``source``, in a user namespace with owners as that sees them, which needs a place to be mounted at.

    That place is outside of the root: whoever may unmount would find there what is the node's, and own it.
    The names of layers are relative: 128 of them must fit in one page of options.
    """
    if users < 0:
        os.chdir(source)
        return
    os.makedirs(scratch, exist_ok=True)
    shifted = mounts.take(source, readonly=True, recursive=False, users=users)
    libc.move_mount(shifted, scratch)
    os.fchdir(shifted)
    os.close(shifted)


def _overlay(target: str, lower: list[str], folder: str, prefix: str, owner: int) -> None:
    for attempt in ("disk", "memory"):
        upper, work = os.path.join(folder, f"{prefix}upper"), os.path.join(folder, f"{prefix}work")
        os.makedirs(upper, exist_ok=True)
        os.makedirs(work, exist_ok=True)
        os.chown(upper, owner, owner)
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


def _mount_locked(taken: list[tuple[wire.MountRequest, int]]) -> dict[int, str]:
    """Have a user namespace find read-only mounts there already: they stay so, whatever its root may do with mounts.

    Where each is mounted beside the folder of the root, where we are, by its descriptor (the way there from above is
    not open to the other user). A copy that is taken there has the same locks, see mount_namespaces(7).
    """
    found: dict[int, str] = {}
    for mount, fd in taken:
        if mount["kind"] == "bind" and mount["readonly"] and mount["propagation"] == "private":
            place = f"../locked-{len(found)}"
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                os.makedirs(place, exist_ok=True)
            else:
                os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            found[fd] = place
            mounts.attach(fd, place)
    return found


def _pivot(root: int) -> None:
    """From the folder of the root. A mount that was here before the user namespace is locked, but its copy is not."""
    if root >= 0:
        libc.move_mount(root, ".")
        os.fchdir(root)
        os.close(root)
    libc.pivot_root(".", ".")  # the old root lands on top of the new one
    libc.umount(".", mounts.DETACH)  # and off it comes, with all of the node's mounts
    os.chdir("/")


def _mount_proc_and_sys(request: wire.ContainerRequest, proc: int, sysfs: int) -> None:
    for path, taken in (("/proc", proc), ("/sys", sysfs)):
        os.makedirs(path, exist_ok=True)
        mounts.attach(taken, path)
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


def _attach(top: int, mount: wire.MountRequest, fd: int) -> None:
    """Below ``top``, the container's root: its image may have links anywhere, and the process is still the node's."""
    place = beneath.place(top, mount["target"], is_folder=fd < 0 or stat.S_ISDIR(os.fstat(fd).st_mode))
    if fd >= 0:
        mounts.attach(fd, place)
    else:
        flags = mounts.NOSUID | mounts.NODEV | (mounts.RDONLY if mount["readonly"] else 0)
        libc.mount("tmpfs", f"/proc/self/fd/{place}", "tmpfs", flags, mount["options"])
    os.close(place)


def _mask(path: str, null: int) -> None:
    """Nothing to see: an empty read-only folder, or a file that is always empty."""
    if not os.path.lexists(path):
        return
    if os.path.isdir(path):
        libc.mount("tmpfs", path, "tmpfs", mounts.RDONLY | _NO_EXEC, "size=0k")
    else:
        mounts.attach(null, path)


def _terminal_as_console(top: int, terminal: int) -> None:
    place = beneath.place(top, "/dev/console", is_folder=False)
    mounts.attach(mounts.take(os.ttyname(terminal), recursive=False), place)
    os.close(place)
