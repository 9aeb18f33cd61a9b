"""What a machine holds that a cluster could leave behind, as a value that can be compared before and after."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path


def snapshot(name: str) -> dict[str, set[str]]:
    """Everything on this machine that bears a cluster's name, and whether it forwards packets.

    Other clusters may come and go meanwhile: theirs is not looked at.
    """
    others = [path for path in Path("/run/kubeshim").glob("*.json") if path.stem != name]
    return {
        "network namespaces": _with(name, _lines("ip", "netns", "list")),
        "interfaces": _with(name, (line.split()[1] for line in _lines("ip", "-o", "link"))),
        "routes": _with(name, _lines("ip", "route")),
        "iptables": _with(f"-{name.upper()}", (line.split("[")[0] for line in _lines("iptables-save"))),
        "forwarding": set() if others else {Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()},
        "mounts": _with(f"/shim-{name}/", Path("/proc/self/mountinfo").read_text().splitlines()),
        "cgroups": {str(path) for path in Path("/sys/fs/cgroup").glob(f"*/shim-{name}")},
        "run": {str(path) for folder in ("/run", "/run/kubeshim") for path in Path(folder).glob(f"*{name}*")},
        "processes": processes(name),
    }


def _with(word: str, lines: Iterable[str]) -> set[str]:
    return {line for line in lines if word in line}


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
    alone = before["forwarding"] and after["forwarding"]  # otherwise another cluster has come or gone meanwhile
    looked_at = [what for what in before if alone or what != "forwarding"]
    return {what: before[what] ^ after[what] for what in looked_at if before[what] != after[what]}


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
