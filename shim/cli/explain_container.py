"""One container of a pod that is explained: what runs, what it sees, what it may do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.tree import Tree

from shim.cli.explain_numbers import add_cgroup

if TYPE_CHECKING:
    from nodeagent.engine.anatomy import Container

_OURS = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log")
_KERNEL = ("proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2")
_ROLES = {"containers": "container", "initContainers": "init container", "ephemeralContainers": "ephemeral container"}


def add_container(tree: Tree, container: Container, pod: Any, common: Mapping[str, int]) -> None:
    """``common``: inodes of namespaces that it shares, by their kind."""
    spec = container.spec
    name = spec.labels.get("io.kubernetes.container.name", spec.id[:12])
    image = spec.labels.get("io.kubernetes.container.image", container.image)
    role, found = role_of(pod, name)
    life = int(spec.labels.get("io.kubernetes.container.restartCount") or 0)
    title = f"[bold magenta]{role} {escape(name)}[/]" + (f", life {life + 1}" if life else "")
    branch = tree.add(f"{title}  {escape(image)}  {state_of(container)}  [dim]{spec.id[:12]}[/]")
    if container.exit is not None and (waiting := waiting_of(pod, name, spec.id)):
        branch.add(f"[yellow]{escape(waiting)}[/]")
    if container.processes:
        processes = branch.add("[cyan]processes[/] as the node numbers them")
        for process in container.processes:
            processes.add(f"{process.pid}  {escape(process.command[:100])}")
    if container.namespaces:
        own = [f"{kind} {inode}" for kind, inode in container.namespaces.items() if not _shared(kind, inode, common)]
        branch.add(f"[cyan]namespaces[/] of its own: {', '.join(own)}  [dim]ls -l /proc/{container.pid}/ns[/]")
    if container.security:
        told = branch.add("[cyan]what it may do[/]")
        for key, value in container.security.items():
            told.add(f"{key}: {value}")
    _root(branch, container)
    _mounts(branch, container, volumes_of(pod, found))
    if spec.log_path:
        branch.add(f"[cyan]what it writes[/]  [dim]{escape(spec.log_path)}[/]")
    if container.pid:  # of one that has ended it says nothing any more
        add_cgroup(branch, "[cyan]cgroup[/]", container.cgroup)


def name_of(container: Container) -> str:
    """What the pod calls it."""
    return container.spec.labels.get("io.kubernetes.container.name", "")


def role_of(pod: Any, name: str) -> tuple[str, Any]:
    """What kind of container it is, and what the pod says of it."""
    for kind, role in _ROLES.items():
        for container in pod["spec"].get(kind) or ():
            if container["name"] == name:
                sidecar = kind == "initContainers" and container.get("restartPolicy") == "Always"
                return "sidecar" if sidecar else role, container
    return "container", {}


def state_of(container: Container) -> str:
    """Whether it runs, or how it ended."""
    if container.pid:
        return f"[green]running[/], process {container.pid}"
    if (end := container.exit) is None:
        return "made, not started"
    ago = f", {time.time() - end['finished_at']:.0f} s ago" if end.get("finished_at") else ""
    if end.get("message"):
        return f"[red]could not be started[/]: {escape(str(end['message']))}"
    if end.get("oom_killed"):
        return f"[red]killed, as it took more memory than it may[/] (OOMKilled, {end.get('exit_code')}){ago}"
    by = f" by signal {end['signal']}" if end.get("signal") else ""
    return f"exited with {end.get('exit_code')}{by}{ago}"


def waiting_of(pod: Any, name: str, run: str) -> str:
    """Why the container does not run again, said of its newest life only."""
    for key in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for status in (pod.get("status") or {}).get(key) or ():
            ended = (status.get("lastState") or {}).get("terminated") or {}
            waiting = status["state"].get("waiting") or {}
            if status["name"] == name and waiting and str(ended.get("containerID", "")).endswith(run):
                return said(waiting)
    return ""


def said(state: Any) -> str:
    """Its reason and its message, as far as there are any."""
    return ": ".join(filter(None, (state.get("reason"), state.get("message"))))


def volumes_of(pod: Any, container: Any) -> dict[str, str]:
    """What is mounted where: ``volume c: configMap settings``, by the place in the container."""
    told = {}
    for volume in pod["spec"].get("volumes") or ():
        kind, source = next(((key, value) for key, value in volume.items() if key != "name"), ("", None))
        of = (source or {}).get("name") or (source or {}).get("secretName") or (source or {}).get("claimName") or ""
        told[volume["name"]] = f"volume {volume['name']}: {kind} {of}".rstrip()
    mounts = container.get("volumeMounts") or ()
    return {mount["mountPath"].rstrip("/"): told.get(mount["name"], "") for mount in mounts}


def _shared(kind: str, inode: int, common: Mapping[str, int]) -> bool:
    """With the pod's other containers, or with us and so with everything on the machine."""
    try:
        return common.get(kind) == inode or Path(f"/proc/self/ns/{kind}").stat().st_ino == inode
    except OSError:
        return False


def _root(branch: Tree, container: Container) -> None:
    root = branch.add("[cyan]root file system[/]: the image's layers, and above them what the container changes")
    root.add(f"changes  [dim]{container.directory / 'upper'}[/]")
    if container.pid:
        root.add(f"[dim]ls /proc/{container.pid}/root[/]")


def _mounts(branch: Tree, container: Container, volumes: Mapping[str, str]) -> None:
    """What came from outside; what every container has of the kernel's is one line."""
    shown = [mount for mount in container.mounts if mount.kind not in _KERNEL and mount.target != "/"]
    hidden = ("/proc/", "/sys/", "/dev/shm")
    shown = [mount for mount in shown if mount.target != "/dev" and not mount.target.startswith(hidden)]
    if not container.mounts:
        return
    tree = branch.add(f"[cyan]mounts[/]  {len(container.mounts)}  [dim]cat /proc/{container.pid}/mountinfo[/]")
    for mount in sorted(shown, key=lambda each: (each.target not in _OURS, each.target)):
        only = "read-only " if "ro" in mount.options.split(",") else ""
        volume = volumes.get(mount.target) or volumes.get(mount.target.removeprefix("/var"))  # /var/run is a link
        named = f"{escape(volume)}  " if volume else ""
        tree.add(f"{escape(mount.target)}  ← {named}{only}{mount.kind} [dim]{escape(mount.source)}[/]")
