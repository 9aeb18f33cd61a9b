"""Which system calls may a container with the default profile not make? A BPF program, assembled by hand, decides.

It is a list of what is refused, with the capability that lifts each refusal, and so far shorter than the list of
what is allowed that container engines ship; what it refuses is what they do not allow either.
"""

from __future__ import annotations

import errno
import platform
import struct

from nodeagent.linux import capabilities, libc

# name, number on x86_64 and on aarch64 (-1: not there), the capability with which it is allowed ("": none)
REFUSED: tuple[tuple[str, int, int, str], ...] = (
    ("mount", 165, 40, "CAP_SYS_ADMIN"),
    ("umount2", 166, 39, "CAP_SYS_ADMIN"),
    ("pivot_root", 155, 41, ""),
    ("unshare", 272, 97, "CAP_SYS_ADMIN"),
    ("setns", 308, 268, "CAP_SYS_ADMIN"),
    ("sethostname", 170, 161, "CAP_SYS_ADMIN"),
    ("setdomainname", 171, 162, "CAP_SYS_ADMIN"),
    ("open_tree", 428, 428, "CAP_SYS_ADMIN"),
    ("move_mount", 429, 429, "CAP_SYS_ADMIN"),
    ("fsopen", 430, 430, "CAP_SYS_ADMIN"),
    ("fsconfig", 431, 431, "CAP_SYS_ADMIN"),
    ("fsmount", 432, 432, "CAP_SYS_ADMIN"),
    ("fspick", 433, 433, "CAP_SYS_ADMIN"),
    ("mount_setattr", 442, 442, "CAP_SYS_ADMIN"),
    ("quotactl", 179, 60, "CAP_SYS_ADMIN"),
    ("fanotify_init", 300, 262, "CAP_SYS_ADMIN"),
    ("lookup_dcookie", 212, 18, "CAP_SYS_ADMIN"),
    ("swapon", 167, 224, ""),
    ("swapoff", 168, 225, ""),
    ("nfsservctl", 180, 42, ""),
    ("kexec_load", 246, 104, "CAP_SYS_BOOT"),
    ("kexec_file_load", 320, 294, "CAP_SYS_BOOT"),
    ("reboot", 169, 142, "CAP_SYS_BOOT"),
    ("acct", 163, 89, "CAP_SYS_PACCT"),
    ("vhangup", 153, 58, "CAP_SYS_TTY_CONFIG"),
    ("init_module", 175, 105, "CAP_SYS_MODULE"),
    ("finit_module", 313, 273, "CAP_SYS_MODULE"),
    ("delete_module", 176, 106, "CAP_SYS_MODULE"),
    ("create_module", 174, -1, ""),
    ("settimeofday", 164, 170, "CAP_SYS_TIME"),
    ("clock_settime", 227, 112, "CAP_SYS_TIME"),
    ("iopl", 172, -1, "CAP_SYS_RAWIO"),
    ("ioperm", 173, -1, "CAP_SYS_RAWIO"),
    ("uselib", 134, -1, ""),
    ("bpf", 321, 280, "CAP_BPF"),
    ("perf_event_open", 298, 241, "CAP_PERFMON"),
    ("syslog", 103, 116, "CAP_SYSLOG"),
    ("add_key", 248, 217, ""),
    ("request_key", 249, 218, ""),
    ("keyctl", 250, 219, ""),
    ("kcmp", 312, 272, "CAP_SYS_PTRACE"),
    ("open_by_handle_at", 304, 265, "CAP_DAC_READ_SEARCH"),
    ("userfaultfd", 323, 282, ""),
    ("io_uring_setup", 425, 425, ""),
    ("io_uring_enter", 426, 426, ""),
    ("io_uring_register", 427, 427, ""),
    ("mbind", 237, 235, "CAP_SYS_NICE"),
    ("set_mempolicy", 238, 237, "CAP_SYS_NICE"),
    ("get_mempolicy", 239, 236, "CAP_SYS_NICE"),
    ("set_mempolicy_home_node", 450, 450, "CAP_SYS_NICE"),
    ("move_pages", 279, 239, "CAP_SYS_NICE"),
    ("migrate_pages", 256, 238, ""),
    ("quotactl_fd", 443, 443, "CAP_SYS_ADMIN"),
    ("open_tree_attr", 467, 467, "CAP_SYS_ADMIN"),
    ("sysfs", 139, -1, ""),
    ("ustat", 136, -1, ""),
    ("_sysctl", 156, -1, ""),
)

_MACHINES = {"x86_64": (0xC000003E, 56), "aarch64": (0xC00000B7, 220)}  # audit's name of it, clone
_SOCKET, _PERSONALITY = {"x86_64": 41, "aarch64": 198}, {"x86_64": 135, "aarch64": 92}
_VSOCK = 40  # reaches what runs the machine that we are in, past every network policy
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)  # Linux, Linux32, with the old uname; the last asks
_CLONE3 = 435
_NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW* flag of clone
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data


def _op(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("<HBBI", code, yes, no, value)


def program(kept: int, machine: str) -> bytes:
    """The filter for a process with the capabilities ``kept`` (a bit mask)."""
    audit, clone = _MACHINES[machine]
    numbers = [
        number
        for _, intel, arm, capability in REFUSED
        if (number := intel if machine == "x86_64" else arm) >= 0
        and not (capability and kept & capabilities.mask([capability]))
    ]
    absent = _op(_RETURN, _ERRNO | errno.ENOSYS)
    refused = _op(_RETURN, _ERRNO | errno.EPERM)
    code = [
        _op(_LOAD, _ARCHITECTURE),
        _op(_EQUAL, audit, 1),
        absent,  # 32-bit calls have other numbers
        _op(_LOAD, _NUMBER),
        _op(_AT_LEAST, 0x40000000, 0, 1),
        absent,  # and so have those of x32
    ]
    for number in numbers:
        code += [_op(_EQUAL, number, 0, 1), refused]
    code += _by_argument(_SOCKET[machine], [_op(_EQUAL, _VSOCK, 0, 1), refused])
    known = [_op(_EQUAL, value, len(_PERSONALITIES) - at) for at, value in enumerate(_PERSONALITIES)]
    code += _by_argument(_PERSONALITY[machine], [*known, refused])
    if not kept & capabilities.mask(["CAP_SYS_ADMIN"]):
        code += [_op(_EQUAL, _CLONE3, 0, 1), absent]  # its flags are out of a filter's sight; libc then uses clone
        code += _by_argument(clone, [_op(_ANY_BIT, _NEW_NAMESPACES, 0, 1), refused])
    return b"".join([*code, _op(_RETURN, _ALLOW)])


def _by_argument(number: int, checks: list[bytes]) -> list[bytes]:
    """For one call: ``checks`` of its first argument, which refuse or come to their end."""
    body = [_op(_LOAD, _FIRST_ARGUMENT), *checks, _op(_RETURN, _ALLOW)]
    return [_op(_EQUAL, number, 0, len(body)), *body]


def install_program(content: bytes) -> None:
    """Filter this process by a program of the user's own; see ``seccomp_profile``."""
    libc.seccomp_filter(content)


def install(kept: int) -> None:
    """Filter this process and its children from now on."""
    machine = platform.machine()
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, "seccomp: no default profile for this machine", machine)
    libc.seccomp_filter(program(kept, machine))
