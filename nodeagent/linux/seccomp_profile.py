"""How does a seccomp profile of the user's own become a program for the kernel? By libseccomp, which knows all names.

The profile is the JSON that container runtimes take
(https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#seccomp). libseccomp is loaded only when a
profile is used: it is a system package (libseccomp2), and the processes that become containers need but its result.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
from collections.abc import Mapping
from typing import Any

_ERRNO, _TRACE = 0x00050000, 0x7FF00000
_ACTIONS = {
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": _ERRNO,
    "SCMP_ACT_TRACE": _TRACE,
}
_COMPARISONS = {
    name: number for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), 1)
}  # as libseccomp numbers them
_UNKNOWN = -1  # a system call that no architecture has
_EPERM = 1


class ProfileError(ValueError):
    """The profile cannot be used; the message is for the user."""


class _Comparison(ctypes.Structure):
    _fields_ = [
        ("argument", ctypes.c_uint),
        ("comparison", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    ]


def compiled(text: str) -> bytes:
    """The program of a profile. Raises ProfileError."""
    try:
        profile = json.loads(text)
        library = _library()
        context = library.seccomp_init(_action(profile["defaultAction"], profile.get("defaultErrnoRet")))
        if not context:
            raise ProfileError("libseccomp refuses the default action")
        try:
            for rule in profile.get("syscalls") or ():
                _add(library, context, rule, profile)
            return _exported(library, context)
        finally:
            library.seccomp_release(context)
    except (KeyError, TypeError, AttributeError) as error:
        raise ProfileError(f"not a seccomp profile: {error!r}") from None
    except ValueError as error:
        raise ProfileError(str(error)) from None


def _library() -> ctypes.CDLL:
    name = ctypes.util.find_library("seccomp") or "libseccomp.so.2"
    try:
        library = ctypes.CDLL(name)
    except OSError:
        raise ProfileError("profiles need libseccomp, which this machine lacks (package libseccomp2)") from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int),
        *(ctypes.c_uint, ctypes.POINTER(_Comparison)),
    ]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


def _add(library: ctypes.CDLL, context: int, rule: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
    action = _action(rule["action"], rule.get("errnoRet"))
    if action == _action(profile["defaultAction"], profile.get("defaultErrnoRet")):
        return  # says nothing new, and libseccomp refuses it
    wanted = [
        _Comparison(
            int(each["index"]),
            _COMPARISONS[each["op"].removeprefix("SCMP_CMP_")],
            int(each.get("value") or 0),
            int(each.get("valueTwo") or 0),
        )
        for each in rule.get("args") or ()
    ]
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN:
            continue  # of another architecture, or newer than libseccomp: what is not known is not there
        array = (_Comparison * len(wanted))(*wanted)
        failed = library.seccomp_rule_add_array(context, action, number, len(wanted), array)
        if failed:
            raise ProfileError(f"rule for {name}: {os.strerror(-failed)}")


def _action(name: str, told: int | None) -> int:
    if name not in _ACTIONS:
        raise ProfileError(f"unknown action {name}")
    action = _ACTIONS[name]
    return action | (_EPERM if told is None else int(told)) if action in (_ERRNO, _TRACE) else action


def _exported(library: ctypes.CDLL, context: int) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if failed := library.seccomp_export_bpf(context, fd):
            raise ProfileError(f"libseccomp: {os.strerror(-failed)}")
        file.seek(0)
        return file.read()
