"""``shim up``: a whole cluster on this machine, in the background, ready in seconds.

The command imports everything once, prepares what needs to be there before any part starts (certificates, the nodes'
network, the API server's listening sockets), then forks the supervisor, which forks the parts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from shim import cluster as clusters
from shim.cli.common import absolute, cluster_flags, need_root, supervisor_pid
from shim.cluster import Cluster, ClusterError

READY_TIMEOUT = 90.0  # seconds; a slow machine in software emulation takes half of it
MAX_NODES = 100


def up_flags(parser: argparse.ArgumentParser) -> None:
    cluster_flags(parser)
    parser.add_argument("--nodes", type=int, metavar="N", help="how many nodes (default: 3, or as before)")
    parser.add_argument("--port", type=int, metavar="N", help="the API server's port (default: 6443, or a free one)")
    parser.add_argument("--foreground", action="store_true", help="stay in the terminal; Ctrl-C stops the cluster")


def up(args: argparse.Namespace) -> int:
    """Start the cluster and return when its nodes are Ready."""
    began = time.monotonic()
    need_root("it makes network namespaces, cgroups and mounts")
    clusters.check_name(args.name)
    _check_numbers(args)
    _need_programs()
    run_dir = clusters.run_dir(args.name)
    if supervisor_pid(run_dir) is not None:
        running = clusters.load(args.name, absolute(args.data_dir))
        assert running is not None
        _check_unchanged(args, running)
        print(f"cluster {args.name!r} is running already")
        return _wait_until_ready(running, began)
    say("loading")
    from netproxy.firewall import FirewallError
    from nodeagent.engine.contract import EngineError
    from shim import boot  # everything that is ever imported, once

    with _one_at_a_time():
        cluster = choose(args)
        say(f"making the network of {_nodes(cluster)}, {cluster.node_cidr}")
        try:
            prepare(cluster)
        except (EngineError, FirewallError, OSError) as error:
            from shim.cli.down import clean_up

            clean_up(cluster)
            if isinstance(error, OSError):
                raise
            raise ClusterError(str(error)) from error
        sockets = _listen(cluster, boot.listen)
    from shim.supervisor import Supervisor

    parts = boot.parts(cluster, sockets)
    readable, writable = os.pipe()
    sys.stdout.flush()
    watcher_is_child = args.foreground
    pid = os.fork()
    if (pid == 0) == watcher_is_child:
        os.close(writable)
        for each in sockets:
            each.close()
        code = _watch(cluster, readable, [part.name for part in parts], began)
        if watcher_is_child:
            os._exit(code)
        return code
    os.close(readable)
    if not args.foreground:
        _become_daemon(cluster)

    def progress(name: str, seconds: float | None) -> None:
        try:
            os.write(writable, f"{name} {-1.0 if seconds is None else seconds}\n".encode())
        except BrokenPipeError:
            pass

    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    Supervisor(cluster.run_dir, cluster.log_dir, parts).run(progress)
    if args.foreground:
        from shim.cli.down import clean_up

        clean_up(cluster)
        return 0
    os._exit(0)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """For the block no other ``shim up`` of this machine chooses addresses and a port: it sees those taken here."""
    folder = os.open(clusters.RUN, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def choose(args: argparse.Namespace) -> Cluster:
    """The cluster as it was, or a new one with ranges that nothing on this machine uses."""
    from netproxy.links import virtual

    data_dir = absolute(args.data_dir) or clusters.default_data_dir(args.name)
    before = clusters.load(args.name, data_dir)
    nodes = args.nodes if args.nodes is not None else before.nodes if before else 3
    kept = (before.node_cidr, before.pod_cidr, before.service_cidr) if before else None
    ranges = virtual.pick_ranges(args.name, kept)
    if kept and tuple(ranges) != kept:
        raise ClusterError(f"the cluster's addresses {', '.join(kept)} are in use by something else on this machine")
    port = args.port if args.port is not None else before.port if before else _free_port()
    if not _is_free(port):  # asked before anything is written, so that a cluster that never was leaves nothing
        raise ClusterError(f"port {port} is in use by another program; try another --port")
    cluster = Cluster(args.name, data_dir, port, nodes, *ranges)
    cluster.save()
    return cluster


def prepare(cluster: Cluster) -> None:
    """All that must be there before a part starts; what an earlier cluster of this name left behind goes first."""
    from netproxy.links import virtual
    from shim import boot
    from shim.cli.down import clean_up
    from shim.cli.parts import check_profiles

    check_profiles(boot.scheduler_settings(cluster))
    clean_up(cluster)
    cluster.run_dir.mkdir(parents=True, exist_ok=True)
    (cluster.run_dir / "data").symlink_to(cluster.data_dir)
    os.chmod(cluster.data_dir, 0o700)  # Secrets lie here, in the store and in pods' volumes
    virtual.create_cluster_network(
        cluster.name, node_cidr=cluster.node_cidr, pod_cidr=cluster.pod_cidr, service_cidr=cluster.service_cidr
    )
    for node in cluster.node_names:
        virtual.create_node(cluster.name, node, cluster.node_ip(node))
    boot.make_identities(cluster)
    boot.make_images(cluster.image_dir)


def _check_numbers(args: argparse.Namespace) -> None:
    for name, most in (("nodes", MAX_NODES), ("port", 65535)):
        value = getattr(args, name)
        if value is not None and not 1 <= value <= most:
            raise ClusterError(f"--{name} {value}: from 1 to {most}")


def _check_unchanged(args: argparse.Namespace, running: Cluster) -> None:
    """Raises ClusterError when something else is asked of a cluster than what it runs with."""
    for name in ("nodes", "port"):
        asked, found = getattr(args, name), getattr(running, name)
        if asked not in (None, found):
            raise ClusterError(
                f"cluster {running.name!r} is running with --{name} {found}; to change that, `shim down` it first"
            )


def _free_port() -> int:
    """6443, or the next one that nothing listens on."""
    for port in range(6443, 6643):
        if _is_free(port):
            return port
    raise ClusterError("no port from 6443 to 6642 is free")


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def _listen(cluster: Cluster, listen: Callable[[Cluster], list[socket.socket]]) -> list[socket.socket]:
    try:
        return listen(cluster)
    except OSError as error:
        from shim.cli.down import clean_up

        clean_up(cluster)
        why = os.strerror(error.errno) if error.errno else str(error)  # asyncio's own words name its call
        raise ClusterError(f"cannot listen on port {cluster.port}: {why}; try another --port") from error


def _become_daemon(cluster: Cluster) -> None:
    os.setsid()
    os.chdir("/")
    cluster.log_dir.mkdir(parents=True, exist_ok=True)
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(cluster.log_dir / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


# -- watching it come up


def _watch(cluster: Cluster, readable: int, names: list[str], began: float) -> int:
    waiting, deaths = set(names), 0
    for name, seconds in _lines(readable):
        if seconds < 0:
            deaths += 1
            say(f"{name} died; what it said last:\n{_last_words(cluster.log_dir / f'{name}.log')}")
            if deaths >= 5:
                print(f"shim up: {name} does not stay alive; see `shim logs {name}`, then `shim down`", file=sys.stderr)
                return 1
            continue
        waiting.discard(name)
        say(f"{name} is ready", time.monotonic() - began)
        if not waiting:
            break
    if waiting:
        print(f"shim up: the supervisor ended; see {cluster.log_dir}/supervisor.log", file=sys.stderr)
        return 1
    return _wait_until_ready(cluster, began)


def _lines(readable: int) -> Iterator[tuple[str, float]]:
    with open(readable) as pipe:
        for line in pipe:
            name, seconds = line.split()
            yield name, float(seconds)


def _wait_until_ready(cluster: Cluster, began: float) -> int:
    try:
        asyncio.run(asyncio.wait_for(_ready(cluster), READY_TIMEOUT))
    except TimeoutError:
        print("shim up: not every node became Ready; see `shim status` and `shim logs`", file=sys.stderr)
        return 1
    say(f"{_nodes(cluster)} Ready", time.monotonic() - began)
    _say_what_is_next(cluster)
    return 0


def _say_what_is_next(cluster: Cluster) -> None:
    """What to type now; whoever came by sudo cannot read root's kubeconfig, and is told how to get one."""
    named = "" if cluster.name == clusters.DEFAULT_NAME else f" --name {cluster.name}"
    command = sys.argv[0] if os.access(sys.argv[0], os.X_OK) else f"{sys.executable} -m shim"
    sudo = "sudo " if os.environ.get("SUDO_USER", "root") != "root" else ""
    print("\nNext:")
    if sudo:
        config = f"~/.kube/{cluster.name}.config"
        print(f"  mkdir -p ~/.kube && sudo {command} kubeconfig{named} > {config}\n  export KUBECONFIG={config}")
    else:
        print(f"  export KUBECONFIG={cluster.admin_kubeconfig}")
    path = Path(sys.executable).parent
    if (path / "kubectl").exists():
        print(f'  export PATH="$PATH:{path}"')
    print(f"  kubectl get nodes -o wide\n  {sudo}{command} status{named}")


