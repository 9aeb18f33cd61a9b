"""``shim uninstall server|agent``: the machine is neither from now on; ``--purge`` forgets its state as well.

What ``shim install`` wrote is taken back, and what the parts leave when they end, so that a restart is unnoticed:
containers, cgroups, mounts, interfaces, routes, rules. While they run it is refused: they would make all of it anew.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
from pathlib import Path

from shim.cli import down, place
from shim.cli.common import need_root, supervisor_pid
from shim.cli.install import RUNNING, UNITS
from shim.cluster import ClusterError

DATA = {"server": place.SERVER_DATA, "agent": place.AGENT_DATA}


def uninstall_flags(parser: argparse.ArgumentParser) -> None:
    from shim.api.flags import Parser

    what = parser.add_subparsers(dest="what", metavar="server|agent", required=True, parser_class=Parser)
    for name, help_ in (("server", "the control plane"), ("agent", "a node")):
        told = what.add_parser(name, help=help_)
        default = DATA[name]
        told.add_argument(
            "--data-dir", type=Path, default=default, metavar="PATH", help=f"its state (default: {default})"
        )
        told.add_argument("--purge", action="store_true", help="remove that too: all objects, or all images")


def uninstall(args: argparse.Namespace) -> int:
    """Repeatable: what is gone already does not matter."""
    need_root("it ends containers and removes rules and interfaces")
    data_dir = args.data_dir.absolute()
    if args.what == "server" and (data_dir / "cluster.json").exists():
        raise ClusterError(f"{data_dir} is of a cluster that `shim up` made: `shim down` takes that back")
    unit = f"shim-{args.what}.service"
    if (pid := supervisor_pid(data_dir / "run")) is not None:
        how = f"systemctl stop {unit}" if _is_of(UNITS / unit, data_dir) else f"kill {pid}"
        raise ClusterError(f"the {args.what} runs, as process {pid}; end it first: {how}")
    if _is_of(UNITS / unit, data_dir):
        _remove_unit(unit)
    if args.what == "agent":
        _end_containers(data_dir)
    if args.what == "agent" or not _is_node():
        from netproxy.leaving import leave

        leave()
    if args.purge:
        down.forget(data_dir)
    kept = "nothing is left" if args.purge or not data_dir.exists() else f"its state is kept in {data_dir}"
    print(f"this machine is no {args.what} any more; {kept}")
    return 0


def _is_of(unit: Path, data_dir: Path) -> bool:
    """Whether a unit is there that runs what has its state in ``data_dir``."""
    try:
        command = next(line for line in unit.read_text().splitlines() if line.startswith("ExecStart="))
    except (FileNotFoundError, StopIteration):
        return False
    return str(data_dir) in command if "--data-dir" in command else data_dir in DATA.values()


def _remove_unit(unit: str) -> None:
    commands = [["disable", "--now", unit], ["daemon-reload"]]
    if RUNNING.is_dir():
        done = subprocess.run(["systemctl", *commands[0]], capture_output=True, text=True)
        if done.returncode:
            raise ClusterError(f"systemctl {' '.join(commands[0])}: {done.stderr.strip()}")
    (UNITS / unit).unlink()
    if unit == "shim-agent.service":
        from nodeagent import poweroff

        poweroff.DROP_IN.unlink(missing_ok=True)
    if RUNNING.is_dir():
        subprocess.run(["systemctl", *commands[1]], capture_output=True, check=False)


def _end_containers(data_dir: Path) -> None:
    from nodeagent.engine import teardown_node

    node = place.joined(data_dir)
    if node is not None:
        asyncio.run(teardown_node(data_dir, node.run_dir, node.cgroup_root))
        shutil.rmtree(node.run_dir, ignore_errors=True)


def _is_node() -> bool:
    """Whether an agent has made this machine a node, whose rules and interfaces those are then."""
    node = place.joined(place.AGENT_DATA)
    return node is not None and node.run_dir.exists()
