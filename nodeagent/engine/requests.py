"""How does a specification become a request to the zygote? Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nodeagent.engine import wire
from nodeagent.engine.contract import ContainerSpec, ImageConfig, ImageRoot, Mount, SandboxSpec
from nodeagent.linux import capabilities
from nodeagent.linux.cgroups import Cgroups

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # for an image that sets none
_ALL_CAPABILITIES = (1 << len(capabilities.NAMES)) - 1


def new_namespaces(spec: SandboxSpec) -> list[str]:
    """The kinds of namespace a sandbox has of its own. The host name always is: virtual nodes share a machine's."""
    return [
        "uts",
        *([] if spec.host_network else ["net"]),
        *([] if spec.host_ipc else ["ipc"]),
        *(["pid"] if spec.share_pid and not spec.host_pid else []),
        *(["user"] if spec.own_users else []),
    ]


def sandbox_request(spec: SandboxSpec, directory: Path, join: list[str], users: int) -> wire.SandboxRequest:
    return {
        "op": "sandbox",
        "directory": str(directory),
        "hostname": spec.hostname,
        "new": new_namespaces(spec),
        "users": users,
        "sysctls": [[name, value] for name, value in spec.sysctls],
        "join": join,
    }


def environment(spec: ContainerSpec, image: ImageConfig, hostname: str, *, tty: bool) -> list[list[str]]:
    """The later of two settings of a name wins."""
    base = {"PATH": PATH, "HOSTNAME": hostname}
    if tty:
        base["TERM"] = "xterm"
    return [[name, value] for name, value in {**base, **dict(image.env), **dict(spec.env)}.items()]


def process_request(
    spec: ContainerSpec,
    image: ImageConfig,
    hostname: str,
    argv: Sequence[str],
    *,
    tty: bool,
    size: tuple[int, int] | None = None,
    program: str = "",
) -> wire.ProcessRequest:
    """``program``: a filter of system calls of the user's own, in base64."""
    mask = _ALL_CAPABILITIES if spec.privileged else capabilities.mask(spec.capabilities)
    return {
        "argv": list(argv),
        "env": environment(spec, image, hostname, tty=tty),
        "cwd": spec.cwd or "/",
        "user": spec.user,
        "groups": list(spec.groups),
        "groups_of_image": spec.groups_of_image,
        "capabilities": mask,
        "no_new_privileges": spec.no_new_privileges,
        "seccomp": spec.seccomp and not spec.privileged,
        "seccomp_program": program if not spec.privileged else "",
        "tty": tty,
        "size": list(size or ()),
    }


def container_request(
    spec: ContainerSpec,
    sandbox: SandboxSpec,
    image: ImageConfig,
    root: ImageRoot,
    *,
    directory: Path,
    sandbox_dir: Path,
    socket: Path,
    cgroups: Cgroups,
    cgroup: str,
    pace: wire.PaceRequest,
    volumes: Mapping[str, ImageRoot],
    program: str = "",
    beside: int = 0,
    users: int = 0,
) -> wire.ContainerRequest:
    """``volumes``: the roots of images it mounts, by id. ``users``: the node's id of the sandbox's user 0.

    ``beside``: a process in whose pid namespace it starts, unless all of the sandbox share one anyway.
    """
    held = new_namespaces(sandbox)
    namespaces = {kind: str(sandbox_dir / kind) for kind in held}
    if "pid" not in held and not sandbox.host_pid:
        namespaces["pid"] = f"/proc/{beside}/ns/pid" if beside else ""
    mounts: list[wire.MountRequest] = [
        {
            "kind": mount.kind,
            "source": mount.source,
            "target": mount.target,
            "readonly": mount.readonly,
            "options": mount.options,
            "propagation": mount.propagation,
            "readonly_below": mount.readonly_below,
            "sub": mount.sub,
            "image": _image_request(mount, volumes[mount.source], directory) if mount.kind == "image" else None,
        }
        for mount in sorted(spec.mounts, key=lambda mount: mount.target.rstrip("/").count("/"))  # outer before inner
    ]
    return {
        "op": "container",
        "id": spec.id,
        "socket": str(socket),
        "log_path": spec.log_path,
        "stdin": spec.stdin,
        "stdin_once": spec.stdin_once,
        "namespaces": namespaces,
        "users": users,
        "join": cgroups.join_files(cgroup),
        "pace": pace,
        "procs": cgroups.procs_files(cgroup),
        "oom_file": cgroups.oom_file(cgroup),
        "oom_score_adj": spec.oom_score_adj,
        "cgroup_mounts": [list(mount) for mount in cgroups.mounts()],
        "root": {
            "directory": str(directory),
            "layers": root.layers,
            "lower": list(root.lower),
            "trees": dict(root.trees),
            "readonly": spec.readonly_root,
        },
        "shm": "/dev/shm" if sandbox.host_ipc else str(sandbox_dir / "shm"),
        "mounts": mounts,
        "devices": [{"source": device.source, "target": device.target} for device in spec.devices],
        "masked_paths": [] if spec.privileged else list(spec.masked_paths),
        "readonly_paths": [] if spec.privileged else list(spec.readonly_paths),
        "privileged": spec.privileged,
        "process": process_request(spec, image, sandbox.hostname, spec.argv, tty=spec.tty, program=program),
    }


def _image_request(mount: Mount, root: ImageRoot, directory: Path) -> wire.ImageRequest:
    return {
        "scratch": str(scratch_of(mount, directory)),
        "layers": root.layers,
        "lower": list(root.lower),
        "trees": dict(root.trees),
        "sub": mount.sub,
    }


def scratch_of(mount: Mount, directory: Path) -> Path:
    """Where a container's ``directory`` has room for an image that it mounts."""
    return directory / f"image-{mount.source.removeprefix('sha256:')[:20]}"


def exec_request(
    process: wire.ProcessRequest,
    *,
    pid: int,
    started: int,
    join: list[str],
    pace: wire.PaceRequest,
    users: int,
    streams: list[str],
) -> wire.ExecRequest:
    return {
        "op": "exec",
        "pid": pid,
        "started": started,
        "join": join,
        "pace": pace,
        "users": users,
        "streams": streams,
        "process": process,
    }
