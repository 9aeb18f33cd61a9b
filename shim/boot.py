"""Everything that is started, in order, on one page: reading starts here.

``shim up`` starts it all on one machine, every node in a network namespace of its own; ``shim server`` starts the
first list alone, ``shim agent`` the second. Each part is one process (see ``shim.supervisor``), and speaks only the
Kubernetes API to the others.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import netproxy.boot
import netproxy.master
import nodeagent.boot
import shim.controllers
import shim.scheduler
import shim.server
from netproxy.links import machine, virtual
from netproxy.settings import NetProxySettings
from nodeagent.images import Images, build_busybox
from nodeagent.linux import namespaces
from nodeagent.settings import NodeAgentSettings
from shim import pki
from shim.cluster import Cluster
from shim.joining import node as node_joining
from shim.joining.node import NodeFiles
from shim.settings import CONTROLLERS_PORT, SCHEDULER_PORT, ApiServerSettings, ControllerSettings, SchedulerSettings
from shim.supervisor import Part, Ready

Shown = TypeVar("Shown", ControllerSettings, SchedulerSettings)


def parts(cluster: Cluster, sockets: list[socket.socket]) -> list[Part]:
    """All processes of a cluster on one machine."""
    return [
        *server_parts(api_server_settings(cluster), controller_settings(cluster), scheduler_settings(cluster), sockets),
        *(part for node in cluster.node_names for part in virtual_node_parts(cluster, node)),
    ]


def server_parts(
    api: ApiServerSettings,
    controllers: ControllerSettings,
    scheduler: SchedulerSettings,
    sockets: list[socket.socket] | None,
) -> list[Part]:
    """The control plane: the API server with its store; controllers and scheduler, which are its clients."""

    async def control(ready: Ready) -> None:
        await together(
            ready,
            lambda done: shim.controllers.run(controllers, done),
            lambda done: shim.scheduler.run(scheduler, done),
        )

    return [
        Part("apiserver", lambda ready: shim.server.run(api, ready, sockets)),
        Part("controllers", control),
    ]


def master_network_part(settings: NetProxySettings) -> Part:
    """What takes a master to pods and Services while no agent makes it a node."""
    return Part("network", lambda ready: netproxy.master.run(settings, ready))


def node_parts(agent: NodeAgentSettings, proxy: NetProxySettings, prepare: Callable[[], None] | None) -> list[Part]:
    """A node: the kubelet with its container engine, and the proxy that makes Services of iptables rules."""
    return [
        Part(f"{agent.node_name}.nodeagent", lambda ready: nodeagent.boot.run(agent, ready), prepare),
        Part(f"{agent.node_name}.netproxy", lambda ready: netproxy.boot.run(proxy, ready), prepare),
    ]


def virtual_node_parts(cluster: Cluster, node: str) -> list[Part]:
    """A node that is a network namespace on this machine."""

    def prepare() -> None:
        namespaces.enter(str(virtual.netns_path(cluster.name, node)), namespaces.NET)

    return node_parts(agent_settings(cluster, node), proxy_settings(cluster, node), prepare)


def joined_node_parts(files: NodeFiles, agent: NodeAgentSettings, proxy: NetProxySettings) -> list[Part]:
    """A node that is a machine of its own: its parts start again when their certificates have been made anew."""

    async def node(ready: Ready) -> None:
        changed = node_joining.until_changed(files.kubelet, files.certificate)
        await first(nodeagent.boot.run(agent, ready), changed)

    async def network(ready: Ready) -> None:
        await first(netproxy.boot.run(proxy, ready), node_joining.until_changed(files.netproxy))

    async def certificates(ready: Ready) -> None:
        ready()
        await node_joining.keep_current(files)

    return [
        Part("nodeagent", node),
        Part("netproxy", network, lambda: machine.prepare(proxy.cluster_cidr)),
        Part("certificates", certificates),
    ]


async def first(*runs: Coroutine[Any, Any, None]) -> None:
    """Run several coroutines until one of them ends, and with it the others. Raises what it raised."""
    tasks = [asyncio.ensure_future(each) for each in runs]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()


async def together(ready: Ready, *runs: Callable[[Ready], object]) -> None:
    """Run several parts in one process; ready when all are. The first that fails ends the process."""
    waiting = len(runs)

    def done() -> None:
        nonlocal waiting
        waiting -= 1
        if waiting == 0:
            ready()

    async with asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(run(done))  # type: ignore[arg-type]  # a coroutine function, typed loosely for lambdas


# -- what each part of a cluster on one machine is told


def api_server_settings(cluster: Cluster) -> ApiServerSettings:
    return ApiServerSettings(
        data_dir=cluster.data_dir,
        port=cluster.port,
        bind=("127.0.0.1", cluster.gateway),
        advertise_address=cluster.gateway,
        service_cidr=cluster.service_cidr,
        scheduler_address=f"{cluster.gateway}:{SCHEDULER_PORT}",
        controllers_address=f"{cluster.gateway}:{CONTROLLERS_PORT}",
        metric_resolution=15.0,  # a metrics server's default
    )


def controller_settings(cluster: Cluster) -> ControllerSettings:
    settings = ControllerSettings(
        kubeconfig=cluster.data_dir / "controllers.kubeconfig",
        cluster_cidr=cluster.pod_cidr,
        cluster_dns=cluster.dns_ip,
        service_cidr=cluster.service_cidr,
        public_url=cluster.url,
        root_ca_file=cluster.data_dir / "pki" / "ca.crt",
        cluster_signing_cert_file=cluster.data_dir / "pki" / "ca.crt",
        cluster_signing_key_file=cluster.data_dir / "pki" / "ca.key",
        service_account_private_key_file=cluster.data_dir / "pki" / "sa.key",
        local_path=cluster.data_dir / "volumes",
    )
    return shown_at(cluster.gateway, settings, cluster.data_dir)


def scheduler_settings(cluster: Cluster) -> SchedulerSettings:
    config = cluster.data_dir / "scheduler.yaml"
    kubeconfig = cluster.data_dir / "scheduler.kubeconfig"
    settings = SchedulerSettings(kubeconfig=kubeconfig, config=config if config.is_file() else None)
    return shown_at(cluster.gateway, settings, cluster.data_dir)


def shown_at(address: str, settings: Shown, data_dir: Path) -> Shown:
    """Let controllers or scheduler show how they are, with the certificate of :func:`make_shown`."""
    pki_dir, name = data_dir / "pki", "scheduler" if isinstance(settings, SchedulerSettings) else "controllers"
    return replace(
        settings,
        bind_address=address,
        tls_cert_file=pki_dir / f"{name}.crt",
        tls_private_key_file=pki_dir / f"{name}.key",
        client_ca_file=pki_dir / "ca.crt",
    )


def agent_settings(cluster: Cluster, node: str) -> NodeAgentSettings:
    pki_dir = cluster.data_dir / "pki"
    return NodeAgentSettings(
        kubeconfig=cluster.node_dir(node) / "kubelet.kubeconfig",
        node_name=node,
        node_ip=cluster.node_ip(node),
        data_dir=cluster.node_dir(node),
        image_dir=cluster.image_dir,
        run_dir=cluster.run_dir / node,
        cgroup_root=f"{cluster.run_dir.name}/{node}",
        client_ca=pki_dir / "ca.crt",
        tls_cert=pki_dir / f"{node}.crt",
        tls_key=pki_dir / f"{node}.key",
        cluster_dns=cluster.dns_ip,
        shutdown_by_systemd=False,  # whose machine this is knows nothing of nodes
        shutdown_grace_period="30s",
        shutdown_grace_period_critical_pods="10s",
        pod_manifest_path=str(cluster.node_dir(node) / "manifests"),
        # nodes that share a machine share its disk too: that it is rather full is no reason to send pods away
        eviction_hard="memory.available<100Mi",
        image_gc_high_threshold=100,
    )


def proxy_settings(cluster: Cluster, node: str) -> NetProxySettings:
    return NetProxySettings(
        kubeconfig=cluster.data_dir / "netproxy.kubeconfig",
        node_name=node,
        node_ip=cluster.node_ip(node),
        cluster_cidr=cluster.pod_cidr,
        service_cidr=cluster.service_cidr,
        cluster_dns=cluster.dns_ip,
    )


def make_identities(cluster: Cluster) -> None:
    """Certificates and kubeconfigs of every part; only what is missing is made."""
    data: Path = cluster.data_dir
    pki.ensure_pki(data, addresses=[cluster.gateway], service_ip=cluster.service_ip)
    pki.ensure_kubeconfig(data, cluster.admin_kubeconfig, f"https://127.0.0.1:{cluster.port}", pki.ADMIN, cluster.name)
    for name, identity in (
        ("controllers", pki.CONTROLLERS),
        ("scheduler", pki.SCHEDULER),
        ("netproxy", pki.NETPROXY),
    ):
        pki.ensure_kubeconfig(data, data / f"{name}.kubeconfig", cluster.url, identity, cluster.name)
    make_shown(data, cluster.gateway)
    for node in cluster.node_names:
        kubeconfig = cluster.node_dir(node) / "kubelet.kubeconfig"
        pki.ensure_kubeconfig(data, kubeconfig, cluster.url, pki.node_identity(node), cluster.name)
        pki.ensure_serving(data, node, f"system:node:{node}", [node, cluster.node_ip(node)])


def make_shown(data_dir: Path, address: str) -> None:
    """Certificates of the ports where controllers and scheduler show themselves."""
    for name in ("controllers", "scheduler"):
        pki.ensure_serving(data_dir, name, f"system:kube-{name}", [address, "localhost"])


def make_images(image_dir: Path) -> None:
    """The images that need no network: ``localhost/host``, this machine's own programs, and its busybox."""
    images = Images(image_dir)
    images.host_image()
    if images.find("busybox") is None:
        build_busybox(images)


def listen(cluster: Cluster) -> list[socket.socket]:
    """Open the API server's ports before anything is forked.

    Clients that come before the API server serves, or while it is started again, wait in the kernel's queue instead
    of being refused.
    """
    return [
        socket.create_server((address, cluster.port), backlog=1024, reuse_port=False)
        for address in ("127.0.0.1", cluster.gateway)
    ]
