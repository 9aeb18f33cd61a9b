"""Which pods has everybody forgotten? Those of nodes that are gone or out of service, and too many finished ones."""

from __future__ import annotations

import asyncio
import logging

from shim.api import conditions
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
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


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
        out = {key_of(node) for node in self.nodes.list() if is_out_of_service(node)}
        for pod in pods:
            node = pod["spec"].get("nodeName")
            if node in out and pod["metadata"].get("deletionTimestamp"):
                await self.remove(pod, "its node is out of service")
            elif node in gone:
                await self.remove(pod, "its node is gone", disrupted=True)
            elif not node and pod["metadata"].get("deletionTimestamp"):
                await self.remove(pod, "no node will ever stop it")
        for pod in surplus(pods, FINISHED_KEPT):
            await self.remove(pod, "enough finished pods are kept")

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

    async def remove(self, pod: Object, why: str, *, disrupted: bool = False) -> None:
        """Delete at once; a pod that did not finish is said to have failed first, for whoever counts it."""
        metadata = pod["metadata"]
        try:
            if _phase(pod) not in FINISHED:
                status: Object = {"phase": "Failed"}
                if disrupted:
                    condition = {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "DeletionByPodGC",
                        "message": "PodGC: node no longer exists",
                        "lastTransitionTime": now(),
                    }
                    status["conditions"] = [condition]
                patch = {"metadata": {"uid": metadata["uid"]}, "status": status}
                await self.ctx.client.patch(
                    r.PODS, metadata["name"], patch, metadata["namespace"], subresource="status", type="strategic"
                )
            await self.ctx.client.delete(
                r.PODS, metadata["name"], metadata["namespace"], grace_period=0, uid=metadata["uid"]
            )
            log.info("pod %s removed: %s", key_of(pod), why)
        except ApiError as error:
            if error.code not in (404, 409):  # gone, or another one of that name
                log.warning("pod %s not removed: %s", key_of(pod), error)


def is_out_of_service(node: Object) -> bool:
    """Whether somebody vouches that nothing runs on the node any more, and it does not say otherwise itself."""
    marked = any(taint["key"] == OUT_OF_SERVICE for taint in node["spec"].get("taints") or ())
    return marked and not conditions.is_true(node, "Ready")


def surplus(pods: list[Object], kept: int) -> list[Object]:
    """The finished pods beyond the newest ``kept``, oldest first."""
    finished = [pod for pod in pods if _phase(pod) in FINISHED]
    finished.sort(key=lambda pod: (str(pod["metadata"]["creationTimestamp"]), key_of(pod)))
    return finished[: max(0, len(finished) - kept)]


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "")
