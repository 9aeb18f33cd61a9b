"""Which devices may a version 2 cgroup open? The kernel asks an eBPF program; this one is assembled by hand.

The program gets ``struct bpf_cgroup_dev_ctx {u32 access_type (access << 16 | type); u32 major; u32 minor;}`` and
returns 1 to allow. Version 1 has the devices controller instead.
"""

from __future__ import annotations

import os
import struct

from nodeagent.linux import libc
from nodeagent.linux.cgroups import ALLOWED_DEVICES

_LDX_W, _MOV_X, _AND_K, _RSH_K, _JNE_K, _MOV_K, _EXIT = 0x61, 0xBF, 0x57, 0x77, 0x55, 0xB7, 0x95
_PROG_LOAD, _PROG_ATTACH, _TYPE_CGROUP_DEVICE, _ATTACH_DEVICE = 5, 8, 15, 6
_BLOCK, _CHAR = 1, 2
_ACCESS = {"m": 1, "r": 2, "w": 4}


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | target, offset, value)


def program(rules: tuple[str, ...] = ALLOWED_DEVICES) -> bytes:
    """r2 = type, r3 = access asked for, r4 = major, r5 = minor; each rule that fits returns 1, at the end 0."""
    code = [
        _instruction(_LDX_W, 2, 1, 0),
        _instruction(_MOV_X, 3, 2),
        _instruction(_AND_K, 2, value=0xFFFF),
        _instruction(_RSH_K, 3, value=16),
        _instruction(_LDX_W, 4, 1, 4),
        _instruction(_LDX_W, 5, 1, 8),
    ]
    for rule in rules:
        kind, numbers, access = rule.split()
        major, minor = numbers.split(":")
        refused = 7 & ~sum(_ACCESS[letter] for letter in access)
        checks = [(2, _BLOCK if kind == "b" else _CHAR)]
        checks += [(4, int(major))] if major != "*" else []
        checks += [(5, int(minor))] if minor != "*" else []
        body = [(_JNE_K, register, value) for register, value in checks]
        length = len(body) + (3 if refused else 0) + 2
        done = 0
        for jump, register, value in body:
            done += 1
            code.append(_instruction(jump, register, offset=length - done, value=value))
        if refused:  # asks for more than the rule gives
            code.append(_instruction(_MOV_X, 0, 3))
            code.append(_instruction(_AND_K, 0, value=refused))
            done += 3
            code.append(_instruction(_JNE_K, 0, offset=length - done, value=0))
        code += [_instruction(_MOV_K, 0, value=1), _instruction(_EXIT)]
    return b"".join([*code, _instruction(_MOV_K, 0, value=0), _instruction(_EXIT)])


def attach(cgroup: str, rules: tuple[str, ...] = ALLOWED_DEVICES) -> None:
    """Make the filter decide for ``cgroup``; the kernel drops it with the cgroup."""
    import ctypes  # the attribute union holds addresses

    code = program(rules)
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    load = struct.pack(
        "<IIQQIIQ",
        *(_TYPE_CGROUP_DEVICE, len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(licence), 0, 0, 0),
    )
    loaded = libc.bpf(_PROG_LOAD, load.ljust(128, b"\0"))
    folder = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        libc.bpf(_PROG_ATTACH, struct.pack("<IIII", folder, loaded, _ATTACH_DEVICE, 0).ljust(128, b"\0"))
    finally:
        os.close(folder)
        os.close(loaded)
