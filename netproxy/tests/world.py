"""Two virtual nodes, a netproxy each, and the real API server; pods are bare namespaces with tiny servers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from netproxy.links import PodLinks, namespaces, virtual
from netproxy.services.model import SERVICE_NAME
from netproxy.tests.kernel import HTTP_SERVER, UDP_SERVER, Addresses, eventually, namespace, running
from shim.api.meta import Object
from shim.api.status import ApiError
from shim.client import Client
from shim.client import resource as r

NAME = f"npx{os.getpid() % 1000}"  # its own for each run: several may be under way
HTTP_PORT = {"containerPort": 8080, "name": "http"}
T = TypeVar("T")


@dataclass
class Node:
    name: str
    address: str
    netns: Path
    links: PodLinks
    log: Path
    proxy: subprocess.Popen[bytes] | None = None

    def attach(self, sandbox: str, netns: Path) -> str:
        with namespaces.inside(self.netns):  # the links' thread begins where this one is
            return asyncio.run(self.links.attach(sandbox, str(netns)))


@dataclass
class Pod:
    name: str
    node: Node
    address: str
    netns: Path


@dataclass
class World:
    ranges: virtual.Ranges
    kubeconfig: Path
    nodes: list[Node] = field(default_factory=list)
    pods: dict[str, Pod] = field(default_factory=dict)

    def api(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Ask the API server."""

        async def asked() -> T:
            async with Client.from_kubeconfig(self.kubeconfig) as client:
                return await work(client)

        return asyncio.run(asked())

    def service(self, name: str, *ports: Object, **spec: Any) -> Object:
        """Make a Service; gives it with its addresses and ports."""
        listed = list(ports) or [{"name": "http", "port": 80, "targetPort": 8080}]
        made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": listed, **spec}}
        return self.api(lambda client: client.create(r.SERVICES, made, "default"))

    def endpoints(self, name: str, *pods: str, ports: tuple[Object, ...] = ({"name": "http", "port": 8080},)) -> None:
        """Make, or change, the endpoints of a Service."""
        piece = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-x", "labels": {SERVICE_NAME: name}},
            "addressType": "IPv4",
            "ports": [{"protocol": "TCP", **port} for port in ports],
            "endpoints": [
                {
                    "addresses": [pod.address],
                    "nodeName": pod.node.name,
                    "hostname": pod.name,
                    "conditions": {"ready": True},
                }
                for pod in (self.pods[name] for name in pods)
            ],
        }

        async def write(client: Client) -> None:
            listed = await client.list(r.ENDPOINTSLICES, "default", label_selector=f"{SERVICE_NAME}={name}")
            if listed["items"]:
                await client.delete(r.ENDPOINTSLICES, f"{name}-x", "default")
            await client.create(r.ENDPOINTSLICES, piece, "default")

        self.api(write)

    def announce(self, name: str, **labels: str) -> None:
        """Tell the API about a pod, as its kubelet does, or give it other labels."""
        pod = self.pods[name]
        spec = {"nodeName": pod.node.name, "containers": [{"name": "main", "image": "busybox", "ports": [HTTP_PORT]}]}
        made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
        status = {"status": {"phase": "Running", "podIP": pod.address, "podIPs": [{"ip": pod.address}]}}

        async def write(client: Client) -> None:
            with contextlib.suppress(ApiError):  # there is no controller to make it
                await client.create(r.SERVICEACCOUNTS, {"metadata": {"name": "default"}}, "default")
            try:
                await client.create(r.PODS, made, "default")
            except ApiError:
                await client.patch(r.PODS, name, {"metadata": {"labels": labels}}, "default")
            await client.patch(r.PODS, name, status, "default", subresource="status")

        self.api(write)

    def policy(self, name: str, **spec: Any) -> None:
        """Make a NetworkPolicy, or change it as a whole."""
        made = {"metadata": {"name": name}, "spec": {"podSelector": {}, **spec}}

        async def write(client: Client) -> None:
            with contextlib.suppress(ApiError):
                await client.delete(r.NETWORKPOLICIES, name, "default")
            await client.create(r.NETWORKPOLICIES, made, "default")

        self.api(write)

    def no_policies(self) -> None:
        """Remove every NetworkPolicy."""

        async def clear(client: Client) -> None:
            for policy in (await client.list(r.NETWORKPOLICIES, "default"))["items"]:
                await client.delete(r.NETWORKPOLICIES, policy["metadata"]["name"], "default")

        self.api(clear)

    def start_proxy(self, node: Node) -> None:
        """Start a node's netproxy; it is ready when this returns."""
        node.log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "netproxy", "--kubeconfig", str(self.kubeconfig), "--node-name", node.name]
        command += ["--node-ip", node.address, "--cluster-cidr", self.ranges.pod_cidr]
        command += [
            "--service-cidr",
            self.ranges.service_cidr,
            "--cluster-dns",
            self.dns,
            "--upstream-dns",
            "127.0.0.1:1",
        ]
        with namespaces.inside(node.netns), node.log.open("wb") as log:
            node.proxy = subprocess.Popen(command, stderr=log)
        eventually(lambda: _is_ready(node), f"netproxy of {node.name} is ready")

    def kill_proxy(self, node: Node) -> None:
        assert node.proxy is not None
        node.proxy.send_signal(signal.SIGKILL)
        node.proxy.wait()

    @property
    def dns(self) -> str:
        return self.ranges.service_cidr.replace(".0.0/16", ".0.10")


