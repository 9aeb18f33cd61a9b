"""Is a node still there? One whose lease is no longer renewed becomes Unknown, and its condition becomes its taints.

- A node is lost when nothing was heard of it for the grace period, by this process' clock: clocks may differ.
- Taints only ever follow conditions: ``not-ready`` for Ready=False, ``unreachable`` for Ready=Unknown.
- Pods on a lost node are not ready: nobody can say that they are. Evicting them is ``taint_eviction``'s work.
"""

from __future__ import annotations

import asyncio
import copy
import logging

from shim.api import conditions
from shim.api.meta import Object, key_of, now
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.loop import Context, Controller

log = logging.getLogger(__name__)

LEASES = "kube-node-lease"
STARTUP_GRACE = 60.0  # upstream's: a node that never spoke may take longer to
REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
OF_READY = {"False": NOT_READY, "Unknown": UNREACHABLE}
OF_CONDITION = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
OWN = {NOT_READY, UNREACHABLE, UNSCHEDULABLE, *OF_CONDITION.values()}


def wanted_taints(node: Object) -> list[Object]:
    """The node's taints as its conditions and ``spec.unschedulable`` demand; others, and when they began, are kept."""
    keys: list[tuple[str, str]] = []
    ready = conditions.find(node, "Ready")
    of_ready = OF_READY.get(ready["status"]) if ready else None
    if of_ready:
        keys.append((of_ready, "NoSchedule"))
    elif ready is None:
        keys.append((NOT_READY, "NoSchedule"))  # born with it; nobody has run on it yet who could be expelled
    keys += [(key, "NoSchedule") for type_, key in OF_CONDITION.items() if conditions.is_true(node, type_)]
    if node["spec"].get("unschedulable"):
        keys.append((UNSCHEDULABLE, "NoSchedule"))
    if of_ready:
        keys.append((of_ready, "NoExecute"))
    present = node["spec"].get("taints") or []
    kept = [
        taint
        for taint in present
        if taint["key"] not in OWN
        or (taint["key"], taint["effect"]) in keys
        or (taint["effect"] == "NoExecute" and taint["key"] not in OF_READY.values())
    ]
    there = {(taint["key"], taint["effect"]) for taint in kept}
    fresh = [{"key": key, "effect": effect, "timeAdded": now()} for key, effect in keys if (key, effect) not in there]
    return kept + fresh


def lost(node: Object) -> list[Object]:
    """The node's conditions once nobody speaks for it any more."""
    status = copy.deepcopy((node.get("status") or {}).get("conditions") or [])
    for type_ in REPORTED:
        known = next((condition for condition in status if condition["type"] == type_), None)
        if known is None:
            reason, message = "NodeStatusNeverUpdated", "Kubelet never posted node status."
        elif known["status"] == "Unknown":
            continue
        else:
            reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
        conditions.set_condition(status, type_, "Unknown", reason, message)
    return status


class NodeLifecycleController(Controller):
    """Watches leases and conditions; writes Unknown conditions, taints, and Ready=False of pods on lost nodes."""

    name = "node-lifecycle"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.grace = ctx.settings.node_monitor_grace_period
        self.nodes = ctx.informer(r.NODES)
        self.leases = ctx.informer(r.LEASES)
        self.pods = ctx.informer(r.PODS)
        self.pods.add_indexer("node", lambda pod: [pod["spec"].get("nodeName") or ""])
        self.recorder = ctx.recorder("node-controller")
        self.heard: dict[str, float] = {}
        self.nodes.on_change(self.node_changed)
        self.leases.on_change(self.lease_changed)

    def node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            name = old["metadata"]["name"]
            self.heard.pop(name, None)
            told = f"Node {name} event: Removing Node {name} from Controller"
            self.recorder.event(old, "Normal", "RemovingNode", told)
            return
        name = new["metadata"]["name"]
        if old is None:
            told = f"Node {name} event: Registered Node {name} in Controller"
            self.recorder.event(new, "Normal", "RegisteredNode", told)
        if old is None or _heartbeat(old) != _heartbeat(new):
            self.heard[name] = asyncio.get_running_loop().time()
        self.queue.add(name)

    def lease_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and new["metadata"]["namespace"] == LEASES:
            before = old["spec"].get("renewTime") if old is not None else None
            if new["spec"].get("renewTime") != before:
                self.heard[new["metadata"]["name"]] = asyncio.get_running_loop().time()

    async def reconcile(self, key: str) -> None:
        node = self.nodes.get(key)
        if node is None:
            return
        # while the server was away nobody could be heard: silence begins when it is back
        silent = asyncio.get_running_loop().time() - max(self.heard[key], self.leases.following_since)
        ready = conditions.find(node, "Ready")
        grace = self.grace if ready is not None else max(self.grace, STARTUP_GRACE)
        if silent >= grace and (ready is None or ready["status"] != "Unknown"):
            node = await self.mark_lost(node)
            log.warning("node %s: nothing heard for %.0f s", key, silent)
        await self.taint(node)
        if not conditions.is_true(node, "Ready"):
            await self.pods_not_ready(node)
        # A lost node is looked at again too: its pods may still be written to by others.
        self.queue.add_after(key, max(grace - silent, 1.0) if silent < grace else self.grace)

    async def mark_lost(self, node: Object) -> Object:
        name = node["metadata"]["name"]
        self.recorder.event(node, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        status = {**(node.get("status") or {}), "conditions": lost(node)}
        # with the resourceVersion we know: if the node speaks at this moment, it is right and we are not
        return await self.ctx.client.update(r.NODES, {**node, "status": status}, subresource="status")

    async def taint(self, node: Object) -> None:
        wanted = wanted_taints(node)
        metadata = node["metadata"]
        if wanted == (node["spec"].get("taints") or []):
            return
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": {"taints": wanted or None}}
        await self.ctx.client.patch(r.NODES, metadata["name"], patch, type="merge")

    async def pods_not_ready(self, node: Object) -> None:
        for pod in self.pods.by("node", node["metadata"]["name"]):
            ready = conditions.find(pod, "Ready")
            if ready is None or ready["status"] != "True":
                continue
            status = copy.deepcopy(pod["status"])
            for condition in status["conditions"]:
                if condition["type"] == "Ready":
                    condition |= {"status": "False", "lastTransitionTime": now()}
            self.recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")
            try:
                await self.ctx.client.update(r.PODS, {**pod, "status": status}, subresource="status")
            except ApiError as error:
                if error.code != 404:
                    raise
            log.debug("pod %s is not ready: its node is lost", key_of(pod))


def _heartbeat(node: Object) -> object:
    ready = conditions.find(node, "Ready")
    if ready is None or ready["status"] == "Unknown":  # what we wrote ourselves is no sign of life
        return None
    return ready.get("lastHeartbeatTime")
