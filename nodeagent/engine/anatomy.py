"""What is a sandbox, what is a container, right now? Read from the engine's records, /proc and the cgroup files.

Anybody with root may ask, whether or not the agent runs; nothing is changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodeagent.engine import monitor, records, requests
from nodeagent.engine.contract import ContainerSpec, SandboxSpec
from nodeagent.linux import capabilities, cgroups, mounts

_KINDS = ("net", "ipc", "uts", "pid", "mnt", "cgroup", "user")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a pod's containers share."""

    spec: SandboxSpec
    namespaces: dict[str, tuple[str, int]]  # kind -> the file that holds it, its inode (0: it is gone)
    cgroup_path: str  # below the mounts of cgroups
    cgroup: list[tuple[str, str]]  # file -> what it says
    around: list[tuple[str, list[tuple[str, str]]]]  # the same of each cgroup around it: by its path, outermost first
    steps: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    command: str


@dataclass(frozen=True, slots=True)
class Mounted:
    """A line of a container's own /proc/self/mountinfo."""

    target: str
    kind: str
    source: str  # of a bind mount: the folder on its file system
    options: str


@dataclass(frozen=True, slots=True)
class Container:
    """One container; what only a living one has is empty once it has ended."""

    spec: ContainerSpec
    image: str
    directory: Path
    created_at: float
    pid: int
    exit: dict[str, Any] | None
    processes: list[Process]
    namespaces: dict[str, int]  # kind -> inode
    mounts: list[Mounted]
    security: dict[str, str]
    cgroup: list[tuple[str, str]]
    preparation: list[dict[str, Any]]  # steps of the engine
    steps: list[dict[str, Any]]  # of the process that became the container


def sandboxes(data_dir: Path, run_dir: Path, cgroup_root: str) -> Iterator[Sandbox]:
    """All that the engine of this node knows."""
    found = cgroups.detect()
    for path in sorted((data_dir / "sandboxes").glob("*/spec.json")):
        record = records.read(path)
        if record is None:
            continue
        spec = records.sandbox_spec(record["spec"])
        files = {kind: str(run_dir / "sandboxes" / spec.id / kind) for kind in requests.new_namespaces(spec)}
        cgroup = f"{cgroup_root}/{spec.cgroup.strip('/')}"
        held = {kind: (file, _inode(file)) for kind, file in files.items()}
        own = _contents(found.files(cgroup))
        around = [(path, _contents(found.files(f"{cgroup_root}/{path}"))) for path in _around(spec.cgroup)]
        yield Sandbox(spec, held, cgroup, own, around, record.get("steps") or [])


def containers(data_dir: Path, sandbox: str) -> Iterator[Container]:
    """Those of a sandbox, in the order they were made."""
    found = cgroups.detect()
    kept = [record for path in (data_dir / "containers").glob("*/spec.json") if (record := records.read(path))]
    for record in sorted(kept, key=lambda record: float(record["created_at"])):
        if record["spec"]["sandbox"] == sandbox:
            yield _container(data_dir, record, found)


def _container(data_dir: Path, record: dict[str, Any], found: cgroups.Cgroups) -> Container:
    spec = records.container_spec(record["spec"])
    directory = data_dir / "containers" / spec.id
    started = records.read(directory / monitor.STARTED) or {}
    exit_ = records.read(directory / monitor.EXIT)
    pid = int(started.get("pid", 0)) if exit_ is None else 0
    return Container(
        spec=spec,
        image=record["image"],
        directory=directory,
        created_at=record["created_at"],
        pid=pid,
        exit=exit_,
        processes=list(_processes(found.procs_files(record["cgroup"]))),
        namespaces={kind: _inode(f"/proc/{pid}/ns/{kind}") for kind in _KINDS} if pid else {},
        mounts=list(_mounts(pid)) if pid else [],
        security=_security(pid) if pid else {},
        cgroup=_contents(found.files(record["cgroup"])),
        preparation=record.get("steps") or [],
        steps=started.get("steps") or [],
    )


def _around(cgroup: str) -> list[str]:
    """``a/b/c`` stands in ``a`` and ``a/b``."""
    parts = cgroup.strip("/").split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _contents(files: list[str]) -> list[tuple[str, str]]:
    """Of each file its first line, or that which counts ends for want of memory; unreadable ones are left out."""
    found = []
    for file in files:
        try:
            lines = Path(file).read_text().splitlines() or [""]
        except OSError:
            continue
        found.append((file, next((line for line in lines if line.startswith("oom_kill ")), lines[0])))
    return found


def _processes(files: list[str]) -> Iterator[Process]:
    for file in files:
        try:
            pids = Path(file).read_text().split()
        except OSError:
            continue
        for pid in pids:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield Process(int(pid), command.strip() or Path(f"/proc/{pid}/comm").read_text().strip())
            except OSError:
                continue


def _mounts(pid: int) -> Iterator[Mounted]:
    try:
        lines = Path(f"/proc/{pid}/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        left, _, right = line.partition(" - ")
        _, _, _, root, target, options, *_ = left.split(" ")
        kind, source, _ = right.split(" ", 2)
        shown = mounts.unescape(root) if root != "/" else source
        yield Mounted(mounts.unescape(target), kind, shown, options)


def _security(pid: int) -> dict[str, str]:
    """Who it is, and what it may not do."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    told = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
    bounds = capabilities.of_mask(int(told["CapBnd"][0], 16))
    powers = "all of root's" if len(bounds) == len(capabilities.NAMES) else _short(bounds)
    users = Path(f"/proc/{pid}/uid_map").read_text().split()
    first, base, count = (int(word) for word in users[:3])
    shifted = f"{first} to {first + count - 1} are {base} to {base + count - 1} on the node"
    own = {} if first == base else {"its users": shifted}
    return {
        "user": f"{told['Uid'][1]}:{told['Gid'][1]}",
        **own,
        "groups": " ".join(told["Groups"]) or "none",
        "capabilities": powers,
        "no new privileges": "yes" if told["NoNewPrivs"][0] == "1" else "no",
        "seccomp": {"0": "no", "1": "strict", "2": "a filter"}.get(told["Seccomp"][0], told["Seccomp"][0]),
    }


def _short(names: list[str]) -> str:
    return " ".join(name.removeprefix("CAP_").lower() for name in names) or "none"
