"""Sending pods away: those that use more disk than they may, and whoever has to go when the node runs short.

One pod at a time is sent away for a shortage, and only when nothing else helped: dead containers and images that
nobody uses go first, where disk is short.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from nodeagent.engine.contract import EngineError
from nodeagent.kubelet import imagegc, resources
from nodeagent.kubelet.context import Node
from nodeagent.kubelet.eviction import observe, ranking, thresholds
from nodeagent.kubelet.eviction.thresholds import SIGNALS, Observation, Threshold
from nodeagent.kubelet.podworker import PodWorker, living
from nodeagent.kubelet.status import Verdict

log = logging.getLogger(__name__)

LOOK_EVERY = 10.0  # as upstream
AT_ONCE = 1  # seconds a pod has to end for a hard threshold
PATIENCE = 30.0  # for a pod to be gone, until the next one has to go


class Evictions:
    """``conditions``: what this node is short of, as its Node object says."""

    def __init__(
        self,
        node: Node,
        workers: Callable[[], Iterable[PodWorker]],
        changed: Callable[[], None],
        *,
        read: Callable[[], Mapping[str, Observation]] | None = None,
        every: float = LOOK_EVERY,
    ) -> None:
        settings = node.settings
        self._node, self._workers, self._changed, self._every = node, workers, changed, every
        self._read = read or (lambda: observe.signals(settings.data_dir, settings.image_dir))
        self._thresholds = thresholds.with_allocatable(settings.thresholds())
        self._transition = settings.eviction_pressure_transition_seconds
        self._crossed: dict[Threshold, float] = {}  # since when
        self._short_at: dict[str, float] = {}  # condition -> when it was last true
        self.conditions: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            sent = False
            try:
                sent = await self.look()
            except (OSError, EngineError) as error:
                log.warning("cannot tell what this node is short of: %s", error)
            if not sent:
                await asyncio.sleep(self._every)

    async def look(self) -> bool:
        """Send away who uses too much, or else whom a shortage asks for; whether anybody was."""
        seen = await self._seen()
        crossed = thresholds.crossed(self._thresholds, seen, self._crossed)
        now = time.monotonic()
        self._crossed = {threshold: self._crossed.get(threshold, now) for threshold in crossed}
        self._tell_conditions(now)
        if await self._local_limits():
            return True
        due = [threshold for threshold in crossed if now - self._crossed[threshold] >= threshold.grace]
        return bool(due) and await self._reclaim(due, seen)

    async def _seen(self) -> dict[str, Observation]:
        room = self._node.groups.room["memory"].value
        used = (await self._node.engine.node_usage())["memory_bytes"]
        pods = Observation(max(0, room - used), room)
        return {thresholds.ALLOCATABLE: pods, **await asyncio.to_thread(self._read)}

    def _tell_conditions(self, now: float) -> None:
        """A shortage is told at once, its end only after a while, lest pods come and go."""
        for threshold in self._crossed:
            self._short_at[SIGNALS[threshold.signal].condition] = now
        self._short_at = {name: at for name, at in self._short_at.items() if now - at <= self._transition}
        conditions = frozenset(self._short_at)
        if conditions != self.conditions:
            self.conditions = conditions
            self._changed()

    async def _local_limits(self) -> bool:
        gone = []
        for worker in living(self._workers()):
            if ranking.limits_disk(worker.state.pod):
                use = await observe.pod_use(self._node, worker.state.pod)
                message, counted_as = ranking.over_local_limit(worker.state.pod, use)
                if message:
                    gone.append(self._evict(worker, Verdict("Evicted", message, AT_ONCE), counted_as))
        return any(gone)

    async def _reclaim(self, due: Sequence[Threshold], seen: Mapping[str, Observation]) -> bool:
        first = due[0]
        resource = SIGNALS[first.signal].resource
        self._node.recorder.event(
            self._node.reference, "Warning", "EvictionThresholdMet", f"Attempting to reclaim {resource}"
        )
        if resource in ("ephemeral-storage", "inodes") and await self._reclaim_disk():
            return False
        workers = {worker.state.uid: worker for worker in living(self._workers())}
        pods = [worker.state.pod for worker in workers.values()]
        uses = {pod["metadata"]["uid"]: await observe.pod_use(self._node, pod) for pod in pods}
        for pod in ranking.ranked(pods, uses, resource):
            worker = workers[pod["metadata"]["uid"]]
            message, notes = ranking.pressure_message(pod, uses[worker.state.uid], resource, due, seen)
            verdict = Verdict("Evicted", message, self._grace(first, worker), disruption=message)
            if self._evict(worker, verdict, first.signal, notes):
                await asyncio.wait([asyncio.ensure_future(worker.ended())], timeout=PATIENCE)
                return True
        log.warning("this node is short of %s, and there is nobody to send away", resource)
        return False

    def _grace(self, threshold: Threshold, worker: PodWorker) -> int:
        if not threshold.grace:
            return AT_ONCE
        own = worker.state.pod["spec"].get("terminationGracePeriodSeconds")
        return min(self._node.settings.eviction_max_pod_grace_period, int(own if own is not None else 30))

    async def _reclaim_disk(self) -> bool:
        """Whether it was enough to remove what nobody needs: no threshold is crossed any more, nor nearly."""
        await imagegc.remove_unused(self._node)
        return not thresholds.crossed(self._thresholds, await self._seen(), self._thresholds)

    def _evict(self, worker: PodWorker, verdict: Verdict, signal: str, notes: Mapping[str, str] | None = None) -> bool:
        """Whether it goes. ``notes`` are annotations of the event."""
        pod = worker.state.pod
        if resources.is_critical(pod):
            log.error("pod %s is critical: it is not sent away", pod["metadata"]["name"])
            return False
        worker.state.tell("Warning", verdict.reason, verdict.message, notes=notes)
        worker.evict(verdict)
        self._node.evicted[signal] += 1
        return True
