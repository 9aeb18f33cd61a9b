"""``shim explain pod/NAME``: the processes, namespaces, mounts, cgroups and rules that a pod is, right now.

All of it can be looked at by hand too: every line names the file, the number or the command that shows it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.tree import Tree

from shim.cli.common import ask, wide_console
from shim.cli.explain_container import add_container, name_of, said
from shim.cli.explain_numbers import add_cgroup, in_words
from shim.cli.place import Here, Node
from shim.cluster import ClusterError

if TYPE_CHECKING:
    from nodeagent.engine.anatomy import Container, Sandbox
    from shim.client import Client


def explain_pod(here: Here, namespace: str, name: str, *, steps: bool) -> None:
    """Raises ClusterError."""
    from nodeagent.engine import anatomy
    from shim.api.status import ApiError
    from shim.client import resource as r

    async def question(client: Client) -> tuple[Any, list[Any]]:
        pod = await client.get(r.PODS, name, namespace)
        selector = f"involvedObject.uid={uid_on_node(pod)}"
        try:
            return pod, (await client.list(r.EVENTS, namespace, field_selector=selector))["items"]
        except ApiError as error:
            if error.code != 403:
                raise
            return pod, []  # a node may not read them

    pod, events = ask(here.kubeconfig, question)
    told = pod["spec"].get("nodeName")
    if not told:
        _print_unbound(pod)
        return
    node = next((each for each in here.nodes if each.name == told), None)
    if node is None:
        raise ClusterError(f"pod {name} is on {told}, which is another machine: ask there")
    uid = uid_on_node(pod)
    found = [
        sandbox
        for sandbox in anatomy.sandboxes(node.data_dir, node.run_dir, node.cgroup_root)
        if sandbox.spec.labels.get("io.kubernetes.pod.uid") == uid
    ]
    found.sort(key=lambda sandbox: not any(inode for _, inode in sandbox.namespaces.values()))  # who lives comes first
    parts = [(sandbox, list(anatomy.containers(node.data_dir, sandbox.spec.id))) for sandbox in found]
    if steps:
        from shim.cli.explain_steps import print_steps

        print_steps(pod, events, parts, node.data_dir / "pods" / uid / "steps.json")
        return
    _print(pod, node, parts)


def uid_on_node(pod: Any) -> str:
    """By which its node knows the pod: a mirror tells that of its static pod, as an annotation."""
    meta = pod["metadata"]
    return str((meta.get("annotations") or {}).get("kubernetes.io/config.mirror") or meta["uid"])


def _title(pod: Any, where: str) -> str:
    meta, status = pod["metadata"], pod.get("status") or {}
    told = f"{status.get('phase', '?')} {where}  {status.get('qosClass', '-')}"
    return f"[bold]{meta['namespace']}/{meta['name']}[/]  {told}  [dim]uid {meta['uid']}[/]"


def _print_unbound(pod: Any) -> None:
    """Nobody has a place for it: all there is of it is an object, and what the scheduler says of that."""
    tree = Tree(_title(pod, "on no node"))
    tree.add("there is nothing of it but the object: no node has made anything for it")
    for gate in pod["spec"].get("schedulingGates") or ():
        tree.add(f"[cyan]gate[/]  {escape(gate['name'])}, which somebody has yet to take away")
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            said = f"{condition.get('reason', '')}: {condition.get('message', '')}"
            tree.add(f"[cyan]scheduler[/]  {escape(said)}")
    wide_console().print(tree)


def _print(pod: Any, node: Node, parts: list[tuple[Sandbox, list[Container]]]) -> None:
    status = pod.get("status") or {}
    tree = Tree(_title(pod, f"on [bold]{node.name}[/]"))
    if why := said(status):
        tree.add(f"[red]{escape(why)}[/]")
    if not parts:
        tree.add("nothing of it is on the node")
    shared = {"net": _inode(node.netns)}  # with everything on the node
    for sandbox, containers in parts:
        below = tree if len(parts) == 1 else tree.add(f"sandbox {sandbox.spec.id[:12]}")
        _sandbox(below, sandbox, containers, status.get("podIP", ""))
        common = {**shared, **{kind: inode for kind, (_, inode) in sandbox.namespaces.items()}}
        for container in containers:
            add_container(below, container, pod, common)
    _add_waiting(tree, pod, {name_of(each) for _, containers in parts for each in containers})
    if address := status.get("podIP"):
        _ways(tree, node, address)
    wide_console().print(tree)


def _add_waiting(tree: Tree, pod: Any, made: set[str]) -> None:
    """Containers that have never been made, and what they wait for."""
    status = pod.get("status") or {}
    for kind, key in (("init container", "initContainerStatuses"), ("container", "containerStatuses")):
        for each in status.get(key) or ():
            waiting = each["state"].get("waiting")
            if waiting is not None and each["name"] not in made:
                title = f"[cyan]{kind}[/] [bold]{escape(each['name'])}[/]  {escape(each.get('image', ''))}"
                tree.add(f"{title}  not made yet  [red]{escape(said(waiting))}[/]")


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _sandbox(tree: Tree, sandbox: Sandbox, containers: list[Container], address: str) -> None:
    from netproxy.links import bridge, veth

    spec = sandbox.spec
    gone = bool(sandbox.namespaces) and not any(inode for _, inode in sandbox.namespaces.values())
    if spec.host_network:
        tree.add(f"[cyan]network[/]  the node's own, {address}")
    elif gone:
        tree.add(f"[cyan]network[/]  given back: it had the address {address or 'of no network'}")
    else:
        outer = veth.name_of(spec.id)
        wire = tree.add(f"[cyan]network[/]  eth0 [bold]{address}[/] ⇄ {outer} on the node's bridge {bridge.NAME}")
        if traffic := _traffic(containers):
            wire.add(f"received {traffic[0]} packets, sent {traffic[1]}")
        wire.add(f"[dim]nsenter --net={sandbox.namespaces['net'][0]} ip addr[/]")
    if gone:
        tree.add("[cyan]namespaces[/]  gone: nothing of the pod runs")
    else:
        shared = tree.add(f"[cyan]namespaces[/] of all its containers, host name [bold]{escape(spec.hostname)}[/]")
        for kind, (path, inode) in sandbox.namespaces.items():
            shared.add(f"{kind:4} {inode or '[red]gone[/]'}  [dim]{path}[/]")
    branch = None if gone else add_cgroup(tree, f"[cyan]cgroup[/] of the pod: {spec.cgroup}", sandbox.cgroup)
    if branch is not None:
        for path, files in sandbox.around:
            branch.add(f"within {path}, which {in_words(files)}")


def _traffic(containers: list[Container]) -> tuple[str, str] | None:
    """Packets that eth0 has received and sent."""
    for container in containers:
        try:
            lines = Path(f"/proc/{container.pid}/net/dev").read_text().splitlines() if container.pid else []
        except OSError:
            continue
        for line in lines:
            name, _, numbers = line.partition(":")
            if name.strip() == "eth0":
                fields = numbers.split()
                return fields[1], fields[9]
    return None


def _ways(tree: Tree, node: Node, address: str) -> None:
    from netproxy.services import walk
    from shim.cli.explain_service import node_rules

    nat = node_rules(node, "nat")
    ways = list(walk.leading_to(address, nat))
    if not ways:
        tree.add("[cyan]Services[/]  none leads here")
        return
    branch = tree.add(f"[cyan]Services[/] and ports of the node that lead here, by the rules of {node.name}")
    for way in ways:
        first, last = way[0].rule, way[-1].rule
        service = first.text.partition('--comment "')[2].partition('"')[0].partition(" cluster IP")[0]
        port = first.option("--dport") or last.option("--dport")
        where = f"{first.option('-d').removesuffix('/32') or 'node'}:{port}"
        chain = " → ".join([*(step.chain for step in way), last.option("--to-destination")])
        branch.add(f"[bold]{escape(service) or 'port of the node'}[/]  {where}  {chain}")
