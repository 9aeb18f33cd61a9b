"""``shim status``: what runs, as tables a person reads at a glance."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.table import Table

from shim.cli.common import cluster_flags, find_cluster, supervisor_pid, wide_console
from shim.cluster import Cluster


def status_flags(parser: argparse.ArgumentParser) -> None:
    cluster_flags(parser)


def status(args: argparse.Namespace) -> int:
    """Print the tables; exits 3 when the cluster is not running, as service managers do."""
    cluster = find_cluster(args)
    console = wide_console()
    for line in (  # not broken where a terminal is narrow: paths and addresses are copied from here
        f"[bold]cluster {cluster.name}[/]  data {cluster.data_dir}  kubeconfig {cluster.admin_kubeconfig}",
        f"API server https://127.0.0.1:{cluster.port} and {cluster.url}"
        f"  pods {cluster.pod_cidr}  Services {cluster.service_cidr}  DNS {cluster.dns_ip}",
    ):
        console.print(line, soft_wrap=True)
    if supervisor_pid(cluster.run_dir) is None:
        console.print("[red]not running[/]; `shim up` starts it")
        return 3
    console.print(_parts(cluster))
    try:
        console.print(asyncio.run(asyncio.wait_for(_nodes(cluster), 5)))
    except Exception as error:  # whatever keeps the API server from answering belongs on the screen, not in a traceback
        console.print(f"[red]the API server does not answer[/]: {str(error) or type(error).__name__}")
        return 1
    return 0


def _parts(cluster: Cluster) -> Table:
    table = Table("PART", "STATE", "PID", "MEMORY", "RESTARTS", "UP", box=None, pad_edge=False, header_style="bold")
    known = json.loads((cluster.run_dir / "status.json").read_text())
    for part in known["parts"]:
        colour = "green" if part["state"] == "ready" else "yellow"
        table.add_row(
            part["name"],
            f"[{colour}]{part['state']}[/]",
            str(part["pid"] or "-"),
            _memory(part["pid"]),
            str(part["restarts"]),
            _age(time.time() - part["since"]),
        )
    return table


async def _nodes(cluster: Cluster) -> Table:
    from shim.client import Client
    from shim.client import resource as r

    table = Table("NODE", "STATE", "ADDRESS", "POD CIDR", "PODS", box=None, pad_edge=False, header_style="bold")
    async with Client.from_kubeconfig(cluster.admin_kubeconfig, user_agent="shim-status") as client:
        nodes, pods = await asyncio.gather(client.list(r.NODES), client.list(r.PODS))
    on: dict[str, Counter[str]] = {}
    for pod in pods["items"]:
        counter = on.setdefault(pod["spec"].get("nodeName", ""), Counter())
        counter[pod.get("status", {}).get("phase", "Unknown")] += 1
    for node in nodes["items"]:
        name = node["metadata"]["name"]
        table.add_row(
            name, _node_state(node), _address(node), node["spec"].get("podCIDR", "-"), _count(on.get(name, Counter()))
        )
    if "" in on:
        table.add_row("-", "", "", "", _count(on[""]))
    return table


def _node_state(node: dict[str, Any]) -> str:
    ready = any(
        each["type"] == "Ready" and each["status"] == "True" for each in node.get("status", {}).get("conditions", ())
    )
    cordoned = ", cordoned" if node["spec"].get("unschedulable") else ""
    return f"[green]Ready[/]{cordoned}" if ready else f"[red]NotReady[/]{cordoned}"


def _address(node: dict[str, Any]) -> str:
    addresses = node.get("status", {}).get("addresses", ())
    return next((str(each["address"]) for each in addresses if each["type"] == "InternalIP"), "-")


def _count(phases: Counter[str]) -> str:
    return ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items())) or "none"


def _memory(pid: int) -> str:
    """The process's proportional share: forked parts share what was imported before the fork."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return f"{int(line.split()[1]) / 1024:.0f} MB"
    except OSError:
        pass
    return "-"


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f}s"
    if seconds < 7200:
        return f"{seconds / 60:.0f}m"
    return f"{seconds / 3600:.0f}h" if seconds < 172800 else f"{seconds / 86400:.0f}d"
