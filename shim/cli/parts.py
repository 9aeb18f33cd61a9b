"""Each part by itself, in the foreground: for learning, for debugging, and for other machines.

``apiserver``, ``controllers`` and ``scheduler`` run one part in this process; ``server`` and ``agent`` run the
part-sets that ``shim up`` itself starts, under a supervisor.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shim.api.flags import add_flags, read_flags
from shim.cli.common import need_root
from shim.cluster import ClusterError
from shim.settings import ApiServerSettings, ControllerSettings, SchedulerSettings
from shim.supervisor import Part, Run, Supervisor, serve


def apiserver_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ApiServerSettings)


def apiserver(args: argparse.Namespace) -> int:
    """The API server alone; ``shim kubeconfig --data-dir D`` then gives access."""
    import shim.server
    from shim.server import prepare

    settings = prepare(_absolute(read_flags(ApiServerSettings, args)))
    said = f"serving https://{settings.bind[0]}:{settings.port}; next: shim kubeconfig --data-dir {settings.data_dir}"
    return _run(lambda ready: shim.server.run(settings, ready), said)


def controllers_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ControllerSettings)


def controllers(args: argparse.Namespace) -> int:
    """The controllers alone."""
    import shim.controllers

    settings = read_flags(ControllerSettings, args)
    _need_file(settings.kubeconfig)
    return _run(lambda ready: shim.controllers.run(settings, ready), "controllers are working")


def scheduler_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, SchedulerSettings)


def scheduler(args: argparse.Namespace) -> int:
    """The scheduler alone."""
    import shim.scheduler

    settings = read_flags(SchedulerSettings, args)
    _need_file(settings.kubeconfig)
    return _run(lambda ready: shim.scheduler.run(settings, ready), "the scheduler is working")


def _run(run: Run, said: str) -> int:
    def announced(ready: Callable[[], None]) -> Any:
        def done() -> None:
            print(said, flush=True)
            ready()

        return run(done)

    try:
        serve(announced)
    except OSError as error:  # a port that is taken, a data directory that cannot be written
        raise ClusterError(error.strerror or str(error)) from error
    return 0


def _need_file(path: Path) -> None:
    if not path.is_file():
        raise ClusterError(f"{path} does not exist")


def _absolute(settings: ApiServerSettings) -> ApiServerSettings:
    import dataclasses

    return dataclasses.replace(settings, data_dir=settings.data_dir.absolute())


# -- part-sets


def server_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ApiServerSettings)
    parser.add_argument("--cluster-cidr", default="10.244.0.0/16", help="addresses for pods (default: 10.244.0.0/16)")


def server(args: argparse.Namespace) -> int:
    """API server, controllers and scheduler under a supervisor, until Ctrl-C."""
    from shim import boot, pki
    from shim.server import prepare

    settings = prepare(_absolute(read_flags(ApiServerSettings, args)))
    data, url = settings.data_dir, f"https://{settings.bind[0]}:{settings.port}"
    manager = pki.ensure_kubeconfig(data, data / "controllers.kubeconfig", url, pki.CONTROLLERS)
    scheduling = pki.ensure_kubeconfig(data, data / "scheduler.kubeconfig", url, pki.SCHEDULER)
    controlling = ControllerSettings(
        kubeconfig=manager,
        cluster_cidr=args.cluster_cidr,
        root_ca_file=data / "pki" / "ca.crt",
        cluster_signing_cert_file=data / "pki" / "ca.crt",
        cluster_signing_key_file=data / "pki" / "ca.key",
    )
    parts = boot.server_parts(settings, controlling, SchedulerSettings(kubeconfig=scheduling), None)
    return _supervise(parts, data)


def agent_flags(parser: argparse.ArgumentParser) -> None:
    from netproxy.settings import NetProxySettings
    from nodeagent.settings import NodeAgentSettings

    parser.add_argument("--proxy-kubeconfig", type=Path, required=True, help="how netproxy reaches the API server")
    add_flags(parser, NodeAgentSettings)
    add_flags(parser, NetProxySettings, skip=("kubeconfig", "node_name", "node_ip", "cluster_dns", "cluster_domain"))


def agent(args: argparse.Namespace) -> int:
    """nodeagent and netproxy of this machine under a supervisor, until Ctrl-C."""
    need_root("it makes namespaces, cgroups and iptables rules")
    from netproxy.settings import NetProxySettings
    from nodeagent.settings import NodeAgentSettings
    from shim import boot

    node = read_flags(NodeAgentSettings, args)
    args.kubeconfig = args.proxy_kubeconfig
    proxy = read_flags(NetProxySettings, args)
    return _supervise(boot.node_parts(node, proxy, None), node.data_dir)


def _supervise(parts: list[Part], data_dir: Path) -> int:
    def said(name: str, seconds: float | None) -> None:
        print(f"{name} died; see its log" if seconds is None else f"{name} ready after {seconds:.2f} s", flush=True)

    print(f"logs are in {data_dir / 'logs'}; Ctrl-C stops", flush=True)
    Supervisor(data_dir / "run", data_dir / "logs", parts).run(said)
    return 0
