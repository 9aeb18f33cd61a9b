"""The files of a cgroup, and in words what their numbers mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.tree import Tree

Files = Sequence[tuple[str, str]]
"""Each file with the first line of what it says."""

_NONE = ("no limit", "max")
_NO_BYTES = ("memory.failcnt", "memory.events")


def add_cgroup(tree: Tree, title: str, files: Files) -> Tree | None:
    """A branch with all of it; None when the cgroup is gone."""
    if not files:
        return None
    branch = tree.add(title)
    branch.add(f"[dim]{folders([file for file, _ in files])}[/]")
    told = {Path(file).name: value for file, value in files}
    for name, value in told.items():
        branch.add(f"{name} = [bold]{value}[/]{meaning(name, value, told)}")
    return branch


def in_words(files: Files) -> str:
    """What its limits allow, on one line; what is not limited is not said."""
    told = {Path(file).name: value for file, value in files}
    said = {
        "weighs": meaning("cpu.shares", told.get("cpu.shares", ""), told),
        "weight": told.get("cpu.weight", ""),
        "has": next((meaning(file, told[file], told) for file in ("cpu.cfs_quota_us", "cpu.max") if file in told), ""),
        "memory": _bytes(told.get("memory.limit_in_bytes") or told.get("memory.max", "")),
        "processes": told.get("pids.max", ""),
    }
    return ", ".join(f"{what} {words.strip()}" for what, words in said.items() if words and words.strip() not in _NONE)


def folders(files: Sequence[str]) -> str:
    """Where the files are, as a shell would take it: version 1 has a folder of one name in several trees."""
    found = list(dict.fromkeys(str(Path(file).parent) for file in files))
    trees = [folder.split("/") for folder in found]
    (at, *more) = [place for place, names in enumerate(zip(*trees, strict=False)) if len(set(names)) > 1] or [0]
    if len(found) == 1 or more:
        return " ".join(found)
    first = trees[0]
    return "/".join([*first[:at], "{" + ",".join(tree[at] for tree in trees) + "}", *first[at + 1 :]])


def meaning(file: str, value: str, beside: dict[str, str]) -> str:
    """The number in words, where it is one of bytes, of time or of processors; "" where it speaks for itself."""
    match file:
        case "cpu.cfs_quota_us":
            return _cpus(value, beside.get("cpu.cfs_period_us", "100000"))
        case "cpu.max":
            quota, _, period = value.partition(" ")
            return _cpus(quota, period)
        case "cpu.shares" if value.isdigit():
            return f"  as much as {_number(int(value) / 1024)} CPU, when all are busy"
        case "cpuacct.usage" if value.isdigit():
            return f"  {int(value) / 1e9:.3f} s of processor time"
        case _ if file.startswith("memory.") and file not in _NO_BYTES:
            return _bytes(value)
    return ""


def _cpus(quota: str, period: str) -> str:
    if not quota.isdigit():  # -1, or max
        return "  no limit"
    return f"  {_number(int(quota) / int(period))} CPU at most"


def _bytes(value: str) -> str:
    if value == "max" or (value.isdigit() and int(value) > 1 << 60):
        return "  no limit"
    return f"  {int(value) / (1 << 20):.1f} MiB" if value.isdigit() else ""


def _number(amount: float) -> str:
    return f"{amount:.3f}".rstrip("0").rstrip(".")
