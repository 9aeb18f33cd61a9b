"""Which powers of root does a process keep?"""

from __future__ import annotations

from collections.abc import Iterable

from nodeagent.linux import libc

# fmt: off
NAMES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # in the kernel's order: a name's place is its number

DEFAULT = frozenset((
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
))  # what containerd gives a container that asks for nothing
# fmt: on

_NUMBERS = {name: number for number, name in enumerate(NAMES)}
_PR_SET_KEEPCAPS, _PR_CAPBSET_DROP, _PR_CAPBSET_READ = 8, 24, 23


def normal(name: str) -> str:
    """``net_admin``, ``NET_ADMIN`` and ``CAP_NET_ADMIN`` are all the last."""
    upper = name.upper()
    return upper if upper.startswith("CAP_") else f"CAP_{upper}"


def of_mask(bits: int) -> list[str]:
    """The names in a bit mask."""
    return [name for number, name in enumerate(NAMES) if bits >> number & 1]


def mask(names: Iterable[str]) -> int:
    """The bit mask of ``names``; a name this table does not know is a ValueError."""
    bits = 0
    for name in names:
        if name not in _NUMBERS:
            raise ValueError(f"unknown capability {name}")
        bits |= 1 << _NUMBERS[name]
    return bits


def held() -> int:
    """What this process may use; a container can never have more."""
    return libc.capget()[1]


def limit(bits: int) -> None:
    """Drop everything else from the bounding set: not even a setuid program gives it back. Needs CAP_SETPCAP."""
    number = 0
    while True:
        try:
            present = libc.prctl(_PR_CAPBSET_READ, number)
        except OSError:  # the kernel knows no further capability
            return
        if present and not bits >> number & 1:
            libc.prctl(_PR_CAPBSET_DROP, number)
        number += 1


def keep_over_setuid() -> None:
    """Let the permitted set survive leaving user 0, so that ``apply`` can still choose."""
    libc.prctl(_PR_SET_KEEPCAPS, 1)


def apply(bits: int) -> None:
    """Make ``bits`` the effective and permitted set. Nothing is inheritable, so another user's program starts bare."""
    libc.capset(bits, bits, 0)