def _nodes(cluster: Cluster) -> str:
    return "1 node" if cluster.nodes == 1 else f"{cluster.nodes} nodes"


def _need_programs() -> None:
    """Raises ClusterError naming what is missing, before anything has been changed."""
    os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"  # a plain `su` leaves them out
    missing = [name for name in ("iptables", "iptables-save", "iptables-restore") if shutil.which(name) is None]
    if missing:
        raise ClusterError(f"{missing[0]} is missing: install the package iptables")


async def _ready(cluster: Cluster) -> None:
    """Return when every node is Ready and a pod can be created in the default namespace."""
    from shim.client import Client
    from shim.client import resource as r

    async with Client.from_kubeconfig(cluster.admin_kubeconfig, user_agent="shim-up") as client:
        waiting = set(cluster.node_names)
        listed = await client.list(r.NODES)
        for node in listed["items"]:
            if _is_ready(node):
                waiting.discard(node["metadata"]["name"])
        while waiting:
            async for _, node in client.watch(r.NODES, resource_version=listed["metadata"]["resourceVersion"]):
                if _is_ready(node):
                    waiting.discard(node["metadata"]["name"])
                if not waiting:
                    break
        async for event, _ in client.watch(r.SERVICEACCOUNTS, "default", field_selector="metadata.name=default"):
            if event == "ADDED":  # without the account, creating a pod is refused
                return


def _is_ready(node: dict[str, object]) -> bool:
    status = node.get("status")
    conditions = status.get("conditions", ()) if isinstance(status, dict) else ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _last_words(path: Path) -> str:
    try:
        return "\n".join("    " + line for line in path.read_text(errors="replace").splitlines()[-6:])
    except FileNotFoundError:
        return "    (nothing)"


def say(text: str, seconds: float | None = None) -> None:
    """One line of progress."""
    took = f" ({seconds:.1f} s)" if seconds is not None else ""
    print(f"\033[1m==>\033[0m {text}{took}" if sys.stdout.isatty() else f"==> {text}{took}", flush=True)
