"""What a machine holds that a cluster could leave behind, as a value that can be compared before and after."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from e2e.cluster import Cluster


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
        "cgroups": {str(path) for place in ("*/", "") for path in Path("/sys/fs/cgroup").glob(f"{place}shim-{name}")},
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


def pods_on_nodes(cluster: Cluster) -> dict[str, set[str]]:
    """Uids of pods of which something is on a node of this machine."""
    nodes, run = cluster.data_dir / "nodes", Path(f"/run/shim-{cluster.name}")
    cgroups = cluster.cgroups("*/kubepods/**/pod*")
    return {
        "folders": {path.name for path in nodes.glob("*/pods/*")},
        "logs": {path.name.rpartition("_")[2] for path in nodes.glob("*/logs/pods/*")},
        "cgroups": {path.name.removeprefix("pod") for path in cgroups},
        "volumes in memory": {path.name for path in run.glob("*/volumes/*")},
        "sandboxes": {_pod_of(nodes, path) for path in run.glob("*/sandboxes/*")},
    }


def _pod_of(nodes: Path, sandbox: Path) -> str:
    record = nodes / sandbox.parents[1].name / "sandboxes" / sandbox.name / "spec.json"
    try:
        return str(json.loads(record.read_text())["spec"]["labels"]["io.kubernetes.pod.uid"])
    except FileNotFoundError:
        return f"nobody knows: {sandbox.name}"


def nothing_of_deleted_pods(cluster: Cluster) -> None:
    """Raises AssertionError when something is on a node of pods that are not in the API any more."""
    on_nodes = pods_on_nodes(cluster)  # looked at first: pods that come meanwhile are known then
    metas = [pod["metadata"] for pod in cluster.get("pods", "--all-namespaces")["items"]]
    known = {(meta.get("annotations") or {}).get("kubernetes.io/config.mirror", meta["uid"]) for meta in metas}
    assert {what: uids - known for what, uids in on_nodes.items() if uids - known} == {}


def left(before: dict[str, set[str]], after: dict[str, set[str]]) -> dict[str, set[str]]:
    """What is there now that was not, or the other way round."""
    alone = before["forwarding"] and after["forwarding"]  # otherwise another cluster has come or gone meanwhile
    looked_at = [what for what in before if alone or what != "forwarding"]
    return {what: before[what] ^ after[what] for what in looked_at if before[what] != after[what]}


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
