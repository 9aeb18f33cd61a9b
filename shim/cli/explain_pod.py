"""``shim explain pod/NAME``: the processes, namespaces, mounts, cgroups and rules that a pod is, right now.

All of it can be looked at by hand too: every line names the file, the number or the command that shows it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.tree import Tree

from shim.cli.common import wide_console
from shim.cluster import Cluster, ClusterError

if TYPE_CHECKING:
    from nodeagent.engine.anatomy import Container, Sandbox

_OURS = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log")
_KERNEL = ("proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2")


def explain_pod(cluster: Cluster, namespace: str, name: str, *, steps: bool) -> None:
    """Raises ClusterError."""
    from nodeagent.engine import anatomy

    pod, events = asyncio.run(_ask(cluster, namespace, name))
    node = pod["spec"].get("nodeName")
    if not node:
        raise ClusterError(f"pod {name} is on no node yet: there is nothing of it but the object")
    if node not in cluster.node_names:
        raise ClusterError(f"pod {name} is on {node}, which is another machine: ask there")
    data, run = cluster.node_dir(node), cluster.run_dir / node
    uid = uid_on_node(pod)
    found = [
        sandbox
        for sandbox in anatomy.sandboxes(data, run, f"shim-{cluster.name}/{node}")
        if sandbox.spec.labels.get("io.kubernetes.pod.uid") == uid
    ]
    parts = [(sandbox, list(anatomy.containers(data, sandbox.spec.id))) for sandbox in found]
    if steps:
        from shim.cli.explain_steps import print_steps

        print_steps(pod, events, parts, data / "pods" / uid / "steps.json")
        return
    _print(cluster, pod, node, parts)


def uid_on_node(pod: Any) -> str:
    """By which its node knows the pod: a mirror tells that of its static pod, as an annotation."""
    meta = pod["metadata"]
    return str((meta.get("annotations") or {}).get("kubernetes.io/config.mirror") or meta["uid"])


async def _ask(cluster: Cluster, namespace: str, name: str) -> tuple[Any, list[Any]]:
    from shim.api.status import ApiError
    from shim.client import Client
    from shim.client import resource as r

    async with Client.from_kubeconfig(cluster.admin_kubeconfig, user_agent="shim-explain") as client:
        try:
            pod = await client.get(r.PODS, name, namespace)
        except ApiError as error:
            raise ClusterError(error.message) from error
        selector = f"involvedObject.uid={uid_on_node(pod)}"
        return pod, (await client.list(r.EVENTS, namespace, field_selector=selector))["items"]


def _print(cluster: Cluster, pod: Any, node: str, parts: list[tuple[Sandbox, list[Container]]]) -> None:
    console = wide_console()
    meta, status = pod["metadata"], pod.get("status") or {}
    quality = status.get("qosClass", "-")
    title = f"[bold]{meta['namespace']}/{meta['name']}[/]  {status.get('phase', '?')} on [bold]{node}[/]  {quality}"
    tree = Tree(f"{title}  [dim]uid {meta['uid']}[/]")
    if not parts:
        tree.add("nothing of it is on the node")
    for sandbox, containers in parts:
        below = tree if len(parts) == 1 else tree.add(f"sandbox {sandbox.spec.id[:12]}")
        _sandbox(below, sandbox, containers, status.get("podIP", ""))
        for container in containers:
            _container(below, container, sandbox)
    if address := status.get("podIP"):
        _ways(tree, cluster, node, address)
    console.print(tree)


def _sandbox(tree: Tree, sandbox: Sandbox, containers: list[Container], address: str) -> None:
    from netproxy.links import bridge, veth

    spec = sandbox.spec
    if spec.host_network:
        tree.add(f"[cyan]network[/]  the node's own, {address}")
    else:
        outer = veth.name_of(spec.id)
        wire = tree.add(f"[cyan]network[/]  eth0 [bold]{address}[/] ⇄ {outer} on the node's bridge {bridge.NAME}")
        if traffic := _traffic(containers):
            wire.add(f"received {traffic[0]} packets, sent {traffic[1]}")
        wire.add(f"[dim]nsenter --net={sandbox.namespaces['net'][0]} ip addr[/]")
    shared = tree.add(f"[cyan]namespaces[/] of all its containers, host name [bold]{escape(spec.hostname)}[/]")
    for kind, (path, inode) in sandbox.namespaces.items():
        shared.add(f"{kind:4} {inode or '[red]gone[/]'}  [dim]{path}[/]")
    _cgroup(tree, f"[cyan]cgroup[/] of the pod: {spec.cgroup}", sandbox.cgroup)


def _container(tree: Tree, container: Container, sandbox: Sandbox) -> None:
    spec = container.spec
    name = spec.labels.get("io.kubernetes.container.name", spec.id[:12])
    image = spec.labels.get("io.kubernetes.container.image", container.image)
    if container.pid:
        now = f"[green]running[/], process {container.pid}"
    elif container.exit is not None:
        now = f"exited with {container.exit.get('exit_code')}"
    else:
        now = "made, not started"
    branch = tree.add(f"[bold magenta]container {escape(name)}[/]  {escape(image)}  {now}  [dim]{spec.id[:12]}[/]")
    if container.processes:
        processes = branch.add("[cyan]processes[/] as the node numbers them")
        for process in container.processes:
            processes.add(f"{process.pid}  {escape(process.command[:100])}")
    if container.namespaces:
        common = {kind: inode for kind, (_, inode) in sandbox.namespaces.items()}
        own = [f"{kind} {inode}" for kind, inode in container.namespaces.items() if not _of_all(kind, inode, common)]
        branch.add(f"[cyan]namespaces[/] of its own: {', '.join(own)}  [dim]ls -l /proc/{container.pid}/ns[/]")
    if container.security:
        told = branch.add("[cyan]what it may do[/]")
        for key, value in container.security.items():
            told.add(f"{key}: {value}")
    _root(branch, container)
    _mounts(branch, container)
    _cgroup(branch, "[cyan]cgroup[/]", container.cgroup)


def _of_all(kind: str, inode: int, common: dict[str, int]) -> bool:
    """Shared with the pod's other containers, or with us and so with everything on the machine."""
    try:
        return common.get(kind) == inode or Path(f"/proc/self/ns/{kind}").stat().st_ino == inode
    except OSError:
        return False


