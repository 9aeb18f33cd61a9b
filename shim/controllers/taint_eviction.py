"""Which pods must leave a node? Those that do not tolerate its NoExecute taints, or only for so long.

A toleration's seconds count from when the taint was added, so that a restart of this controller gives nobody more.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterable

from shim.api import placement
from shim.api.meta import Object, key_of, now, parse_time
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.loop import Context, Controller

log = logging.getLogger(__name__)

FINISHED = ("Succeeded", "Failed")


def seconds_left(taints: Iterable[Object], tolerations: Iterable[Object], at: datetime.datetime) -> float | None:
    """How long the pod may stay: 0 or less is over, None is for ever."""
    tolerations = list(tolerations)
    left: float | None = None
    for taint in taints:
        if taint.get("effect") != "NoExecute":
            continue
        used = [toleration for toleration in tolerations if placement.tolerates_one(toleration, taint)]
        if not used:
            return 0.0
        limits = [each["tolerationSeconds"] for each in used if each.get("tolerationSeconds") is not None]
        if limits:
            stayed = (at - parse_time(taint["timeAdded"])).total_seconds() if taint.get("timeAdded") else 0.0
            rest = max(0, min(limits)) - stayed
            left = rest if left is None else min(left, rest)
    return left


class TaintEvictionController(Controller):
    """Deletes pods from nodes that expel them."""

    name = "taint-eviction-controller"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.nodes = ctx.informer(r.NODES)
        self.pods = ctx.informer(r.PODS)
        self.pods.add_indexer("node", lambda pod: [pod["spec"].get("nodeName") or ""])
        self.recorder = ctx.recorder("taint-eviction-controller")
        self.nodes.on_change(self.node_changed)
        self.pods.on_change(self.pod_changed)

    def node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and _expelling(new) != (_expelling(old) if old is not None else []):
            for pod in self.pods.by("node", new["metadata"]["name"]):
                self.queue.add(key_of(pod))

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and new["spec"].get("nodeName"):
            node = self.nodes.get(new["spec"]["nodeName"])
            if node is not None and _expelling(node):
                self.queue.add(key_of(new))

    async def reconcile(self, key: str) -> None:
        pod = self.pods.get(key)
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            return
        node = self.nodes.get(pod["spec"].get("nodeName") or "")
        if node is None or (pod.get("status") or {}).get("phase") in FINISHED:
            return
        at = datetime.datetime.now(datetime.UTC)
        left = seconds_left(_expelling(node), pod["spec"].get("tolerations") or (), at)
        if left is None:
            return
        if left > 0:
            self.queue.add_after(key, left)
            return
        await self.evict(pod)

    async def evict(self, pod: Object) -> None:
        metadata = pod["metadata"]
        self.recorder.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key_of(pod)}")
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": now(),
        }
        patch = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [condition]}}
        try:
            await self.ctx.client.patch(
                r.PODS, metadata["name"], patch, metadata["namespace"], subresource="status", type="strategic"
            )
            await self.ctx.client.delete(r.PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except ApiError as error:
            if error.code != 404:
                raise
        log.info("pod %s left node %s", key_of(pod), pod["spec"]["nodeName"])


def _expelling(node: Object) -> list[Object]:
    return [taint for taint in node["spec"].get("taints") or () if taint.get("effect") == "NoExecute"]
