"""``shim server`` and ``shim agent``: what runs on each of several machines, under a supervisor, until it is stopped.

One command makes a machine a master, one makes it a node; a token made on a master (``shim token create``) lets others
join. What is joined once is remembered in the data directory: the second start needs no token.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shim.api.flags import add_flags, read_flags
from shim.cli import place
from shim.cli.common import need_root, supervisor_pid
from shim.cli.place import AGENT_DATA, AGENT_RUN, SERVER_DATA
from shim.cluster import ClusterError, dns_address
from shim.settings import ApiServerSettings, ControllerSettings, SchedulerSettings
from shim.supervisor import Part, Supervisor

if TYPE_CHECKING:
    from netproxy.settings import NetProxySettings

METRICS = 15.0  # seconds, as `shim up` has it
JOINING = ("join", "token", "ca_hash", "certificate_key")
"""What is needed only until a machine has joined."""

_TOLD = (
    *("kubeconfig", "node_name", "node_ip", "data_dir", "image_dir", "run_dir", "cgroup_root"),
    *("client_ca", "tls_cert", "tls_key", "cluster_dns", "cluster_domain"),
)
"""Settings of a node that follow from where it is and from what its cluster tells it."""


def _joining_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--token", default="", metavar="TOKEN", help="a bootstrap token of that cluster")
    parser.add_argument("--ca-hash", default="", metavar="sha256:HEX", help="what the key of its CA must be")


# -- a master


def server_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ApiServerSettings, skip=("data_dir", "bind"))
    parser.add_argument(
        "--data-dir", type=Path, default=SERVER_DATA, metavar="PATH", help=f"its state (default: {SERVER_DATA})"
    )
    parser.add_argument(
        "--bind",
        type=_list,
        default=(),
        metavar="A,B",
        help="addresses to listen on (default: loopback and the advertised one)",
    )
    parser.add_argument("--cluster-cidr", default="10.244.0.0/16", help="addresses for pods (default: 10.244.0.0/16)")
    parser.add_argument(
        "--no-routes",
        action="store_true",
        help="leave this machine's network alone: webhooks and extension servers in pods must be reachable otherwise",
    )
    parser.add_argument(
        "--join", default="", metavar="URL", help="be a further master of the cluster with this API server"
    )
    _joining_flags(parser)
    parser.add_argument(
        "--certificate-key", default="", metavar="HEX", help="decrypts what masters share; printed with the token"
    )


def server(args: argparse.Namespace) -> int:
    """API server, controllers and scheduler until Ctrl-C."""
    _refuse_a_second(args.data_dir)
    from shim import boot
    from shim.server import prepare

    settings = server_settings(args)
    join_masters(args, settings)
    settings = prepare(settings)
    parts = boot.server_parts(settings, *managers(args, settings), None)
    if (network := master_network(args, settings)) is not None:
        parts.append(boot.master_network_part(network))
    return _supervise(parts, settings.data_dir)


def server_settings(args: argparse.Namespace) -> ApiServerSettings:
    """The first address is the one the machine's own programs use; the second, others."""
    args.data_dir = args.data_dir.absolute()
    args.advertise_address = args.advertise_address or own_address()
    args.metric_resolution = args.metric_resolution or METRICS
    args.bind = args.bind or tuple(dict.fromkeys(("127.0.0.1", args.advertise_address)))
    return read_flags(ApiServerSettings, args)


def join_masters(args: argparse.Namespace, settings: ApiServerSettings) -> None:
    """Become one of several masters, if that is asked for. Raises ClusterError."""
    if not args.join:
        return
    from shim.joining import master

    if not settings.store.startswith("etcd://"):
        raise ClusterError("a further master works on the store of the first: say --store etcd://… as there")
    if not args.token or not args.certificate_key:
        if (settings.data_dir / "pki" / "ca.crt").exists():
            return  # it has joined before
        raise ClusterError("--join needs --token and --certificate-key, as `shim token create --master` prints them")
    asyncio.run(master.join(settings.data_dir, args.join, args.token, args.ca_hash, args.certificate_key))


def managers(args: argparse.Namespace, settings: ApiServerSettings) -> tuple[ControllerSettings, SchedulerSettings]:
    """Controllers and scheduler speak to the API server of their own machine; among several, one of each works."""
    from shim import boot, pki

    data, url = settings.data_dir, f"https://{settings.bind[0]}:{settings.port}"
    boot.make_shown(data, settings.bind[0])
    elected = settings.advertise_address if settings.store else ""
    controllers = ControllerSettings(
        kubeconfig=pki.ensure_kubeconfig(data, data / "controllers.kubeconfig", url, pki.CONTROLLERS),
        leader_elect=elected,
        cluster_cidr=args.cluster_cidr,
        cluster_dns=dns_address(settings.service_cidr),
        service_cidr=settings.service_cidr,
        public_url=f"https://{settings.advertise_address}:{settings.port}",
        root_ca_file=data / "pki" / "ca.crt",
        cluster_signing_cert_file=data / "pki" / "ca.crt",
        cluster_signing_key_file=data / "pki" / "ca.key",
        service_account_private_key_file=settings.service_account_signing_key_file or data / "pki" / "sa.key",
    )
    kubeconfig = pki.ensure_kubeconfig(data, data / "scheduler.kubeconfig", url, pki.SCHEDULER)
    scheduler = SchedulerSettings(kubeconfig=kubeconfig, leader_elect=elected)
    own = settings.bind[0]
    return boot.shown_at(own, controllers, data), boot.shown_at(own, scheduler, data)


