"""The control plane of a large cluster: nodes that speak as kubelets do and run nothing, pods through Deployments.

A hollow node registers, renews its lease, watches the pods bound to it, tells that they run (status and events), and
lets those go that are deleted. Times are CPU times of each process, so that they mean something on a busy machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.bench.api import free_port
from e2e.bench.scheduling import memory, part
from nodeagent.kubelet.statuswriter import StatusWriter
from shim.api.meta import Object, now, now_micro
from shim.client import Client, EventRecorder, Informer
from shim.client import resource as r

if TYPE_CHECKING:
    from e2e.bench.__main__ import Figure

NODES, PODS, PER_DEPLOYMENT = 200, 5000, 500
RENEW_EVERY = 10.0  # seconds, as kubelets
QUIET, IDLE = 15.0, 30.0  # until everything has been told; how long idleness is watched
CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "110"}
LEASES = "kube-node-lease"


def measure(folder: Path, say: Callable[[str], object]) -> list[Figure]:
    """API server, controllers and scheduler, each a process of its own; all nodes are in this one."""
    say(f"the control plane, {NODES} hollow nodes, {PODS} pods: starting")
    data = folder / "hollow"
    kubeconfig = data / "admin.kubeconfig"
    with part(["apiserver", "--data-dir", str(data), "--port", str(free_port())]) as server:
        told = ["--kubeconfig", str(kubeconfig)]
        with part(["controllers", *told]) as controllers, part(["scheduler", *told]) as scheduler:
            parts = {"API server": server, "controllers": controllers, "scheduler": scheduler}
            return asyncio.run(_measure(kubeconfig, parts, say))


async def _measure(kubeconfig: Path, parts: Mapping[str, int], say: Callable[[str], object]) -> list[Figure]:
    from e2e.bench.__main__ import Figure

    async with Client.from_kubeconfig(kubeconfig, user_agent="kubelet") as client, _hollow_nodes(client):
        pods = _Progress(client)
        async with _running(pods.informer.run()):
            await pods.informer.synced()
            sizes, seconds = [_memory(parts)], 0.0
            before, own = _cpu(parts), time.process_time()
            for half in range(2):
                say(f"{(half + 1) * PODS // 2} pods")
                began = time.perf_counter()
                await _deploy(client, half)
                await pods.reach((half + 1) * PODS // 2)
                seconds += time.perf_counter() - began
                sizes.append(_memory(parts))
            spent = {name: used - before[name] for name, used in _cpu(parts).items()}
            spent["hollow nodes"] = time.process_time() - own
            say("idle")
            await asyncio.sleep(QUIET)
            before = _cpu(parts)
            await asyncio.sleep(IDLE)
            idle = sum(_cpu(parts).values()) - sum(before.values())
    figures = [
        Figure(f"pods created, bound and running, {NODES} hollow nodes", PODS / seconds, "/s", aim=">= 100/s"),
        Figure("the idle control plane", 100 * idle / IDLE, "% of a core", aim="< 20%"),
    ]
    figures += [Figure(f"{name}: CPU for a pod", 1000 * used / PODS, "ms") for name, used in spent.items()]
    for name in parts:
        first, second = ((after[name] - earlier[name]) / (PODS // 2) / 1024 for earlier, after in pairwise(sizes))
        text = f"KiB for each of the first {PODS // 2}"
        figures.append(Figure(f"{name}: memory for a pod of the second {PODS // 2}", second, "KiB", first, text))
    return figures


class _Progress:
    """How many pods are bound, and how many are said to run."""

    def __init__(self, client: Client) -> None:
        self.informer = Informer(client, r.PODS)
        self.informer.on_change(self._changed)
        self._running: set[str] = set()
        self._moved = asyncio.Event()

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (new.get("status") or {}).get("phase") == "Running":
            self._running.add(new["metadata"]["uid"])
            self._moved.set()

    async def reach(self, count: int) -> None:
        while len(self._running) < count:
            self._moved.clear()
            await self._moved.wait()


async def _deploy(client: Client, half: int) -> None:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}
    for number in range(PODS // 2 // PER_DEPLOYMENT):
        labels = {"app": f"app-{half}-{number}"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"replicas": PER_DEPLOYMENT, "selector": {"matchLabels": labels}, "template": template}
        metadata = {"name": labels["app"]}
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
        await client.create(r.DEPLOYMENTS, deployment, "default")


# The nodes.


@contextlib.asynccontextmanager
async def _hollow_nodes(client: Client) -> AsyncIterator[None]:
    nodes = [HollowNode(client, f"node-{number:03d}", number) for number in range(NODES)]
    for first in range(0, NODES, 10):
        await asyncio.gather(*(node.register() for node in nodes[first : first + 10]))
    async with contextlib.AsyncExitStack() as stack:
        for node in nodes:
            await stack.enter_async_context(_running(node.pods.run()))
            await stack.enter_async_context(_running(node.keep_lease()))
        for node in nodes:
            await node.pods.synced()
        yield
        for node in nodes:
            node.statuses.close()


class HollowNode:
    """One node's side of the API, without containers."""

    def __init__(self, client: Client, name: str, number: int) -> None:
        self._client, self._name, self._number = client, name, number
        self._recorder = EventRecorder(client, "kubelet", name)
        self._tasks: set[asyncio.Task[None]] = set()
        self._addresses = 1
        self.statuses = StatusWriter(client)
        self.pods = Informer(client, r.PODS, field_selector=f"spec.nodeName={name}")
        self.pods.on_change(self._pod_changed)

    async def register(self) -> None:
        since = now()
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "kubelet is posting ready status",
        }
        condition = {**ready, "lastHeartbeatTime": since, "lastTransitionTime": since}
        status = {"allocatable": CAPACITY, "capacity": CAPACITY, "conditions": [condition]}
        labels = {"kubernetes.io/hostname": self._name}
        metadata = {"name": self._name, "labels": labels}
        await self._client.create(r.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status})

    async def keep_lease(self) -> None:
        await asyncio.sleep(RENEW_EVERY * self._number / NODES)  # not all at once
        spec = {"holderIdentity": self._name, "leaseDurationSeconds": 40, "renewTime": now_micro()}
        lease: Object = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self._name}}
        lease = await self._client.create(r.LEASES, {**lease, "spec": spec}, LEASES)
        while True:
            await asyncio.sleep(RENEW_EVERY)
            lease = await self._client.update(r.LEASES, {**lease, "spec": {**spec, "renewTime": now_micro()}})

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self.statuses.forget(old["metadata"]["uid"])
        elif new["metadata"].get("deletionTimestamp"):
            if old is None or not old["metadata"].get("deletionTimestamp"):
                task = asyncio.get_running_loop().create_task(self._let_go(new))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        elif old is None and (new.get("status") or {}).get("phase") == "Pending":
            self._addresses += 1
            self.statuses.submit(
                new, running(new, f"10.{64 + self._number // 250}.{self._number % 250}.{self._addresses}")
            )
            for reason, message in _EVENTS:
                self._recorder.event(new, "Normal", reason, message, field_path="spec.containers{c}")

    async def _let_go(self, pod: Object) -> None:
        metadata = pod["metadata"]
        await self._client.delete(r.PODS, metadata["name"], metadata["namespace"], grace_period=0, uid=metadata["uid"])


