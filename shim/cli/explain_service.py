"""``shim explain service/NAME``: the way of a packet, from a Service's address to the pod that answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.tree import Tree

from shim.cli.common import ask, wide_console
from shim.cli.place import Node
from shim.cluster import ClusterError


def explain_service(kubeconfig: Path, namespace: str, name: str, node: Node) -> None:
    """Print the chains of one node, with what each rule has counted. Raises ClusterError."""
    from shim.client import Client
    from shim.client import resource as r

    async def question(client: Client) -> tuple[Any, list[Any]]:
        selector = f"kubernetes.io/service-name={name}"
        service = await client.get(r.SERVICES, name, namespace)
        return service, (await client.list(r.ENDPOINTSLICES, namespace, label_selector=selector))["items"]

    service, slices = ask(kubeconfig, question)
    nat, filters = (node_rules(node, table) for table in ("nat", "filter"))
    _print(service, slices, node.name, nat, filters)


def node_rules(node: Node, table: str) -> dict[str, list[Any]]:
    from netproxy import firewall
    from netproxy.links import namespaces
    from netproxy.services import walk

    if not node.netns.exists():
        raise ClusterError("the cluster is not running")
    with namespaces.inside(node.netns):
        return walk.parse(firewall.save(table, counters=True))


def _print(service: Any, slices: list[Any], node: str, nat: Any, filters: Any) -> None:
    from netproxy.services import walk
    from netproxy.services.model import service_ports

    console = wide_console()
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
