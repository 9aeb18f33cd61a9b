"""``shim fault``: make a node's network worse or have it shut down, to see what the cluster does about it."""

from __future__ import annotations

import argparse
import json
import os
import signal

from shim.cli.common import cluster_flags, find_cluster, need_root
from shim.cluster import Cluster, ClusterError


def fault_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("fault", choices=("partition", "loss", "delay", "shutdown", "heal"), help="what happens")
    parser.add_argument("node", metavar="NODE", help="a node of this machine's cluster")
    parser.add_argument("--percent", type=_percent, default=20.0, help="of packets that are lost (default: 20)")
    parser.add_argument("--milliseconds", type=int, default=100, help="that packets are late (default: 100)")
    cluster_flags(parser)


def fault(args: argparse.Namespace) -> int:
    """Faults stay until they are healed, or the cluster goes down."""
    need_root("it changes the network of a node")
    from netproxy.links import faults, virtual
    from nodeagent import poweroff

    cluster = find_cluster(args)
    if args.node not in cluster.node_names:
        raise ClusterError(f"there is no node {args.node!r}; there are {', '.join(cluster.node_names)}")
    netns = virtual.netns_path(cluster.name, args.node)
    if not netns.exists():
        raise ClusterError("the cluster is not running")
    heal = f"`shim fault heal {args.node}` undoes it"
    match args.fault:
        case "partition":
            faults.partition(netns)
            print(f"{args.node} is cut off; {heal}")
        case "loss":
            faults.lose(netns, args.percent)
            print(f"{args.node} loses {args.percent:g}% of its packets in each direction; {heal}")
        case "delay":
            try:
                faults.delay(netns, args.milliseconds)
            except faults.NoSuchFault as error:
                raise ClusterError(str(error)) from error
            print(f"{args.node} sends {args.milliseconds} ms late; {heal}")
        case "shutdown":
            _tell(cluster, args.node, poweroff.BEGIN)
            print(f"{args.node} is about to go down, its pods end; {heal}")
        case _:
            faults.heal(netns)
            _tell(cluster, args.node, poweroff.CANCEL)
            print(f"{args.node} is well again")
    return 0


def _tell(cluster: Cluster, node: str, news: signal.Signals) -> None:
    """What a machine's own init would tell the node's agent."""
    parts = json.loads((cluster.run_dir / "status.json").read_text())["parts"]
    pid = next(part["pid"] for part in parts if part["name"] == f"{node}.nodeagent")
    if not pid:
        raise ClusterError(f"the agent of {node} is being started again; try once more")
    os.kill(pid, news)


def _percent(text: str) -> float:
    value = float(text)
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError("a percentage is more than 0 and at most 100")
    return value
