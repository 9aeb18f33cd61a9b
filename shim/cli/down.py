"""``shim down``: stop a cluster and put the machine back as it was; ``--purge`` forgets its data as well."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

from shim import cluster as clusters
from shim.cli.common import absolute, cluster_flags, need_root, supervisor_pid
from shim.cluster import Cluster, ClusterError

STOP_TIMEOUT = 30.0  # seconds for the supervisor to end its parts


def down_flags(parser: argparse.ArgumentParser) -> None:
    cluster_flags(parser)
    parser.add_argument("--purge", action="store_true", help="remove the data directory too: all objects and images")


def down(args: argparse.Namespace) -> int:
    """Stop the parts, end every container, take away the network; repeatable."""
    need_root("it ends processes and removes namespaces")
    clusters.check_name(args.name)
    cluster = clusters.load(args.name, absolute(args.data_dir))
    if cluster is None:
        print(f"there is no cluster {args.name!r} here")
        return 0
    pid = supervisor_pid(cluster.run_dir)
    if pid is not None:
        _stop(pid)
    clean_up(cluster)
    if args.purge:
        purge(cluster)
    kept = "nothing is left" if args.purge else f"its state is kept in {cluster.data_dir}; `shim up` brings it back"
    print(f"cluster {cluster.name!r} is {'down' if pid is not None else 'not running'}; {kept}")
    return 0


def clean_up(cluster: Cluster) -> None:
    """Remove all that a cluster made outside its data directory, also after a crash. Repeatable."""
    from netproxy.links import virtual
    from nodeagent.engine import teardown_node

    async def tear_down() -> None:
        nodes = cluster.data_dir / "nodes"
        names = sorted({*cluster.node_names, *(path.name for path in nodes.glob("*"))})
        root = cluster.run_dir.name
        await asyncio.gather(*(teardown_node(nodes / name, cluster.run_dir / name, f"{root}/{name}") for name in names))

    asyncio.run(tear_down())
    virtual.remove_all(cluster.name)
    for mount in mounts_below(cluster.data_dir):
        with contextlib.suppress(OSError):
            _unmount(mount)
    _remove_cgroups(cluster.run_dir.name)
    shutil.rmtree(cluster.run_dir, ignore_errors=True)


def purge(cluster: Cluster) -> None:
    """Remove the data directory. Raises ClusterError."""
    forget(cluster.data_dir)


def forget(data_dir: Path) -> None:
    """Remove a data directory. Refuses while anything is mounted there: it could be the user's own files."""
    if left := mounts_below(data_dir):
        raise ClusterError(f"not removing {data_dir}: still mounted there: {', '.join(map(str, left))}")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(data_dir)


def mounts_below(path: Path) -> list[Path]:
    """Mount points below a folder, the deepest first."""
    prefix = f"{path}/"
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return [Path(point) for point in reversed(points) if point.startswith(prefix)]


def _unmount(mount: Path) -> None:
    from nodeagent.linux import mounts

    mounts.detach(str(mount))


def _stop(pid: int) -> None:
    print("stopping the parts", flush=True)
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT
    while Path(f"/proc/{pid}").exists() and _state(pid) != "Z":
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)  # its parts end with it
            deadline += STOP_TIMEOUT
        time.sleep(0.02)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def _remove_cgroups(root: str) -> None:
    for top in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*")):
        below = top / root
        if (below / "cgroup.procs").exists():
            for folder, _, _ in os.walk(below, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
