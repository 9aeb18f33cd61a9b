"""Everything a node agent starts, in order. Reading starts here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from netproxy.links import PodLinks
from nodeagent import poweroff, server
from nodeagent.engine import Engine
from nodeagent.images import Images
from nodeagent.kubelet.agent import Kubelet
from nodeagent.settings import NodeAgentSettings
from shim.client import Client

HOST_IMAGE = "localhost/host"


async def run(settings: NodeAgentSettings, ready: Callable[[], None]) -> None:
    """Work until cancelled; then containers run on, and the next agent finds them."""
    images = Images(settings.image_dir)
    if images.find(HOST_IMAGE) is None:
        images.host_image()  # so that a first pod needs nothing from anywhere
    engine = Engine(settings.data_dir, settings.run_dir, settings.cgroup_root, images)
    network = PodLinks(settings.run_dir / "network", settings.node_ip)
    client = Client.from_kubeconfig(settings.kubeconfig, user_agent="kubelet")
    await engine.start()
    try:
        kubelet = Kubelet(settings, client, engine, images, network)
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(settings, kubelet.pods, engine, client))
            group.create_task(kubelet.run(ready))
            group.create_task(poweroff.follow(kubelet.shutdown, systemd=settings.shutdown_by_systemd))
    finally:
        network.close()
        await client.close()
        await engine.close()
