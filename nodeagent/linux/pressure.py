"""How long has work stood still for want of a processor, of memory, of a disk? The kernel's PSI tells.

Of the machine ``/proc/pressure`` tells it, of each cgroup of version 2 files of its own, where the kernel counts it at
all (https://docs.kernel.org/accounting/psi.html).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import NamedTuple

RESOURCES = ("cpu", "memory", "io")


class Stall(NamedTuple):
    """Of so much time in all, and of so many hundredths of the last 10, 60 and 300 seconds."""

    total_ns: int
    avg10: float
    avg60: float
    avg300: float


Pressure = Mapping[str, Mapping[str, Stall]]
"""By resource: how long ``some`` of the tasks waited for it, and how long all (``full``)."""


def of_machine() -> Pressure:
    return _read("/proc/pressure", "")


def of_cgroup(folder: str) -> Pressure:
    return _read(folder, ".pressure")


def _read(folder: str, ending: str) -> Pressure:
    """What is not counted, or has gone, is left out."""
    found = {}
    for resource in RESOURCES:
        try:
            with open(os.path.join(folder, resource + ending), encoding="ascii") as file:
                found[resource] = dict(map(_stall, file))
        except OSError as error:  # a file may be there, and not answer: the kernel was started with psi=0
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
                raise
    return found


def _stall(line: str) -> tuple[str, Stall]:
    """``some avg10=0.00 avg60=0.00 avg300=0.00 total=0``; the total is in microseconds."""
    which, *parts = line.split()
    told = dict(part.split("=") for part in parts)
    return which, Stall(int(told["total"]) * 1000, float(told["avg10"]), float(told["avg60"]), float(told["avg300"]))
