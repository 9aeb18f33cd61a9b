"""A real API server with nothing but the parts a test names, in this event loop, on a free port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shim.server
from shim.api.meta import GVR, Object, now
from shim.client import Client
from shim.client import resource as r
from shim.controllers.loop import Controller, run_controllers
from shim.settings import ApiServerSettings, ControllerSettings

PATIENCE = 60.0  # for a busy machine; nothing is measured


@dataclass
class Cluster:
    client: Client
    kubeconfig: Path
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self, part: Callable[[Callable[[], None]], Coroutine[Any, Any, None]]) -> None:
        """Run a part until the test ends; returns once it is ready."""
        ready = asyncio.Event()
        task = asyncio.create_task(part(ready.set))
        self._tasks.append(task)
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()

    async def control(self, *controllers: type[Controller], **settings: Any) -> None:
        manager = ControllerSettings(kubeconfig=self.kubeconfig, **settings)
        await self.start(lambda ready: run_controllers(list(controllers), self.client, manager, ready))

    async def until(
        self, gvr: GVR, name: str, holds: Callable[[Object | None], Any], namespace: str | None = "default"
    ) -> Object | None:
        """The object (None: it is gone) as soon as the condition holds; waits on a watch."""
        namespace = namespace if gvr.namespaced else None
        selector = f"metadata.name={name}"
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self.client.list(gvr, namespace, field_selector=selector)
                obj = found["items"][0] if found["items"] else None
                if holds(obj):
                    return obj
                version = found["metadata"]["resourceVersion"]
                async for event, obj in self.client.watch(
                    gvr, namespace, resource_version=version, field_selector=selector
                ):
                    if event == "BOOKMARK":
                        continue
                    seen = None if event == "DELETED" else obj
                    if holds(seen):
                        return seen

    async def add_node(self, name: str, cpu: str = "4", pods: str = "110", **labels: str) -> Object:
        """A node that is ready and not tainted."""
        labels = {"kubernetes.io/hostname": name, **labels}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
        await self.client.create(r.NODES, node)
        await self.client.patch(r.NODES, name, {"spec": {"taints": None}})
        capacity = {"cpu": cpu, "memory": "8Gi", "pods": pods}
        status = {"allocatable": capacity, "capacity": capacity, "conditions": [ready_condition()]}
        return await self.client.patch(r.NODES, name, {"status": status}, subresource="status")

    async def add_pod(self, name: str, labels: dict[str, str] | None = None, **spec: Any) -> Object:
        containers = spec.pop("containers", [{"name": "c", "image": "i"}])
        pod = {"metadata": {"name": name, "labels": labels or {}}, "spec": {"containers": containers, **spec}}
        return await self.client.create(r.PODS, {"apiVersion": "v1", "kind": "Pod", **pod}, "default")

    async def add_config_map(self, name: str, namespace: str = "default", **metadata: Any) -> Object:
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
        return await self.client.create(r.CONFIGMAPS, config_map, namespace)


def ready_condition(status: str = "True") -> Object:
    return {
        "type": "Ready",
        "status": status,
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
        "lastHeartbeatTime": now(),
        "lastTransitionTime": now(),
    }


def owned_by(*owners: Object, block: bool = False) -> list[Object]:
    return [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            **({"blockOwnerDeletion": True} if block else {}),
        }
        for owner in owners
    ]


@contextlib.asynccontextmanager
async def cluster(directory: Path, *, account: bool = True) -> AsyncIterator[Cluster]:
    """The server, and ``account`` the default ServiceAccount that pods need."""
    kubeconfig = directory / "admin.kubeconfig"
    settings = ApiServerSettings(data_dir=directory, port=0, authorization_mode="AlwaysAllow")
    made = Cluster(None, kubeconfig)  # type: ignore[arg-type]
    try:
        await made.start(lambda ready: shim.server.run(settings, ready))
        async with Client.from_kubeconfig(kubeconfig, user_agent="test") as made.client:
            if account:
                default = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
                await made.client.create(r.SERVICEACCOUNTS, default, "default")
            try:
                yield made
            finally:
                await _stop(made._tasks[1:])
    finally:
        await _stop(made._tasks)


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
