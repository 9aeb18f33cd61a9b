"""The kubelet: every pod bound to this node gets a worker, and the API server is told how pods and node are.

What starts here is found again by the next agent: closing leaves every container running.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

import aiohttp

from nodeagent.engine.contract import Engine, ImageStore
from nodeagent.kubelet import imagegc, logrotate, names, nodeinfo, resources, sysctls
from nodeagent.kubelet.admitting import Door
from nodeagent.kubelet.clock import Clock
from nodeagent.kubelet.context import STARTS_AT_ONCE, Node
from nodeagent.kubelet.directory import Directory
from nodeagent.kubelet.eviction.evictions import Evictions
from nodeagent.kubelet.inventory import Inventory
from nodeagent.kubelet.meters import Meters
from nodeagent.kubelet.names import Paths
from nodeagent.kubelet.network import PodNetwork
from nodeagent.kubelet.node import NodeObject
from nodeagent.kubelet.podworker import PodWorker
from nodeagent.kubelet.probes import Prober
from nodeagent.kubelet.qosgroups import QosGroups
from nodeagent.kubelet.references import References, Tokens
from nodeagent.kubelet.resizequeue import ResizeQueue
from nodeagent.kubelet.resources import Amounts
from nodeagent.kubelet.shutdown import Shutdown
from nodeagent.kubelet.source import PodSource
from nodeagent.kubelet.statics.mirrors import Mirrors, is_of
from nodeagent.kubelet.statics.pods import StaticPods, sources_of
from nodeagent.kubelet.status import Verdict
from nodeagent.kubelet.statuswriter import StatusWriter
from nodeagent.kubelet.volumes import Volumes
from nodeagent.settings import NodeAgentSettings
from shim.api.meta import Object
from shim.client import Client, EventRecorder, Informer
from shim.client import resource as r

log = logging.getLogger(__name__)

NETWORK_RETRY = 0.25


class Kubelet:
    """One node's kubelet. ``pods`` answers the HTTP server's questions."""

    def __init__(
        self, settings: NodeAgentSettings, client: Client, engine: Engine, images: ImageStore, network: PodNetwork
    ) -> None:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        paths = Paths(settings.data_dir)
        http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        sysctls.check_allowed(settings.allowed_unsafe_sysctls)
        has, clock = nodeinfo.capacity(settings), Clock()
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.node = Node(
            settings=settings,
            client=client,
            clock=clock,
            engine=engine,
            images=images,
            image_policy=settings.image_policy(),
            network=network,
            recorder=EventRecorder(client, "kubelet", settings.node_name),
            services=Informer(client, r.SERVICES),
            http=http,
            paths=paths,
            inventory=Inventory(clock),
            references=References(client, self._reference_changed),
            tokens=Tokens(client, clock),
            volumes=Volumes(client, paths, settings.run_dir),
            prober=Prober(engine, http),
            statuses=StatusWriter(client),
            allocatable=nodeinfo.allocatable(has, settings),
            memory_capacity=nodeinfo.memory_bytes(has),
            swap=nodeinfo.swap(has, settings),
            meters=Meters(),
            groups=QosGroups(engine, nodeinfo.room(has, settings), self._burstable),
            requested={},
            resizes=ResizeQueue(),
            starting=asyncio.Semaphore(STARTS_AT_ONCE),
            network_up=asyncio.Event(),
        )
        self._object = NodeObject(
            settings,
            client,
            images,
            self._happened,
            self._connect,
            short=lambda: self.evictions.conditions,
            going_down=lambda: self.shutdown.under_way,
            own_users=not engine.no_own_users,
        )
        self.evictions = Evictions(self.node, self._workers.values, self._object.look)
        self.shutdown = Shutdown(self.node, self._workers.values, self._happened, self._object.look)
        self._door = Door(self.node, self._object, self._workers, self.evictions, self.shutdown)
        self._bound = Informer(client, r.PODS, field_selector=f"spec.nodeName={settings.node_name}")
        self.pods: PodSource = Directory(self.node, self._workers.values())
        self._statics = StaticPods(sources_of(settings, http), self._workers, self._start, self._statics_changed)
        self._mirrors = Mirrors(client, lambda: self._object.known, self._statics.here, self._mirror_changed)

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until cancelled; ``ready`` is called once the node is Ready and its pods are known."""
        node = self.node
        events = node.engine.events()  # from here on, so that nothing happens between filling and following
        await node.inventory.fill(node.engine)
        self._bound.on_change(self._pod_changed)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(node.inventory.follow(events, self._pod_moved))
                group.create_task(node.services.run())
                group.create_task(self.evictions.run())
                group.create_task(imagegc.keep_room(node))
                group.create_task(logrotate.keep_small(node.inventory, node.engine))
                group.create_task(self._object.run())
                group.create_task(self._statics.run())
                await self._object.registered.wait()
                group.create_task(node.groups.keep(partial(node.recorder.event, node.reference)))
                group.create_task(self._bound.run())
                await self._bound.synced()
                await self._statics.known.wait()
                group.create_task(self._mirrors.run())
                self._end_orphans()
                await self._object.ready.wait()
                log.info("node %s is Ready", node.settings.node_name)
                ready()
        finally:
            await self._close()

    def _burstable(self) -> list[Amounts]:
        """What each burstable pod requests."""
        requested, pods = self.node.requested, [worker.state.pod for worker in self._workers.values()]
        uids = [names.uid_of(pod) for pod in pods if resources.qos_class(pod) == "Burstable"]
        return [requested[uid] for uid in uids if uid in requested]

    def _happened(self, reason: str, message: str) -> None:
        self.node.recorder.event(self.node.reference, "Normal", reason, message)

    async def _connect(self, pod_cidr: str) -> None:
        """The node has its pod network: pods can be attached from here on."""
        network = self.node.network
        await network.set_pod_cidr(pod_cidr)
        while not await network.ready():  # noqa: ASYNC110  # it has no event for that
            await asyncio.sleep(NETWORK_RETRY)
        if not self.node.network_up.is_set():
            await network.retain(self.node.inventory.ready_sandboxes())
            self.node.network_up.set()

    async def _close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self.node.prober.close()
        self.node.references.close()
        self.node.statuses.close()
        await self.node.http.close()

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        assert pod is not None
        if names.is_mirror(pod):
            self._mirrors.changed(old, new)
            return
        uid = names.uid_of(pod)
        worker = self._workers.get(uid)
        if new is None:
            if worker is not None:
                worker.update(pod, gone=True)
                if worker.finished:
                    del self._workers[uid]
        elif worker is None:
            self._start(uid, pod)
        else:
            worker.update(pod)

    def _start(self, uid: str, pod: Object, *, gone: bool = False) -> None:
        refused = None if gone else self._door.refusal(uid, pod)
        worker = self._workers[uid] = PodWorker(self.node, pod)
        worker.update(pod, gone=gone)
        work = worker.run() if refused is None else self._maybe_reject(worker, refused)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[uid] = task
        task.add_done_callback(lambda _: self._worker_done(uid))

    async def _maybe_reject(self, worker: PodWorker, refused: Verdict) -> None:
        if (finally_refused := await self._door.reconsider(worker, refused)) is not None:
            worker.state.reject(finally_refused)
        await worker.run()

    def _worker_done(self, uid: str) -> None:
        self._tasks.pop(uid, None)
        worker = self._workers.get(uid)
        # A pod with finalizers stays in the API: its worker is kept, so that nobody starts it again.
        if worker is not None and worker.finished and worker.state.gone:
            del self._workers[uid]
            self._statics.ended(uid)

    def _statics_changed(self) -> None:
        for worker in self._workers.values():
            if worker.state.static and worker.state.mirror is None:
                worker.state.mirrored(self._mirrors.of(worker.state.pod))
        self._mirrors.look()

    def _mirror_changed(self, mirror: Object, new: Object | None) -> None:
        for worker in self._workers.values():
            if worker.state.static and is_of(mirror, worker.state.pod):
                worker.state.mirrored(new)

    def _pod_moved(self, uid: str) -> None:
        if worker := self._workers.get(uid):
            worker.wake()

    def _reference_changed(self, uid: str) -> None:
        if worker := self._workers.get(uid):
            worker.reference_changed()

    def _end_orphans(self) -> None:
        """What runs for pods that were deleted while no agent was here is stopped like any deleted pod."""
        left = self.node.inventory.pods() | self.node.volumes.pods_with_volumes()
        for uid in left - set(self._workers):
            log.info("pod %s is gone: what is left of it is removed", uid)
            self._start(uid, self._remains(uid), gone=True)

    def _remains(self, uid: str) -> Object:
        """A pod as its leftovers tell of it: names, and how long its containers may take to end."""
        inventory = self.node.inventory
        kept = [state.labels for state in inventory.sandboxes(uid)]
        kept += [state.labels for state in inventory.containers(uid)]
        labels = kept[0] if kept else {}
        containers = {state.labels.get(names.CONTAINER_NAME, "") for state in inventory.containers(uid)}
        return {
            "metadata": {
                "uid": uid,
                "name": labels.get(names.POD_NAME, "unknown"),
                "namespace": labels.get(names.POD_NAMESPACE, "unknown"),
            },
            "spec": {
                "containers": [{"name": name} for name in sorted(containers)],
                "terminationGracePeriodSeconds": int(labels.get(names.POD_GRACE) or 30),
            },
        }
