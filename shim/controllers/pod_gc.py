"""Which pods has everybody forgotten? Those of nodes that are gone, and finished ones beyond a number."""

from __future__ import annotations

import asyncio
import logging

from shim.api.meta import Object, key_of, now
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.loop import Context, Controller

log = logging.getLogger(__name__)

SWEEP = 20.0  # upstream's period
QUARANTINE = 40.0  # a node that registers anew within this time keeps its pods
FINISHED_KEPT = 12_500  # upstream's --terminated-pod-gc-threshold
FINISHED = ("Succeeded", "Failed")
ALL = "all pods"


class PodGcController(Controller):
    """Sweeps all pods from time to time: one key stands for all of them."""

    name = "pod-garbage-collector"
    workers = 1

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.nodes = ctx.informer(r.NODES)
        self.pods = ctx.informer(r.PODS)
        self.missing: dict[str, float] = {}  # node name -> since when it is not there

    async def run(self) -> None:
        self.queue.add(ALL)
        await super().run()

    async def reconcile(self, key: str) -> None:
        self.queue.add_after(key, SWEEP)
        pods = self.pods.list()
        gone = await self.gone_nodes({pod["spec"].get("nodeName") or "" for pod in pods} - {""})
        for pod in pods:
            node = pod["spec"].get("nodeName")
            if node in gone:
                await self.remove(pod, "PodGC: node no longer exists")
            elif not node and pod["metadata"].get("deletionTimestamp"):
                await self.remove(pod, "PodGC: unscheduled terminating pod")
        finished = [pod for pod in pods if _phase(pod) in FINISHED]
        finished.sort(key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        for pod in finished[: max(0, len(finished) - FINISHED_KEPT)]:
            await self.remove(pod)

    async def gone_nodes(self, named: set[str]) -> set[str]:
        """Of the nodes that pods name, those that are missing for long, and truly."""
        present = asyncio.get_running_loop().time()
        absent = {name for name in named if self.nodes.get(name) is None}
        self.missing = {name: self.missing.get(name, present) for name in absent}
        gone = set()
        for name, since in self.missing.items():
            if present - since >= QUARANTINE:
                try:
                    await self.ctx.client.get(r.NODES, name)
                except ApiError as error:
                    if error.code != 404:
                        raise
                    gone.add(name)
        return gone

    async def remove(self, pod: Object, why: str = "") -> None:
        """Delete at once; a pod that did not finish is said to have failed first, for whoever counts it."""
        metadata = pod["metadata"]
        try:
            if why and _phase(pod) not in FINISHED:
                condition = {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "DeletionByPodGC",
                    "message": why,
                    "lastTransitionTime": now(),
                }
                patch = {"metadata": {"uid": metadata["uid"]}, "status": {"phase": "Failed", "conditions": [condition]}}
                await self.ctx.client.patch(
                    r.PODS, metadata["name"], patch, metadata["namespace"], subresource="status", type="strategic"
                )
            await self.ctx.client.delete(
                r.PODS, metadata["name"], metadata["namespace"], grace_period=0, uid=metadata["uid"]
            )
            log.info("pod %s removed: %s", key_of(pod), why or "enough finished pods are kept")
        except ApiError as error:
            if error.code not in (404, 409):  # gone, or another one of that name
                log.warning("pod %s not removed: %s", key_of(pod), error)


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "")
