"""What several subcommands ask: which cluster, am I root, is it running."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shim import cluster as clusters
from shim.cluster import Cluster, ClusterError

if TYPE_CHECKING:
    from rich.console import Console

    from shim.client import Client

T = TypeVar("T")


def cluster_flags(parser: argparse.ArgumentParser) -> None:
    """``--name`` and ``--data-dir``."""
    parser.add_argument(
        "--name",
        default=os.environ.get("SHIM_NAME", clusters.DEFAULT_NAME),
        help="cluster name; it prefixes every interface, namespace and cgroup (default: shim, or $SHIM_NAME)",
    )
    parser.add_argument("--data-dir", type=Path, help="where its state is kept (default: /var/lib/shim[-NAME])")


def need_root(why: str) -> None:
    """Raises ClusterError unless this is root."""
    if os.geteuid() != 0:
        raise ClusterError(f"this needs root, because {why}; try sudo")


def find_cluster(args: argparse.Namespace) -> Cluster:
    """The cluster that ``--name`` and ``--data-dir`` name. Raises ClusterError when there is none."""
    clusters.check_name(args.name)
    found = clusters.load(args.name, absolute(args.data_dir))
    if found is None:
        raise ClusterError(f"there is no cluster {args.name!r} here; `shim up` starts one")
    return found


def ask(kubeconfig: Path, question: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
    """What the API server says. Raises ClusterError when it has no such object, or the file can not be used."""
    from shim.api.status import ApiError
    from shim.client import Client
    from shim.client.kubeconfig import KubeconfigError

    async def answer() -> T:
        async with Client.from_kubeconfig(kubeconfig, user_agent="shim") as client:
            return await question(client)

    try:
        return asyncio.run(answer())
    except (ApiError, KubeconfigError) as error:
        raise ClusterError(str(error)) from error


def absolute(path: Path | None) -> Path | None:
    """Data directories are kept and compared as absolute paths."""
    return path.absolute() if path is not None else None


def supervisor_pid(run_dir: Path) -> int | None:
    """The process id of a cluster's living supervisor, or None."""
    try:
        pid = int((run_dir / "supervisor.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if b"shim" in command else None  # not a stranger that was given the same number after a reboot


def wide_console() -> Console:
    """Where to print what has colours. A line that is cut tells nothing: a pipe has room, a terminal its own width."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)
