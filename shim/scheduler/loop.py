"""How does a pod get its node? One decision at a time, from memory; the bindings are written side by side.

A pod is assumed to be on its node as soon as that is decided, so the next decision need not wait for the server.
If the binding fails, the assumption is taken back and the pod is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Callable, Iterator
from time import perf_counter

from prometheus_client.core import Metric

from shim.api.meta import GVR, Object, key_of, now
from shim.api.status import ApiError
from shim.client import Client, EventRecorder, Informer
from shim.client import resource as r
from shim.client.leader import one_of_several
from shim.client.measured import REQUESTS, of_leadership
from shim.client.showing import showing
from shim.scheduler import messages, profiles
from shim.scheduler.eviction import Eviction
from shim.scheduler.filters import Attempt, Refusal, feasible, refuse_everywhere, refuse_with_nominated
from shim.scheduler.measured import ERROR, SCHEDULED, UNSCHEDULABLE, Measured
from shim.scheduler.preemption import Budget, Preemption, not_eligible, preempt
from shim.scheduler.queue import PodQueue
from shim.scheduler.scores import best
from shim.scheduler.snapshot import FINISHED, Node, Pod, Snapshot
from shim.scheduler.volume_binding import NotBound, VolumeBinding
from shim.scheduler.volumes import Choice
from shim.settings import SchedulerSettings

log = logging.getLogger(__name__)

NAME = "kube-scheduler"


async def run(settings: SchedulerSettings, ready: Callable[[], None]) -> None:
    """The scheduler: works until cancelled, and says ``ready`` once it knows the cluster."""
    config = profiles.read(settings.config)
    leads = False

    async def work(done: Callable[[], None]) -> None:
        nonlocal leads
        leads = True
        try:
            await scheduler.run(done)
        finally:
            leads = False

    def families() -> Iterator[Metric]:
        yield from scheduler.measured.families(scheduler.queue.pending())
        if settings.leader_elect:
            yield from of_leadership(NAME, leads)
        yield from REQUESTS.collect()

    async with Client.from_kubeconfig(settings.kubeconfig, user_agent=NAME) as client:
        scheduler = Scheduler(client, config)
        async with showing(settings, client, families):
            await one_of_several(client, NAME, settings.leader_elect, work, ready)


class Scheduler:
    """Places the pods that ask for one of its profiles."""

    def __init__(self, client: Client, config: profiles.Configuration | None = None) -> None:
        self.client = client
        self.snapshot = Snapshot()
        config = config or profiles.Configuration()
        self.profiles = config.profiles
        self.measured = Measured()
        self.queue = PodQueue(config.first_backoff, config.longest_backoff)
        self.recorders = {name: EventRecorder(client, name, platform.node(), series=True) for name in self.profiles}
        self.volumes = VolumeBinding(client, self.snapshot)
        self.eviction = Eviction(client)
        self.budgets = Informer(client, r.PODDISRUPTIONBUDGETS)
        self._tasks: asyncio.TaskGroup
        self._start = 0  # the node to look at first
        self.pods = Informer(client, r.PODS)
        self._informers = [self.pods, self.budgets, *self._follow_what_matters()]
        self.pods.on_change(self._pod_changed)  # after nodes: nothing is decided before all have synced anyway

    def _follow_what_matters(self) -> list[Informer]:
        known: list[tuple[GVR, Callable[[Object | None, Object | None], None]]] = [
            (r.NODES, self._node_changed),
            (r.NAMESPACES, self._namespace_changed),
            (r.PERSISTENTVOLUMECLAIMS, lambda old, new: self._noted(self.snapshot.claims, old, new)),
            (r.PERSISTENTVOLUMES, lambda old, new: self._noted(self.snapshot.volumes, old, new)),
            (r.STORAGECLASSES, lambda old, new: self._noted(self.snapshot.storage_classes, old, new)),
        ]
        informers = []
        for gvr, handler in known:
            informer = Informer(self.client, gvr)
            informer.on_change(handler)
            informers.append(informer)
        return informers

    async def run(self, ready: Callable[[], None]) -> None:
        """Follow the cluster, and schedule until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            for informer in self._informers:
                self._tasks.create_task(informer.run(), name=f"informer {informer.gvr.group_resource}")
            for informer in self._informers:
                await informer.synced()
            ready()
            while True:
                self._schedule(await self.queue.pop())
                await asyncio.sleep(0)  # let the binding of this pod begin before the next decision

    # What is known of the cluster.

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self.snapshot.forget_node(old["metadata"]["name"])
            return
        self.snapshot.show_node(new)
        if old is None:
            self.queue.something_changed("node appeared")
            return
        for change, read in _NODE_CHANGES.items():
            if read(old) != read(new):
                self.queue.something_changed(change)

    def _namespace_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self.snapshot.namespaces.pop(old["metadata"]["name"], None)
        else:
            self.snapshot.namespaces[new["metadata"]["name"]] = new["metadata"].get("labels") or {}
            if old is not None and old["metadata"].get("labels") != new["metadata"].get("labels"):
                self.queue.something_changed("namespace has other labels")

    def _noted(self, known: dict[str, Object], old: Object | None, new: Object | None) -> None:
        if new is not None:
            known[key_of(new)] = new
            self.queue.something_changed("volumes changed")
        elif old is not None:
            known.pop(key_of(old), None)
        self.volumes.changed()

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        assert pod is not None
        key = key_of(pod)
        metadata, spec = pod["metadata"], pod["spec"]
        finished = new is None or (new.get("status") or {}).get("phase") in FINISHED
        node = spec.get("nodeName")
        if finished or node:
            self.snapshot.forget_nomination(metadata["uid"])
        if finished:
            self.queue.remove(key)
            if self.snapshot.where(metadata["uid"]) is not None:
                self.snapshot.remove(metadata["uid"])
                self.queue.something_changed("pod went")
        elif node:
            self.queue.remove(key)
            if self.snapshot.where(metadata["uid"]) != node or old is None or _shape(old) != _shape(pod):
                self.snapshot.place(Pod.of(pod), node)
                self.queue.something_changed("pod was placed")
            else:
                self.snapshot.refresh(metadata["uid"], pod)
        elif (
            profiles.name_of(pod) not in self.profiles
            or spec.get("schedulingGates")
            or metadata.get("deletionTimestamp")
        ):
            self.queue.remove(key)
        elif self.snapshot.where(metadata["uid"]) is not None:
            pass  # its binding is on the way
        elif old is None or key not in self.queue or _shape(old) != _shape(pod):
            if old is None:  # what an earlier scheduler promised it
                self.snapshot.nominate(Pod.of(pod), (pod.get("status") or {}).get("nominatedNodeName"))
            self.queue.add(key, spec.get("priority") or 0)

    # Deciding.

    def _profile_of(self, pod: Pod) -> profiles.Profile:
        return self.profiles[profiles.name_of(pod.obj)]

    def _recorder_of(self, pod: Pod) -> EventRecorder:
        return self.recorders[profiles.name_of(pod.obj)]

    def _schedule(self, key: str) -> None:
        obj = self.pods.get(key)
        if obj is None or obj["spec"].get("nodeName") or obj["metadata"].get("deletionTimestamp"):
            self.queue.remove(key)
            return
        began = perf_counter()
        try:
            pod = Pod.of(obj)
            profile = self._profile_of(pod)
            attempt = Attempt(pod, self.snapshot, filters=profile.filters, defaults=profile.tuning.spread)
            everywhere = refuse_everywhere(attempt)
            nodes, refusals = ([], {}) if everywhere else self._possible(attempt)
            if nodes:
                self._place(attempt, nodes, began)
            else:
                self._refuse(attempt, refusals, everywhere)
                self.measured.attempt(profiles.name_of(obj), UNSCHEDULABLE, began)
        except Exception:  # a pod that cannot even be read must not keep all others from running
            log.exception("pod %s cannot be scheduled", key)
            self.measured.attempt(profiles.name_of(obj), ERROR, began)
            self.queue.retry(key)

    def _possible(self, attempt: Attempt) -> tuple[list[Node], dict[str, Refusal]]:
        """Where the pod can be: where room was made for it, or else wherever it fits; and why not elsewhere."""
        nominated = self.snapshot.node((attempt.pod.obj.get("status") or {}).get("nominatedNodeName") or "")
        if nominated is not None and nominated.obj is not None and refuse_with_nominated(attempt, nominated) is None:
            return [nominated], {}
        nodes, refusals = feasible(attempt, self._start, self._profile_of(attempt.pod).percent)
        self._start = (self._start + len(nodes) + len(refusals)) % max(len(attempt.nodes), 1)
        return nodes, refusals

    def _place(self, attempt: Attempt, nodes: list[Node], began: float) -> None:
        pod = attempt.pod
        node = best(attempt, nodes, self._profile_of(pod).scores)
        assert node.obj is not None
        choice = (attempt.volumes.choose(node.obj) if pod.claims else None) or Choice()
        self.snapshot.place(pod, node.name)
        self.snapshot.forget_nomination(pod.uid)
        self.volumes.assume(choice, node.name)
        self._tasks.create_task(self._bind(pod, node.name, choice, began))

    def _refuse(self, attempt: Attempt, refusals: dict[str, Refusal], everywhere: str | None) -> None:
        """Make room if that is possible, and say what is wrong."""
        pod = attempt.pod
        barred = not_eligible(attempt)
        room: Preemption | None = None
        profile = self._profile_of(pod)
        if not everywhere and not barred and profile.preempts:
            budgets = [Budget.of(each) for each in self.budgets.list()]
            room = preempt(attempt, refusals, budgets, profile.tuning.candidates)
            self.measured.preemption(len(room.victims) if room else None)
        message = messages.unschedulable(
            pod, len(attempt.nodes), refusals, everywhere, made_room=room is not None, not_eligible=barred
        )
        refused_by = {"VolumeBinding"} if everywhere else {refusal.by for refusal in refusals.values()}
        self.queue.failed(pod.key, refused_by)
        nominated = (pod.obj.get("status") or {}).get("nominatedNodeName") if barred else None
        if room is not None:
            nominated = room.node.name
            lesser = [each for each in self.snapshot.nominated(nominated) if each.priority < pod.priority]
            for each in lesser:  # they must look anew
                self.snapshot.forget_nomination(each.uid)
            self._tasks.create_task(self.eviction.evict(room, pod, lesser, self._recorder_of(pod)))
        self.snapshot.nominate(pod, nominated)
        self._tasks.create_task(self._tell(pod, message, nominated))

    async def _bind(self, pod: Pod, node: str, choice: Choice, began: float) -> None:
        metadata = pod.obj["metadata"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": pod.namespace, "uid": pod.uid},
            "target": {"kind": "Node", "name": node},
        }
        try:
            if choice:
                await self.volumes.bind(choice, node, self._profile_of(pod).tuning.bind_timeout)
            await self.client.create(r.PODS, binding, pod.namespace, name=metadata["name"], subresource="binding")
        except Exception as error:
            self.measured.attempt(profiles.name_of(pod.obj), ERROR, began)
            self._not_bound(pod, error)
            return
        finally:
            self.volumes.forget(choice)
        self.measured.attempt(profiles.name_of(pod.obj), SCHEDULED, began)
        self.queue.remove(pod.key)
        message = f"Successfully assigned {pod.key} to {node}"
        self._recorder_of(pod).event(pod.obj, "Normal", "Scheduled", message, action="Binding")

    def _not_bound(self, pod: Pod, error: Exception) -> None:
        """Take the assumption back, unless the pod turns out to be bound after all."""
        seen = self.pods.get(pod.key)
        if seen is not None and seen["metadata"]["uid"] == pod.uid and seen["spec"].get("nodeName"):
            return
        self.snapshot.remove(pod.uid)
        self.queue.something_changed("pod went")
        if isinstance(error, NotBound):
            text = f'running PreBind plugin "VolumeBinding": {error}'
            self._recorder_of(pod).event(pod.obj, "Warning", "FailedScheduling", text, action="Scheduling")
        if seen is None or (isinstance(error, ApiError) and error.code == 404):
            self.queue.remove(pod.key)
            return
        log.warning("pod %s was not bound: %s", pod.key, error)
        self.queue.retry(pod.key)

    async def _tell(self, pod: Pod, message: str, nominated: str | None) -> None:
        """Say why, in an event and in the pod's condition, and where it is going to be; written only when it is new."""
        self._recorder_of(pod).event(pod.obj, "Warning", "FailedScheduling", message, action="Scheduling")
        metadata = pod.obj["metadata"]
        condition: Object = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "observedGeneration": metadata.get("generation"),
        }
        conditions = (pod.obj.get("status") or {}).get("conditions") or ()
        known: Object = next((each for each in conditions if each["type"] == "PodScheduled"), {})
        condition = {name: value for name, value in condition.items() if value is not None}
        before = (pod.obj.get("status") or {}).get("nominatedNodeName")
        if condition.items() <= known.items() and before == nominated:
            return
        since = known.get("lastTransitionTime") if known.get("status") == "False" else None
        condition |= {"lastProbeTime": None, "lastTransitionTime": since or now()}
        patch = {"metadata": {"uid": pod.uid}, "status": {"conditions": [condition], "nominatedNodeName": nominated}}
        try:
            await self.client.patch(
                r.PODS, metadata["name"], patch, pod.namespace, subresource="status", type="strategic"
            )
        except ApiError as error:
            if error.code not in (404, 409):  # gone, or another one of that name by now
                log.warning("pod %s: condition not written: %s", pod.key, error)


_NODE_CHANGES: dict[str, Callable[[Object], object]] = {
    "node has other room": lambda node: (node.get("status") or {}).get("allocatable"),
    "node has other labels": lambda node: node["metadata"].get("labels"),
    "node has other taints": lambda node: (node["spec"].get("taints"), node["spec"].get("unschedulable")),
}


def _shape(pod: Object) -> tuple[object, ...]:
    """What decides where a pod fits, and where others fit beside it."""
    metadata = pod["metadata"]
    spec = {**pod["spec"], "nodeName": None}  # where it is, is known
    return (metadata.get("uid"), metadata.get("labels"), metadata.get("deletionTimestamp"), spec)
