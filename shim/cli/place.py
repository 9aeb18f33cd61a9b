"""Where on this machine is what commands look at? A cluster of ``shim up`` has several nodes in one folder; what
``shim server`` and ``shim agent`` have made of the machine is a folder for each."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shim import cluster as clusters
from shim.cli.common import absolute, find_cluster
from shim.cluster import ClusterError

SERVER_DATA, AGENT_DATA, AGENT_RUN = Path("/var/lib/shim"), Path("/var/lib/shim-agent"), Path("/run/shim-agent")
_JOINED = "node.json"  # in the data directory of an agent


@dataclass(frozen=True, slots=True)
class Node:
    """A node that this machine is, or has."""

    name: str
    data_dir: Path
    run_dir: Path
    cgroup_root: str
    netns: Path


@dataclass(frozen=True, slots=True)
class Here:
    """The nodes, and how to ask the API server."""

    kubeconfig: Path
    nodes: tuple[Node, ...]

    def node(self, name: str) -> Node:
        """Raises ClusterError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise ClusterError(f"there is no node {name!r}; there are {', '.join(node.name for node in self.nodes)}")


def remember(name: str, data_dir: Path, run_dir: Path, cgroup_root: str) -> None:
    """An agent writes down what others need to find it."""
    told = {"name": name, "run_dir": str(run_dir), "cgroup_root": cgroup_root}
    (data_dir / _JOINED).write_text(json.dumps(told) + "\n")


def joined(data_dir: Path) -> Node | None:
    """The node whose agent has this data directory."""
    try:
        told = json.loads((data_dir / _JOINED).read_text())
    except FileNotFoundError:
        return None
    return Node(told["name"], data_dir, Path(told["run_dir"]), told["cgroup_root"], Path("/proc/self/ns/net"))


def find_nodes(args: argparse.Namespace) -> Here:
    """Of the cluster that ``--name`` and ``--data-dir`` name, or of the agent. Raises ClusterError."""
    folders = _kept(args)
    for folder in folders:
        if (node := joined(folder)) is not None:
            return Here(_access(folders), (node,))
    from netproxy.links import virtual

    cluster = find_cluster(args)
    nodes = (
        Node(
            name,
            cluster.node_dir(name),
            cluster.run_dir / name,
            f"shim-{cluster.name}/{name}",
            virtual.netns_path(cluster.name, name),
        )
        for name in cluster.node_names
    )
    return Here(cluster.admin_kubeconfig, tuple(nodes))


def image_dir(args: argparse.Namespace) -> Path:
    """Where the nodes here have their images. Raises ClusterError."""
    joined = _joined(_kept(args))
    return find_cluster(args).image_dir if joined is None else joined / "images"


def log_files(args: argparse.Namespace) -> dict[str, Path]:
    """By the names of the parts. Raises ClusterError."""
    folders = _kept(args) or [find_cluster(args).data_dir]
    return {path.stem: path for folder in folders for path in sorted((folder / "logs").glob("*.log"))}


def _kept(args: argparse.Namespace) -> list[Path]:
    """Data directories of a master and an agent, where these are meant. Raises ClusterError."""
    if (told := absolute(args.data_dir)) is not None:
        alone = _exists(told / "logs") and not _exists(told / "cluster.json")
        return [told] if alone or _exists(told / _JOINED) else []
    clusters.check_name(args.name)
    if args.name != clusters.DEFAULT_NAME or clusters.load(args.name) is not None:
        return []
    return [folder for folder in (SERVER_DATA, AGENT_DATA) if _exists(folder / "logs")]


def _joined(folders: Iterable[Path]) -> Path | None:
    return next((folder for folder in folders if _exists(folder / _JOINED)), None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        raise ClusterError(f"{path.parent} belongs to root; try sudo") from None


def _access(folders: Iterable[Path]) -> Path:
    """Whoever asks may say as whom; a master's machine has its administrator's, and a node may look at what it runs.

    Only what lies in ``folders`` counts: another cluster's file on this machine speaks of another API server.
    """
    if told := os.environ.get("KUBECONFIG"):
        return Path(told)
    known = [folder / name for name in ("admin.kubeconfig", "kubelet.kubeconfig") for folder in folders]
    return next((path for path in known if path.exists()), known[-1])