def master_network(args: argparse.Namespace, settings: ApiServerSettings) -> NetProxySettings | None:
    """How the machine itself comes to pods and Services; None where it is not to, or not allowed to."""
    if args.no_routes:
        return None
    os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    if os.geteuid() != 0 or shutil.which("iptables-restore") is None:
        print("not root, or no iptables: pods cannot be reached from here unless an agent runs beside it", flush=True)
        return None
    from netproxy.settings import NetProxySettings
    from shim import pki

    url = f"https://{settings.bind[0]}:{settings.port}"
    return NetProxySettings(
        kubeconfig=pki.ensure_kubeconfig(
            settings.data_dir, settings.data_dir / "netproxy.kubeconfig", url, pki.NETPROXY
        ),
        node_name="",
        node_ip=settings.advertise_address,
        cluster_cidr=args.cluster_cidr,
        service_cidr=settings.service_cidr,
    )


# -- a node


def agent_flags(parser: argparse.ArgumentParser) -> None:
    from netproxy.settings import NetProxySettings
    from nodeagent.settings import NodeAgentSettings

    parser.add_argument("--server", default="", metavar="URL", help="API server of the cluster to join")
    _joining_flags(parser)
    parser.add_argument("--node-name", default="", metavar="NAME", help="name of the Node (default: the host's name)")
    parser.add_argument(
        "--node-ip",
        default="",
        metavar="ADDRESS",
        help="address others reach it at (default: that of the way to the server)",
    )
    parser.add_argument(
        "--data-dir", type=Path, default=AGENT_DATA, metavar="PATH", help=f"its state (default: {AGENT_DATA})"
    )
    parser.add_argument(
        "--run-dir",
        type=Path,
        default=AGENT_RUN,
        metavar="PATH",
        help=f"its sockets; the name is its cgroup's too (default: {AGENT_RUN})",
    )
    add_flags(parser, NodeAgentSettings, skip=_TOLD)
    add_flags(parser, NetProxySettings, skip=(*_TOLD, "cluster_cidr", "service_cidr", "masquerade_outside"))


def agent(args: argparse.Namespace) -> int:
    """nodeagent and netproxy of this machine until Ctrl-C."""
    _refuse_a_second(args.data_dir)
    parts, data_dir = prepare_agent(args)
    return _supervise(parts, data_dir)


def prepare_agent(args: argparse.Namespace) -> tuple[list[Part], Path]:
    """Join, unless that was done before, and be told the cluster's addresses. Raises ClusterError."""
    need_root("it makes namespaces, cgroups and iptables rules")
    os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    if shutil.which("iptables-restore") is None:
        raise ClusterError("iptables is missing: install the package iptables")
    from netproxy.settings import NetProxySettings
    from nodeagent.settings import NodeAgentSettings
    from shim import boot
    from shim.joining import node

    data_dir, run_dir = args.data_dir.absolute(), args.run_dir.absolute()
    name = (args.node_name or socket.gethostname()).lower()
    files = node.NodeFiles(data_dir, name, args.node_ip)
    server = node.joined_server(files)
    if not server and not (args.server and args.token):
        raise ClusterError(
            "this machine has not joined a cluster: say --server and --token, as `shim token create "
            "--print-join-command` on a master prints them"
        )
    url = server or args.server.rstrip("/")
    files = node.NodeFiles(data_dir, name, args.node_ip or own_address(urlsplit(url).hostname or ""))
    data_dir.mkdir(parents=True, exist_ok=True)
    data_dir.chmod(0o700)
    if not server:
        asyncio.run(node.join(files, url, args.token, args.ca_hash))
        print(f"node {name} has joined {url}", flush=True)
    told = asyncio.run(node.complete(files))
    args.__dict__.update(
        kubeconfig=files.kubelet,
        node_name=name,
        node_ip=files.address,
        data_dir=data_dir,
        image_dir=data_dir / "images",
        run_dir=run_dir,
        cgroup_root=str(run_dir.relative_to("/run")) if run_dir.is_relative_to("/run") else run_dir.name,
        client_ca=files.ca,
        tls_cert=files.certificate,
        tls_key=files.key,
        cluster_dns=dns_address(told["serviceSubnet"]),
        cluster_cidr=told["podSubnet"],
        service_cidr=told["serviceSubnet"],
        masquerade_outside=True,
    )
    settings = read_flags(NodeAgentSettings, args)
    place.remember(name, data_dir, run_dir, settings.cgroup_root)
    args.kubeconfig = files.netproxy
    boot.make_images(settings.image_dir)
    return boot.joined_node_parts(files, settings, read_flags(NetProxySettings, args)), data_dir


# -- both


def own_address(towards: str = "192.0.2.1") -> str:
    """This machine's address on its way to another; nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((towards, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _list(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def _refuse_a_second(data_dir: Path) -> None:
    """Raises ClusterError where these parts run already: systemd may have started them."""
    if (pid := supervisor_pid(data_dir.absolute() / "run")) is not None:
        raise ClusterError(f"it runs already, as process {pid}, with the state in {data_dir}")


def _supervise(parts: list[Part], data_dir: Path) -> int:
    def said(name: str, seconds: float | None) -> None:
        print(f"{name} died; see its log" if seconds is None else f"{name} ready after {seconds:.2f} s", flush=True)

    print(f"logs are in {data_dir / 'logs'}; Ctrl-C stops", flush=True)
    Supervisor(data_dir / "run", data_dir / "logs", parts).run(said)
    return 0
