"""What a machine holds that a cluster could leave behind, as a value that can be compared before and after."""

from __future__ import annotations

import subprocess
from pathlib import Path


def snapshot(name: str) -> dict[str, set[str]]:
    """Namespaces, interfaces, rules, routes, mounts, cgroups, /run entries and processes that bear a cluster's name.

    Interfaces, rules and routes are taken whole, since a cluster may change those that are not its own.
    """
    return {
        "network namespaces": {line.split()[0] for line in _lines("ip", "netns", "list")},
        "interfaces": {line.split()[1].split("@")[0] for line in _lines("ip", "-o", "link")},
        "routes": set(_lines("ip", "route")),
        "iptables": {line.split("[")[0] for line in _lines("iptables-save") if not line.startswith("#")},
        "forwarding": {Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()},
        "mounts": {line for line in Path("/proc/self/mountinfo").read_text().splitlines() if name in line},
        "cgroups": {str(path) for path in Path("/sys/fs/cgroup").glob(f"**/*{name}*") if path.is_dir()},
        "run": {str(path) for path in Path("/run").glob(f"*{name}*")},
        "processes": processes(name),
    }


def processes(name: str) -> set[str]:
    """Processes whose command line or cgroup names the cluster."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            cgroup = (folder / "cgroup").read_text()
        except OSError:
            continue
        if "pytest" not in command and (f"/shim-{name}" in cgroup or f"-{name}" in command or f"{name} " in command):
            found.add(f"{folder.name} {command.strip()}")
    return found


def left(before: dict[str, set[str]], after: dict[str, set[str]]) -> dict[str, set[str]]:
    """What is there now that was not, or the other way round."""
    return {what: before[what] ^ after[what] for what in before if before[what] != after[what]}


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
