"""``shim explain service/NAME``: the way of a packet, from a Service's address to the pod that answers."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from rich.console import Console
from rich.tree import Tree

from shim.cli.common import cluster_flags, find_cluster, need_root
from shim.cluster import Cluster, ClusterError


def explain_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("object", metavar="service/NAME", help="the Service whose way is shown")
    parser.add_argument("-n", "--namespace", default="default", help="its namespace (default: default)")
    parser.add_argument("--node", help="the node whose rules are read (default: the first)")
    cluster_flags(parser)


def explain(args: argparse.Namespace) -> int:
    """Print the chains of one node, with what each rule has counted."""
    kind, _, name = args.object.partition("/")
    if kind not in ("service", "services", "svc") or not name:
        raise ClusterError(f"{args.object!r} is not a Service: say service/NAME")
    need_root("it reads the rules of a node")
    cluster = find_cluster(args)
    node = args.node or cluster.node_names[0]
    if node not in cluster.node_names:
        raise ClusterError(f"there is no node {node!r}; there are {', '.join(cluster.node_names)}")
    service, slices = asyncio.run(_ask(cluster, args.namespace, name))
    nat, filters = (_rules(cluster, node, table) for table in ("nat", "filter"))
    _print(service, slices, node, nat, filters)
    return 0


async def _ask(cluster: Cluster, namespace: str, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from shim.api.status import ApiError
    from shim.client import Client
    from shim.client import resource as r

    async with Client.from_kubeconfig(cluster.admin_kubeconfig, user_agent="shim-explain") as client:
        try:
            service = await client.get(r.SERVICES, name, namespace)
        except ApiError as error:
            raise ClusterError(error.message) from error
        selector = f"kubernetes.io/service-name={name}"
        return service, (await client.list(r.ENDPOINTSLICES, namespace, label_selector=selector))["items"]


def _rules(cluster: Cluster, node: str, table: str) -> dict[str, list[Any]]:
    from netproxy import firewall
    from netproxy.links import namespaces, virtual
    from netproxy.services import walk

    netns = virtual.netns_path(cluster.name, node)
    if not netns.exists():
        raise ClusterError("the cluster is not running")
    with namespaces.inside(netns):
        return walk.parse(firewall.save(table, counters=True))


def _print(service: Any, slices: list[Any], node: str, nat: Any, filters: Any) -> None:
    from netproxy.services import walk
    from netproxy.services.model import service_ports

    # a line that is cut tells nothing; a terminal's own width is all there is, a pipe has room
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    items = [item for piece in slices for item in piece.get("endpoints") or ()]
    pods = {address: _pod(item) for item in items for address in item["addresses"]}
    metadata, spec = service["metadata"], service["spec"]
    console.print(f"[bold]{metadata['namespace']}/{metadata['name']}[/]  {spec['type']}  {spec.get('clusterIP', '-')}")
    console.print(f"endpoints: {len(pods)}; the rules and their counters are those of {node}")
    ports = list(service_ports(service))
    if not ports:
        console.print("It has no address of its own: its name leads to the endpoints themselves, and no rule is made.")
    shown: set[str] = set()  # chains that several ways lead to are spelled out once
    for port in ports:
        for where, entry in walk.entries(port, nat, filters):
            tree = Tree(f"[bold]{port.protocol} {where}[/]")
            _grow(tree.add(f"{entry.chain} {_line(entry, pods, shown)}"), entry, nat, pods, shown)
            console.print(tree)


def _grow(tree: Tree, step: Any, nat: Any, pods: dict[str, str], shown: set[str]) -> None:
    from netproxy.services import walk

    if step.rule.target in shown:
        return
    shown.add(step.rule.target)
    for below in walk.behind(step, nat):
        _grow(tree.add(_line(below, pods, shown)), below, nat, pods, shown)


def _line(step: Any, pods: dict[str, str], shown: set[str]) -> str:
    """What becomes of a packet by one rule, and how many that have been."""
    target, rule = step.rule.target, step.rule
    match target:
        case "KUBE-MARK-MASQ":
            source = rule.option("-s").removesuffix("/32")
            which = f"{'not ' if rule.text.startswith('!') else ''}from {source}: " if source else ""
            what = f"{which}marked for masquerading"
        case "DNAT":
            address = rule.option("--to-destination")
            what = f"sent to [bold]{address}[/] {pods.get(address.partition(':')[0], '')}".rstrip()
        case "REJECT" | "DROP":
            what = f"[red]{'refused' if target == 'REJECT' else 'dropped'}[/]: there is no endpoint for this"
        case "":
            what = rule.text
        case _:
            chance = "" if step.share is None else f"{step.share:.0%} "
            again = "the same client again " if "--rcheck" in rule.text else ""
            what = f"{chance}{again}→ {target}{' (as above)' if target in shown else ''}"
    return f"{what}  [dim]{rule.packets} packets[/]"


def _pod(endpoint: Any) -> str:
    pod, node = (endpoint.get("targetRef") or {}).get("name"), endpoint.get("nodeName")
    return " ".join([*([pod] if pod else []), *([f"on {node}"] if node else [])])
