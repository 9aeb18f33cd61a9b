"""A whole node for a test: the real API server, engine and pod network in a network namespace of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shim.server
from netproxy.links import PodLinks, netlink
from nodeagent.engine import Engine, teardown_node
from nodeagent.images import Images
from nodeagent.kubelet.agent import Kubelet
from nodeagent.kubelet.source import NotFound, Target
from nodeagent.linux import libc, mounts, namespaces
from nodeagent.settings import NodeAgentSettings
from shim import pki
from shim.api.meta import Object
from shim.client import Client, Informer
from shim.client import resource as r
from shim.settings import ApiServerSettings

NODE_IP = "192.0.2.10"
PATIENCE = 60.0  # on a machine that others use too
QUICK = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]  # ends at once when told to


@dataclass
class Agent:
    kubelet: Kubelet
    engine: Engine
    network: PodLinks
    client: Client
    task: asyncio.Task[None]


@dataclass
class World:
    data: Path
    settings: NodeAgentSettings
    client: Client
    pods: Informer
    port: int  # of the API server
    agent: Agent | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def create(self, name: str, *containers: Object, **spec: Any) -> Object:
        body = {
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"nodeName": "n1", "containers": list(containers) or [container()], **spec},
        }
        return await self.client.create(r.PODS, body, "default")

    async def until(self, name: str, true: Callable[[Object], bool]) -> Object:
        """The pod, as soon as ``true`` of it."""
        async with asyncio.timeout(PATIENCE):
            while (pod := self.pods.get(f"default/{name}")) is None or not true(pod):
                self._changed.clear()
                await self._changed.wait()
            return pod

    async def until_gone(self, name: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.pods.get(f"default/{name}") is not None:
                self._changed.clear()
                await self._changed.wait()

    async def until_event(self, name: str, reason: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while reason not in [known for known, _ in await self.events(name)]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def until_running(self, name: str) -> Target:
        """Whatever the API server knows of it."""
        assert self.agent is not None
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(NotFound):
                    target = self.agent.kubelet.pods.container("default", name, "c")
                    if target.running:
                        return target
                await asyncio.sleep(0.02)

    async def events(self, name: str) -> list[tuple[str, str]]:
        assert self.agent is not None
        await self.agent.kubelet.node.recorder.flush()
        found = await self.client.list(r.EVENTS, "default", field_selector=f"involvedObject.name={name}")
        return [(event["reason"], event["message"]) for event in found["items"]]

    def log(self, name: str) -> str:
        """What the pod's containers wrote, without times and streams."""
        files = sorted(self.settings.data_dir.glob(f"logs/pods/default_{name}_*/*/*.log"))
        return "".join(line.split(" ", 3)[3] for file in files for line in file.read_text().splitlines(keepends=True))

    async def start_agent(self, kubeconfig: Path | None = None) -> Agent:
        """The node is Ready; with another ``kubeconfig`` than its own it may never be, and nobody waits for it."""
        images = Images(self.settings.image_dir)
        engine = Engine(self.settings.data_dir, self.settings.run_dir, self.settings.cgroup_root, images)
        network = PodLinks(self.settings.run_dir / "network", NODE_IP)
        client = Client.from_kubeconfig(kubeconfig or self.settings.kubeconfig)
        await engine.start()
        kubelet = Kubelet(self.settings, client, engine, images, network)
        ready = asyncio.Event()
        task = asyncio.create_task(kubelet.run(ready.set))
        self.agent = Agent(kubelet, engine, network, client, task)
        if kubeconfig is None:
            await _first(task, ready)
        return self.agent

    async def stop_agent(self) -> None:
        agent, self.agent = self.agent, None
        if agent is not None:
            agent.task.cancel()
            await asyncio.wait({agent.task})
            agent.network.close()
            await agent.client.close()
            await agent.engine.close()

    async def reboot(self) -> None:
        """Everything in memory is lost: processes, namespaces, cgroups, mounts, /run."""
        await self.stop_agent()
        await teardown_node(self.settings.data_dir, self.settings.run_dir, self.settings.cgroup_root)

    def note_change(self, old: Object | None, new: Object | None) -> None:
        self._changed.set()


def container(name: str = "c", command: list[str] | None = None, **more: Any) -> Object:
    return {"name": name, "image": "localhost/host", "command": command or QUICK, **more}


def ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or ())