@contextlib.contextmanager
def world(folder: Path, addresses: Addresses) -> Iterator[World]:
    """Everything up for the block; one pod ``aN`` with servers and one client ``cN`` on each node."""
    with contextlib.ExitStack() as stack:
        with addresses():
            ranges = virtual.pick_ranges(NAME)
            stack.callback(virtual.remove_all, NAME)
            virtual.create_cluster_network(NAME, **ranges._asdict())
        here = World(ranges, stack.enter_context(_api_server(folder, ranges)))
        for number in (1, 2):
            node = stack.enter_context(_node(folder, here, number))
            here.nodes.append(node)
            for name in (f"a{number}", f"c{number}"):
                netns = stack.enter_context(namespace(f"{NAME}-{name}"))
                here.pods[name] = Pod(name, node, node.attach(name, netns), netns)
            server = here.pods[f"a{number}"]
            for script, port in ((HTTP_SERVER, "8080"), (UDP_SERVER, "5353")):
                stack.enter_context(running(sys.executable, "-Sc", script, server.name, port, inside=server.netns))
        for node in here.nodes:
            here.start_proxy(node)
        yield here


@contextlib.contextmanager
def _node(folder: Path, here: World, number: int) -> Iterator[Node]:
    name, address = f"node-{number}", here.ranges.node_cidr.replace(".0/24", f".{10 + number}")
    cidr = here.ranges.pod_cidr.replace(".0.0/16", f".{number}.0/24")
    netns = virtual.create_node(NAME, name, address)
    node = Node(name, address, netns, PodLinks(folder / name, address), folder / f"{name}.log")
    with namespaces.inside(netns):
        asyncio.run(node.links.set_pod_cidr(cidr))
    made = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
    }
    status = {"status": {"addresses": [{"type": "InternalIP", "address": address}]}}

    async def register(client: Client) -> None:
        await client.create(r.NODES, made)
        await client.patch(r.NODES, name, status, subresource="status")

    here.api(register)
    try:
        yield node
    finally:
        node.links.close()
        if node.proxy is not None:
            node.proxy.terminate()
            node.proxy.wait()


@contextlib.contextmanager
def _api_server(folder: Path, ranges: virtual.Ranges) -> Iterator[Path]:
    with socket.create_server((ranges.machine, 0)) as trial:
        port = trial.getsockname()[1]
    command = [sys.executable, "-m", "shim", "apiserver", "--data-dir", str(folder / "api"), "--port", str(port)]
    command += ["--bind", ranges.machine, "--service-cidr", ranges.service_cidr]
    with (folder / "apiserver.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        kubeconfig = folder / "api" / "admin.kubeconfig"
        eventually(lambda: kubeconfig.exists() and _listens(ranges.machine, port), "the API server serves")
        yield kubeconfig
    finally:
        process.terminate()
        process.wait()


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), 1).close()
    except OSError:
        return False
    return True


def _is_ready(node: Node) -> bool:
    assert node.proxy is not None
    assert node.proxy.poll() is None, node.log.read_text()
    return b"netproxy: ready" in node.log.read_bytes()
