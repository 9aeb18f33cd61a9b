"""Which system calls does Python 3.11 lack, and how are they made? Each raises an OSError that says what failed.

A failure names the operation and the object: ``[Errno 22] pivot_root: Invalid argument: '/run/x'``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

# Numbers above 423 are the same on every architecture.
OPEN_TREE, MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT, OPENAT2, MOUNT_SETATTR = 428, 429, 430, 431, 432, 437, 442
_BY_MACHINE = {
    "x86_64": {"keyctl": 250, "seccomp": 317, "bpf": 321},
    "aarch64": {"keyctl": 219, "seccomp": 277, "bpf": 280},
}

AT_FDCWD = -100


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


class _MountAttr(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapData(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def _check(result: int, operation: str, subject: str | int | None = None) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{operation}: {os.strerror(code)}", *(() if subject is None else (str(subject),)))
    return result


def _syscall(number: int, operation: str, subject: str | int | None, *args: object) -> int:
    return _check(int(_libc.syscall(ctypes.c_long(number), *args)), operation, subject)


def _number(name: str) -> int:
    numbers = _BY_MACHINE.get(platform.machine())
    if numbers is None:
        raise OSError(errno.ENOSYS, f"{name}: unknown machine", platform.machine())
    return numbers[name]


def unshare(flags: int) -> None:
    """Leave namespaces for new ones (``CLONE_NEW*``)."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare", hex(flags))


def setns(fd: int, flags: int = 0) -> None:
    """Enter the namespace that ``fd`` is, or with a pidfd all of ``flags`` of that process."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(flags)), "setns", hex(flags))


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    code = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        os.fsencode(fstype),
        ctypes.c_ulong(flags),
        os.fsencode(data) if data else None,
    )
    _check(code, f"mount {fstype or source}", target)


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(flags)), "umount", target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make ``new_root`` this mount namespace's root, and ``put_old`` where the old one is seen."""
    _check(_libc.pivot_root(os.fsencode(new_root), os.fsencode(put_old)), "pivot_root", new_root)


def open_tree(path: str, flags: int) -> int:
    """A file descriptor of a mount, or with OPEN_TREE_CLONE of a detached copy of it."""
    raw = os.fsencode(path)
    return _syscall(OPEN_TREE, "open_tree", path, ctypes.c_int(AT_FDCWD), ctypes.c_char_p(raw), ctypes.c_uint(flags))


def move_mount(fd: int, target: str | int) -> None:
    """Attach the detached mount ``fd`` at ``target``, a path or what a descriptor stands for."""
    empty_path, onto_empty_path = 0x4, 0x40
    onto, path = (target, "") if isinstance(target, int) else (AT_FDCWD, target)
    _syscall(
        MOVE_MOUNT,
        "move_mount",
        str(target),
        ctypes.c_int(fd),
        ctypes.c_char_p(b""),
        ctypes.c_int(onto),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.c_uint(empty_path | (0 if path else onto_empty_path)),
    )


def fsmount(fstype: str, attributes: int) -> int:
    """A file system mounted nowhere yet, as a file descriptor for ``move_mount``."""
    close_on_exec, set_string, create = 1, 1, 6
    name, none = ctypes.c_char_p(os.fsencode(fstype)), ctypes.c_void_p(None)
    opened = _syscall(FSOPEN, "fsopen", fstype, name, ctypes.c_uint(close_on_exec))
    context = ctypes.c_int(opened)
    try:
        source = (ctypes.c_uint(set_string), ctypes.c_char_p(b"source"), name)
        for step in (source, (ctypes.c_uint(create), none, none)):
            _syscall(FSCONFIG, "fsconfig", fstype, context, *step, ctypes.c_int(0))
        flags = (ctypes.c_uint(close_on_exec), ctypes.c_uint(attributes))
        return _syscall(FSMOUNT, f"mount {fstype}", fstype, context, *flags)
    finally:
        os.close(opened)