def phase(name: str) -> Callable[[Object], bool]:
    return lambda pod: pod["status"].get("phase") == name


def waits(reason: str) -> Callable[[Object], bool]:
    return lambda pod: any(
        (status["state"].get("waiting") or {}).get("reason") == reason
        for status in pod["status"].get("containerStatuses") or ()
    )


def first(pod: Object) -> Object:
    """The status of its first container."""
    status: Object = pod["status"]["containerStatuses"][0]
    return status


async def _first(task: asyncio.Task[None], event: asyncio.Event) -> None:
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
    waiting.cancel()
    if task.done():
        task.result()
    assert event.is_set()


@contextlib.asynccontextmanager
async def world(tmp: Path) -> AsyncIterator[World]:
    """The node is Ready; afterwards nothing of it is left, or the test fails."""
    name = f"t{secrets.token_hex(3)}"
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    namespaces.unshare(namespaces.NET)
    try:
        namespaces.loopback_up()
        await asyncio.to_thread(_uplink)  # netlink has a loop of its own
        async with _server(tmp) as (api, client):
            kubeconfig = tmp / "kubelet.kubeconfig"
            url = f"https://127.0.0.1:{api.port}"
            pki.ensure_kubeconfig(api.data_dir, kubeconfig, url, pki.node_identity("n1"))
            settings = NodeAgentSettings(
                eviction_hard="memory.available<100Mi",  # how full the disk of this machine is must not matter
                kubeconfig=kubeconfig,
                node_name="n1",
                node_ip=NODE_IP,
                data_dir=tmp / "node",
                image_dir=tmp / "images",
                run_dir=Path("/run") / name,
                cgroup_root=f"{name}/n1",
                client_ca=tmp,
                tls_cert=tmp,
                tls_key=tmp,
                pod_manifest_path=str(tmp / "manifests"),
                shutdown_grace_period="20s",
                shutdown_grace_period_critical_pods="10s",
            )
            Images(settings.image_dir).host_image()
            it = World(tmp, settings, client, Informer(client, r.PODS), api.port)
            it.pods.on_change(it.note_change)
            following = asyncio.create_task(it.pods.run())
            giving = asyncio.create_task(_give_pod_cidr(client))
            try:
                await it.start_agent()
                yield it
            finally:
                following.cancel()
                giving.cancel()
                await it.reboot()
                left = [*mounts.below(str(tmp)), *mounts.below(str(settings.run_dir))]
                cgroups = list(Path("/sys/fs/cgroup").glob(f"*/{name}")) + list(Path("/sys/fs/cgroup").glob(name))
                assert not left
                assert not cgroups
                assert not settings.run_dir.exists()
    finally:
        libc.setns(home, namespaces.NET)
        os.close(home)


def _uplink() -> None:
    with netlink.connect() as kernel:
        kernel.link("add", ifname="eth0", kind="bridge")
        index = netlink.find(kernel, "eth0")
        kernel.addr("add", index=index, address=NODE_IP, prefixlen=24)
        kernel.link("set", index=index, state="up")


@contextlib.asynccontextmanager
async def _server(tmp: Path) -> AsyncIterator[tuple[ApiServerSettings, Client]]:
    # the kubelet has to refuse a resize by itself too: without this plugin the API server does not come before it
    flags = ApiServerSettings(data_dir=tmp / "api", port=0, disable_admission_plugins=("PodResizeValidator",))
    settings = shim.server.prepare(flags)
    up = asyncio.Event()
    serving = asyncio.create_task(shim.server.run(settings, up.set))
    await _first(serving, up)
    client = Client.from_kubeconfig(settings.data_dir / "admin.kubeconfig")
    try:
        await client.create(r.SERVICEACCOUNTS, {"metadata": {"name": "default"}}, "default")
        ca = {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "CA"}}
        await client.create(r.CONFIGMAPS, ca, "default")
        yield settings, client
    finally:
        await client.close()
        serving.cancel()
        await asyncio.wait({serving})


async def _give_pod_cidr(client: Client) -> None:
    """What the node IPAM controller does."""
    async for event, node in client.watch(r.NODES, resource_version="0"):
        if event != "BOOKMARK" and not (node.get("spec") or {}).get("podCIDR"):
            spec = {"podCIDR": "10.99.0.0/24", "podCIDRs": ["10.99.0.0/24"]}
            await client.patch(r.NODES, node["metadata"]["name"], {"spec": spec})