def _root(branch: Tree, container: Container) -> None:
    changed = container.directory / "upper"
    root = branch.add("[cyan]root file system[/]: the image's layers, and above them what the container changes")
    root.add(f"changes  [dim]{changed}[/]")
    if container.pid:
        root.add(f"[dim]ls /proc/{container.pid}/root[/]")


def _mounts(branch: Tree, container: Container) -> None:
    """What came from outside; what every container has of the kernel's is one line."""
    shown = [mount for mount in container.mounts if mount.kind not in _KERNEL and mount.target != "/"]
    hidden = ("/proc/", "/sys/", "/dev/shm")
    shown = [mount for mount in shown if mount.target != "/dev" and not mount.target.startswith(hidden)]
    if not container.mounts:
        return
    tree = branch.add(f"[cyan]mounts[/]  {len(container.mounts)}  [dim]cat /proc/{container.pid}/mountinfo[/]")
    for mount in sorted(shown, key=lambda each: (each.target not in _OURS, each.target)):
        only = "read-only " if "ro" in mount.options.split(",") else ""
        tree.add(f"{escape(mount.target)}  ← {only}{mount.kind} [dim]{escape(mount.source)}[/]")


def _cgroup(tree: Tree, title: str, files: list[tuple[str, str]]) -> None:
    branch = tree.add(title)
    if files:
        branch.add(f"[dim]{_folders([file for file, _ in files])}[/]")
    for file, value in files:
        branch.add(f"{Path(file).name} = [bold]{value}[/]{_meaning(Path(file).name, value)}")


def _folders(files: list[str]) -> str:
    """Where the files are, as a shell would take it: version 1 has a folder of one name in several trees."""
    folders = list(dict.fromkeys(str(Path(file).parent) for file in files))
    trees = [folder.split("/") for folder in folders]
    (at, *more) = [place for place, names in enumerate(zip(*trees, strict=False)) if len(set(names)) > 1] or [0]
    if len(folders) == 1 or more:
        return " ".join(folders)
    first = trees[0]
    return "/".join([*first[:at], "{" + ",".join(tree[at] for tree in trees) + "}", *first[at + 1 :]])


def _meaning(file: str, value: str) -> str:
    """The number in words, where it is one of bytes or of nanoseconds."""
    if not value.isdigit():
        return ""
    if file.startswith("memory.") and file not in ("memory.failcnt", "memory.events"):
        amount = int(value)
        return "  none" if amount > 1 << 60 else f"  {amount / (1 << 20):.1f} MiB"
    if file == "cpuacct.usage":
        return f"  {int(value) / 1e9:.3f} s of processor time"
    return ""


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


def _ways(tree: Tree, cluster: Cluster, node: str, address: str) -> None:
    from netproxy.services import walk
    from shim.cli.explain_service import node_rules

    nat = node_rules(cluster, node, "nat")
    ways = list(walk.leading_to(address, nat))
    if not ways:
        tree.add("[cyan]Services[/]  none leads here")
        return
    branch = tree.add(f"[cyan]Services[/] that lead here, by the rules of {node}")
    for way in ways:
        first, last = way[0].rule, way[-1].rule
        service = first.text.partition('--comment "')[2].partition('"')[0].partition(" cluster IP")[0]
        where = f"{first.option('-d').removesuffix('/32') or 'node'}:{first.option('--dport')}"
        chain = " → ".join([*(step.chain for step in way), last.option("--to-destination")])
        branch.add(f"[bold]{escape(service)}[/]  {where}  {chain}")
