"""An orderly end of the node's pods before its machine goes down (KEP-2000, KEP-2712).

Pods of the lowest priority go first and have their time, those of the next follow, and what is critical comes last.
The node says meanwhile that it is not ready, and takes no more pods. ``nodeagent.poweroff`` knows who asks for it.
"""

from __future__ import annotations

import asyncio
import bisect
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nodeagent.kubelet.context import Node
from nodeagent.kubelet.eviction import thresholds
from nodeagent.kubelet.podworker import PodWorker, living
from nodeagent.kubelet.resources import CRITICAL
from nodeagent.kubelet.status import Verdict
from nodeagent.settings import NodeAgentSettings
from shim.api.meta import Object

log = logging.getLogger(__name__)

REASON = "Terminated"
MESSAGE = "Pod was terminated in response to imminent node shutdown."
REFUSED = Verdict("NodeShutdown", "Pod was rejected as the node is shutting down.")
LONGEST_FLUSH = 3.0  # for the API to hear of a group's end, before the next group's


@dataclass(frozen=True, slots=True)
class Period:
    """Pods from this priority on, up to the next period's, have so many seconds."""

    priority: int
    seconds: int


def periods(settings: NodeAgentSettings) -> list[Period]:
    """The lowest priority first; none: nothing is done at a shutdown. Raises ValueError."""
    if settings.shutdown_grace_period_by_pod_priority:
        told = thresholds.split(settings.shutdown_grace_period_by_pod_priority, "=")
        return sorted((Period(int(name), _seconds(value)) for name, value in told), key=lambda each: each.priority)
    whole = _seconds(settings.shutdown_grace_period)
    critical = _seconds(settings.shutdown_grace_period_critical_pods)
    if critical > whole:
        raise ValueError(f"critical pods cannot have {critical} s of {whole} s at a shutdown")
    return [Period(0, whole - critical), Period(CRITICAL, critical)] if whole else []


def _seconds(text: str) -> int:
    return int(thresholds.seconds(text))


def grouped(pods: Iterable[Object], known: Sequence[Period]) -> list[tuple[Period, list[Object]]]:
    """Which pods go together; those below the lowest priority go with it. Pure."""
    starts = [period.priority for period in known]
    groups: list[list[Object]] = [[] for _ in known]
    for pod in pods:
        place = bisect.bisect_right(starts, int(pod["spec"].get("priority") or 0)) - 1
        groups[max(0, place)].append(pod)
    return [(period, group) for period, group in zip(known, groups, strict=True) if group]


class Shutdown:
    """``under_way`` from the moment it is asked for until it is called off."""

    def __init__(
        self,
        node: Node,
        workers: Callable[[], Iterable[PodWorker]],
        happened: Callable[[str, str], None],
        changed: Callable[[], None],
    ) -> None:
        """``happened`` records an event about the node; ``changed`` is called when its readiness is another."""
        self._node, self._workers, self._happened, self._changed = node, workers, happened, changed
        self.periods = periods(node.settings)
        self.under_way = False

    @property
    def longest(self) -> int:
        """Seconds it takes at most; 0: nothing is done."""
        return sum(period.seconds for period in self.periods)

    async def begin(self) -> None:
        """End the pods; back when that is done, or their time is over."""
        if not self.periods:
            log.warning("the machine shuts down: its pods are given no time, for there is no --shutdown-grace-period")
            return
        if self.under_way:
            return
        self.under_way = True
        self._node.went_down = (time.time(), 0.0)
        self._happened("NodeShutdown", "Shutdown manager detected shutdown event")
        self._changed()
        workers = {worker.state.uid: worker for worker in living(self._workers())}
        for period, pods in grouped([worker.state.pod for worker in workers.values()], self.periods):
            group = [workers[pod["metadata"]["uid"]] for pod in pods]
            log.info("%d pods from priority %d on have %d s to end", len(group), period.priority, period.seconds)
            for worker in group:
                own = worker.state.pod["spec"].get("terminationGracePeriodSeconds")
                grace = min(period.seconds, int(own if own is not None else 30))
                worker.evict(Verdict(REASON, MESSAGE, grace, disruption=MESSAGE))
            try:
                async with asyncio.timeout(period.seconds + 1):
                    await asyncio.gather(*(worker.ended() for worker in group))
            except TimeoutError:
                log.warning("not all pods of priority %d have ended in time", period.priority)
            await asyncio.gather(*(worker.state.flush(LONGEST_FLUSH) for worker in group))
        self._node.went_down = (self._node.went_down[0], time.time())

    def cancel(self) -> None:
        """The machine does not go down after all; the pods that have ended stay so."""
        if self.under_way:
            self.under_way = False
            self._happened("NodeShutdown", "Shutdown manager detected shutdown cancellation")
            self._changed()
