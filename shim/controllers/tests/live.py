"""A real API server, the real controllers, and a kubelet that only says that pods run: for tests of whole stories."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import shim.server
from shim.api.meta import GVR, Object, controller_of, now
from shim.api.status import ApiError
from shim.client import Client, Informer
from shim.client import resource as r
from shim.controllers.loop import Controller, run_controllers
from shim.settings import ApiServerSettings, ControllerSettings

NODES = ("n1", "n2", "n3")
PATIENCE = 60.0  # for a busy machine; nothing is measured


class HollowKubelet:
    """Binds every pod to a node and tells what ``behave`` says of it: run, succeed, fail, or never (stays pending)."""

    def __init__(self, client: Client, behave: Callable[[Object], str]) -> None:
        self._client, self._behave = client, behave
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.pods = Informer(client, r.PODS)
        self.pods.on_change(self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        if new["metadata"].get("deletionTimestamp"):
            if old is None or not old["metadata"].get("deletionTimestamp"):
                self._start(self._stop_pod(new))
        elif old is None:
            self._start(self._run_pod(new))

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, pod: Object, phase: str, ready: bool, **more: Any) -> None:
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": now()}
        metadata = pod["metadata"]
        status = {"phase": phase, "conditions": [condition], **more}
        with contextlib.suppress(ApiError):  # deleted meanwhile
            await self._client.patch(
                r.PODS, metadata["name"], {"status": status}, metadata["namespace"], subresource="status"
            )

    async def _run_pod(self, pod: Object) -> None:
        metadata = pod["metadata"]
        self._count += 1
        number = self._count
        node = _wanted_node(pod) or NODES[number % len(NODES)]
        if not pod["spec"].get("nodeName"):
            binding = {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
                "target": {"apiVersion": "v1", "kind": "Node", "name": node},
            }
            try:
                await self._client.create(r.PODS, binding, metadata["namespace"], subresource="binding")
            except ApiError:
                return
        behaviour = self._behave(pod)
        if behaviour == "never":
            return
        ip = f"10.244.{number // 250}.{number % 250 + 1}"
        await self._tell(pod, "Running", ready=True, podIP=ip, podIPs=[{"ip": ip}])
        if behaviour in ("succeed", "fail"):
            code = 0 if behaviour == "succeed" else 1
            ended = {"exitCode": code, "startedAt": now(), "finishedAt": now(), "reason": "Completed"}
            containers = [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": ended},
                }
                for container in pod["spec"]["containers"]
            ]
            phase = "Failed" if code else "Succeeded"
            await self._tell(pod, phase, ready=False, containerStatuses=containers)

    async def _stop_pod(self, pod: Object) -> None:
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            await self._tell(pod, "Failed", ready=False)
        metadata = pod["metadata"]
        with contextlib.suppress(ApiError):
            await self._client.delete(
                r.PODS, metadata["name"], metadata["namespace"], grace_period=0, uid=metadata["uid"]
            )

    async def run(self) -> None:
        await self.pods.run()


def _wanted_node(pod: Object) -> str | None:
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            return str(field["values"][0])
    return None


class World:
    """What a test holds: a client, and ways to wait."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def add_node(self, name: str) -> None:
        """A node that is ready: without the taint it is born with."""
        await self.client.create(r.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        await self.client.patch(r.NODES, name, {"spec": {"taints": None}})

    async def until(self, resource: GVR, name: str, condition: Callable[[Object], bool]) -> Object:
        """The object as soon as the condition holds; waits on a watch."""
        namespace = "default" if resource.namespaced else None
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self.client.list(resource, namespace, field_selector=f"metadata.name={name}")
                for obj in found["items"]:
                    if condition(obj):
                        return dict(obj)
                events = self.client.watch(
                    resource,
                    namespace,
                    resource_version=found["metadata"]["resourceVersion"],
                    field_selector=f"metadata.name={name}",
                )
                async for event, obj in events:
                    if event in ("ADDED", "MODIFIED") and condition(obj):
                        return obj

    async def until_gone(self, resource: GVR, selector: str = "") -> None:
        """Wait until no object is left."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self.client.list(resource, "default", label_selector=selector)
                if not found["items"]:
                    return
                version = found["metadata"]["resourceVersion"]
                async for event, _ in self.client.watch(resource, "default", resource_version=version):
                    if event == "DELETED":
                        break

    async def events(self, reason: str) -> list[str]:
        """The messages of this reason, as soon as there are any."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self.client.list(r.EVENTS, "default")
                messages = [event["message"] for event in found["items"] if event["reason"] == reason]
                if messages:
                    return messages
                version = found["metadata"]["resourceVersion"]
                async for _ in self.client.watch(r.EVENTS, "default", resource_version=version):
                    break

    async def pods(self, selector: str = "app=a") -> list[Object]:
        found = await self.client.list(r.PODS, "default", label_selector=selector)
        return list(found["items"])

    async def owned_by(self, resource: GVR, owner: Object) -> list[Object]:
        found = await self.client.list(resource, "default")
        uid = owner["metadata"]["uid"]
        return [each for each in found["items"] if (controller_of(each) or {}).get("uid") == uid]


@contextlib.asynccontextmanager
async def served(directory: Path) -> AsyncIterator[Client]:
    """A client of an API server in this event loop, on a free port; there are nodes, and pods are admitted."""
    ready = asyncio.Event()
    settings = ApiServerSettings(data_dir=directory, port=0, authorization_mode="AlwaysAllow")
    server = asyncio.create_task(shim.server.run(settings, ready.set))
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait([server, waiting], return_when=asyncio.FIRST_COMPLETED)
        if server.done():
            server.result()
        async with Client.from_kubeconfig(directory / "admin.kubeconfig", user_agent="test") as client:
            # pods are admitted only where there is one; another controller would make it
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            await client.create(r.SERVICEACCOUNTS, account, "default")
            for name in NODES:
                await World(client).add_node(name)
            yield client
    finally:
        waiting.cancel()
        server.cancel()
        await asyncio.wait([server])


@contextlib.asynccontextmanager
async def world(
    directory: Path, controllers: list[type[Controller]], behave: Callable[[Object], str] = lambda _: "run"
) -> AsyncIterator[World]:
    """Everything started."""
    async with served(directory) as client:
        manager = ControllerSettings(kubeconfig=directory / "admin.kubeconfig")
        tasks = [
            asyncio.create_task(HollowKubelet(client, behave).run()),
            asyncio.create_task(run_controllers(controllers, client, manager, lambda: None)),
        ]
        try:
            yield World(client)
            for task in reversed(tasks):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        finally:
            for task in reversed(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
