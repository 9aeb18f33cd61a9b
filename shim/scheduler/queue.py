"""Which pod is next? Ready ones by priority and age; those that fit nowhere wait for something to change.

- A pod that failed is tried again only after a change that might help it, by what refused it, and never before its
  back-off is over.
- The back-off doubles with each failure; a pod that waits long is tried anyway, in case a change was missed.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Set
from dataclasses import dataclass

FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 10.0
LONGEST_WAIT = 60.0  # repairs a change that was missed

_VOLUMES = frozenset({"VolumeBinding", "VolumeRestrictions", "VolumeZone"})
_COMPANY = frozenset({"InterPodAffinity", "PodTopologySpread"})

HELPS: dict[str, Set[str] | None] = {
    "node appeared": None,
    "node has other room": frozenset({"NodeResourcesFit"}),
    "node has other labels": frozenset({"NodeAffinity", *_COMPANY, *_VOLUMES}),
    "node has other taints": frozenset({"NodeUnschedulable", "TaintToleration", "PodTopologySpread"}),
    "pod was placed": _COMPANY,
    "pod went": frozenset({"NodeResourcesFit", "NodePorts", *_COMPANY, *_VOLUMES}),
    "namespace has other labels": frozenset({"InterPodAffinity"}),
    "volumes changed": _VOLUMES,
}
"""Which filters may answer otherwise after a change; None: any. Upstream calls these queueing hints."""


@dataclass(slots=True)
class _Waiting:
    """A pod that is to be scheduled, wherever it waits."""

    key: str
    priority: int
    order: int
    failures: int = 0
    not_before: float = 0.0
    ready: bool = False
    timer: asyncio.TimerHandle | None = None
    refused_by: Set[str] = frozenset()  # nobody: anything may help


class PodQueue:
    """Keys of pods, in three places: ready, backing off, or waiting for a change."""

    def __init__(self, first: float = FIRST_BACKOFF, longest: float = LONGEST_BACKOFF) -> None:
        self._first, self._longest = first, longest
        self._pods: dict[str, _Waiting] = {}
        self._ready: list[tuple[int, int, str]] = []
        self._order = itertools.count()
        self._any = asyncio.Event()

    def __contains__(self, key: str) -> bool:
        return key in self._pods

    def add(self, key: str, priority: int = 0) -> None:
        """Try this pod now: it is new, or it was changed in what decides where it fits."""
        pod = self._pods.get(key)
        if pod is None:
            pod = self._pods[key] = _Waiting(key, priority, next(self._order))
        pod.priority = priority
        self._make_ready(pod)

    def remove(self, key: str) -> None:
        """It is deleted, or has its place."""
        pod = self._pods.pop(key, None)
        if pod is not None and pod.timer is not None:
            pod.timer.cancel()

    async def pop(self) -> str:
        """The next pod to try. It stays known until removed; say ``failed`` or ``retry`` when it was not placed."""
        while True:
            while self._ready:
                _, _, key = heapq.heappop(self._ready)
                pod = self._pods.get(key)
                if pod is not None and pod.ready:
                    pod.ready = False
                    return key
            self._any.clear()
            await self._any.wait()

    def pending(self) -> dict[str, int]:
        """How many wait: to be tried, for their back-off to end, or for a change that helps."""
        found = {"active": 0, "backoff": 0, "unschedulable": 0}
        for pod in self._pods.values():
            if pod.ready:
                found["active"] += 1
            elif pod.timer is not None:
                found["unschedulable" if pod.timer.when() > pod.not_before else "backoff"] += 1
        return found

    def failed(self, key: str, refused_by: Set[str] = frozenset()) -> None:
        """It fits nowhere, these filters say: wait for a change."""
        pod = self._fail(key)
        if pod is not None:
            pod.refused_by = refused_by
            self._ready_at(pod, asyncio.get_running_loop().time() + LONGEST_WAIT)

    def retry(self, key: str) -> None:
        """It failed for no reason of its own (the server did not answer): try again after its back-off."""
        pod = self._fail(key)
        if pod is not None:
            self._ready_at(pod, pod.not_before)

    def something_changed(self, change: str) -> None:
        """Try what waits and may be helped by this, as soon as its back-off is over."""
        helped = HELPS[change]
        for pod in self._pods.values():
            if pod.refused_by and helped is not None and pod.refused_by.isdisjoint(helped):
                continue
            if pod.timer is not None and pod.timer.when() > pod.not_before:
                self._ready_at(pod, pod.not_before)

    def _fail(self, key: str) -> _Waiting | None:
        pod = self._pods.get(key)
        if pod is None or pod.ready:  # changed while it was tried: it goes again at once
            return None
        pod.not_before = asyncio.get_running_loop().time() + min(self._longest, self._first * 2**pod.failures)
        pod.failures = min(pod.failures + 1, 30)
        return pod

    def _ready_at(self, pod: _Waiting, when: float) -> None:
        if pod.timer is not None:
            pod.timer.cancel()
            pod.timer = None
        loop = asyncio.get_running_loop()
        if when <= loop.time():
            self._make_ready(pod)
        else:
            pod.timer = loop.call_at(when, self._make_ready, pod)

    def _make_ready(self, pod: _Waiting) -> None:
        if pod.timer is not None:
            pod.timer.cancel()
            pod.timer = None
        if not pod.ready and self._pods.get(pod.key) is pod:
            pod.ready = True
            heapq.heappush(self._ready, (-pod.priority, pod.order, pod.key))
            self._any.set()