def mount_setattr(
    fd: int, *, attributes: int = 0, propagation: int = 0, users: int = 0, recursive: bool = True
) -> None:
    """Set attributes (read-only, nosuid ...), propagation and users of the mount ``fd`` and those below it."""
    change = _MountAttr(attributes, 0, propagation, users)
    at_empty_path, at_recursive = 0x1000, 0x8000
    _syscall(
        MOUNT_SETATTR,
        "mount_setattr",
        fd,
        ctypes.c_int(fd),
        ctypes.c_char_p(b""),
        ctypes.c_uint(at_empty_path | (at_recursive if recursive else 0)),
        ctypes.byref(change),
        ctypes.c_size_t(ctypes.sizeof(change)),
    )


def open_in_root(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open ``path`` as if the directory ``root`` were ``/``: no symlink and no ``..`` leads out of it.

    Nor does a link of /proc: to another root, or to what a process has open.
    """
    resolve_in_root, resolve_no_magiclinks = 0x10, 0x02
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve_in_root | resolve_no_magiclinks)
    return _syscall(
        OPENAT2,
        "openat2",
        path,
        ctypes.c_int(root),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )


def inotify_init(flags: int) -> int:
    """inotify_init1(2): a file descriptor that tells of changes."""
    return _check(_libc.inotify_init1(ctypes.c_int(flags)), "inotify_init1")


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """Have changes of ``path`` told at ``fd``."""
    return _check(_libc.inotify_add_watch(ctypes.c_int(fd), os.fsencode(path), ctypes.c_uint32(mask)), "inotify", path)


def close_on_exec(first: int) -> None:
    """Mark every file descriptor from ``first`` on to be closed by the next exec."""
    close_range, cloexec = 436, 4
    _syscall(close_range, "close_range", first, ctypes.c_uint(first), ctypes.c_uint(0xFFFFFFFF), ctypes.c_uint(cloexec))


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2)."""
    args = [ctypes.c_ulong(a) for a in (arg2, arg3, arg4, arg5)]
    return _check(_libc.prctl(ctypes.c_int(option), *args), "prctl", option)


def capget() -> tuple[int, int, int]:
    """Effective, permitted and inheritable capabilities of this process, as bit masks."""
    data = (_CapData * 2)()
    _check(_libc.capget(ctypes.byref(_CapHeader(0x20080522, 0)), ctypes.byref(data)), "capget")
    low, high = data
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set this process's capabilities from bit masks."""
    words = 0xFFFFFFFF
    data = (_CapData * 2)(
        _CapData(effective & words, permitted & words, inheritable & words),
        _CapData(effective >> 32, permitted >> 32, inheritable >> 32),
    )
    _check(_libc.capset(ctypes.byref(_CapHeader(0x20080522, 0)), ctypes.byref(data)), "capset", hex(permitted))


def seccomp_filter(program: bytes) -> None:
    """Install a classic BPF program, ``program`` being its 8-byte instructions, as this process's filter."""

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    set_mode_filter = 1
    argument = Program(len(program) // 8, program)
    _syscall(
        _number("seccomp"),
        "seccomp",
        None,
        ctypes.c_uint(set_mode_filter),
        ctypes.c_uint(0),
        ctypes.byref(argument),
    )


def bpf(command: int, attributes: bytes) -> int:
    """bpf(2) with its attribute union as bytes."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return _syscall(_number("bpf"), "bpf", command, ctypes.c_int(command), buffer, ctypes.c_uint(len(attributes)))


def new_session_keyring() -> None:
    """Leave the keys of the session that started us, see session-keyring(7)."""
    join_session_keyring = 1
    none = ctypes.c_void_p(None)
    _syscall(_number("keyctl"), "keyctl", None, ctypes.c_int(join_session_keyring), none)


def overwrite(start: int, end: int, text: bytes) -> None:
    """Fill a part of this process's own memory with ``text`` and then zeros."""
    size = end - start
    ctypes.memmove(start, text[: size - 1].ljust(size, b"\0"), size)


def prctl_undumpable() -> None:
    """Let nobody of the same user trace this process, or look through its descriptors in /proc."""
    set_dumpable = 4
    prctl(set_dumpable, 0)


def prctl_name(name: str) -> None:
    """What ps shows for this process (15 bytes)."""
    set_name = 15
    _check(_libc.prctl(ctypes.c_int(set_name), ctypes.c_char_p(name.encode()), 0, 0, 0), "prctl name", name)
