"""How is room made? The victims are told why, and deleted with the time they are given to end."""

from __future__ import annotations

import asyncio
import logging

from shim.api.meta import Object, now
from shim.api.status import ApiError
from shim.client import Client, EventRecorder
from shim.client import resource as r
from shim.scheduler.preemption import Preemption
from shim.scheduler.profiles import name_of
from shim.scheduler.snapshot import Pod

log = logging.getLogger(__name__)


class Eviction:
    """Does what a preemption says."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def evict(self, room: Preemption, preemptor: Pod, displaced: list[Pod], recorder: EventRecorder) -> None:
        """Remove the victims, and take back what was promised to less important pods that waited for the node."""
        await asyncio.gather(
            *(self._remove(victim, preemptor, room.node.name, recorder) for victim in room.victims),
            *(self._patch(pod, {"nominatedNodeName": None}) for pod in displaced),
        )

    async def _remove(self, victim: Pod, preemptor: Pod, node: str, recorder: EventRecorder) -> None:
        if victim.terminating:
            return
        metadata = victim.obj["metadata"]
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": f"{name_of(preemptor.obj)}: preempting to accommodate a higher priority pod",
            "lastTransitionTime": now(),
        }
        await self._patch(victim, {"conditions": [condition]})
        try:
            await self._client.delete(r.PODS, metadata["name"], victim.namespace, uid=victim.uid)
        except ApiError as error:
            if error.code not in (404, 409):
                log.warning("pod %s was not preempted: %s", victim.key, error)
                return
        text = f"Preempted by pod {preemptor.uid} on node {node}"
        recorder.event(victim.obj, "Normal", "Preempted", text, action="Preempting")

    async def _patch(self, pod: Pod, status: Object) -> None:
        patch = {"metadata": {"uid": pod.uid}, "status": status}
        try:
            await self._client.patch(
                r.PODS, pod.obj["metadata"]["name"], patch, pod.namespace, subresource="status", type="strategic"
            )
        except ApiError as error:
            if error.code not in (404, 409):
                log.warning("pod %s: status not written: %s", pod.key, error)
