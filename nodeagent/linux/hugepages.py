"""Which huge pages has this machine? See https://docs.kernel.org/admin-guide/mm/hugetlbpage.html."""

from __future__ import annotations

from functools import cache
from pathlib import Path

POOLS = Path("/sys/kernel/mm/hugepages")


@cache
def sizes() -> tuple[int, ...]:
    """In bytes, the smallest first: the processor's, whether there are any such pages or not."""
    found = (pool.name.removeprefix("hugepages-").removesuffix("kB") for pool in POOLS.glob("hugepages-*kB"))
    return tuple(sorted(int(size) << 10 for size in found))


def reserved(size: int) -> int:
    """How many bytes are set aside as pages of that size."""
    return int((POOLS / f"hugepages-{size >> 10}kB" / "nr_hugepages").read_text()) * size


def name(size: int) -> str:
    """As cgroups name their files: ``2MB``."""
    for bits, unit in ((30, "GB"), (20, "MB")):
        if size >> bits:
            return f"{size >> bits}{unit}"
    return f"{size >> 10}KB"