_EVENTS = (
    ("Pulled", 'Container image "i" already present on machine'),
    ("Created", "Container created"),
    ("Started", "Container started"),
)


def running(pod: Object, address: str) -> Object:
    """What a kubelet says of a pod whose containers run."""
    since = now()
    types = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
    known = [each for each in (pod.get("status") or {}).get("conditions") or () if each["type"] == "PodScheduled"]
    state = {"running": {"startedAt": since}}
    containers = [
        {
            "name": each["name"],
            "image": each["image"],
            "imageID": "sha256:0",
            "containerID": f"hollow://{pod['metadata']['uid']}",
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": state,
            "lastState": {},
        }
        for each in pod["spec"]["containers"]
    ]
    return {
        **(pod.get("status") or {}),
        "phase": "Running",
        "startTime": since,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "containerStatuses": containers,
        "conditions": [
            *({"type": type_, "status": "True", "lastProbeTime": None, "lastTransitionTime": since} for type_ in types),
            *known,
        ],
    }


# Measuring.


@contextlib.asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def _cpu(parts: Mapping[str, int]) -> dict[str, float]:
    """Seconds of CPU each process has used, its own and the system's for it."""
    return {name: _cpu_of(pid) for name, pid in parts.items()}


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(parts: Mapping[str, int]) -> dict[str, int]:
    return {name: memory(pid) for name, pid in parts.items()}
