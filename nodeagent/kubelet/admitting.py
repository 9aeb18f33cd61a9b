"""At the node's door: a pod is admitted, refused for good, or let in because others make room for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from nodeagent.kubelet import admission, apparmor, preemption, resources, sysctls
from nodeagent.kubelet.context import Node
from nodeagent.kubelet.eviction import ranking
from nodeagent.kubelet.eviction.evictions import Evictions
from nodeagent.kubelet.names import grace_of
from nodeagent.kubelet.node import NodeObject
from nodeagent.kubelet.phase import TERMINAL
from nodeagent.kubelet.podworker import PodWorker
from nodeagent.kubelet.resources import Amounts
from nodeagent.kubelet.shutdown import REFUSED, Shutdown
from nodeagent.kubelet.status import Verdict
from nodeagent.linux import apparmor as kernel_apparmor
from shim.api.meta import Object

log = logging.getLogger(__name__)


class Door:
    """Asked once for each pod, before anything is made for it."""

    def __init__(
        self,
        node: Node,
        node_object: NodeObject,
        workers: Mapping[str, PodWorker],
        evictions: Evictions,
        shutdown: Shutdown,
    ) -> None:
        self._node, self._object, self._workers = node, node_object, workers
        self._evictions, self._shutdown = evictions, shutdown

    def refusal(self, uid: str, pod: Object) -> Verdict | None:
        """Why this node does not admit the pod; one that was here before is not asked again."""
        over = pod["metadata"].get("deletionTimestamp") or (pod.get("status") or {}).get("phase") in TERMINAL
        if over or self._node.inventory.sandboxes(uid):
            return None
        if why := ranking.refusal(pod, self._evictions.conditions):
            return Verdict("Evicted", why)  # a node that is short takes no more pods that make it worse
        if self._shutdown.under_way:
            return REFUSED
        if (forbidden := sysctls.refusal(pod, self._node.settings.allowed_unsafe_sysctls)) is not None:
            return forbidden
        if (refused := admission.refusal(pod, self._object.known, self._others(uid), self._requested(uid))) is not None:
            return refused
        return apparmor.refusal(pod, enabled=kernel_apparmor.enabled())

    async def reconsider(self, worker: PodWorker, refused: Verdict) -> Verdict | None:
        """Whether it stays refused: the Node may be another by now, or a critical pod be worth others."""
        uid, pod = worker.state.uid, worker.state.pod
        if refused.reason in admission.OF_THE_NODE:
            await self._object.see()  # the Node may have been changed for this very pod
            return self.refusal(uid, pod)
        if not refused.reason.startswith(admission.SHORT_OF) or not resources.is_critical(pod):
            return refused
        missing = admission.missing(pod, self._object.known, len(self._others(uid)), self._requested(uid))
        if (other := admission.misfit(pod, self._object.known, self._others(uid))) is not None:
            return other  # room would not help
        return await self._make_room(pod, self._others(uid), missing)

    async def _make_room(self, pod: Object, others: list[Object], missing: Mapping[str, int]) -> Verdict | None:
        try:
            victims = preemption.victims(pod, others, missing)
        except preemption.NoVictims as error:
            why = f"preemption: error finding a set of pods to preempt: {error}"
            said = f"Unexpected error while attempting to recover from admission failure: {why}"
            return Verdict("UnexpectedAdmissionError", said)
        gone = [self._workers[victim["metadata"]["uid"]] for victim in victims]
        for worker in gone:
            log.info("pod %s goes, to make room for %s", worker.state.pod["metadata"]["name"], pod["metadata"]["name"])
            worker.state.tell("Warning", preemption.REASON, preemption.MESSAGE)
            grace = grace_of(worker.state.pod)
            worker.evict(Verdict(preemption.REASON, preemption.MESSAGE, grace, disruption=preemption.DISRUPTION))
        await asyncio.gather(*(worker.ended() for worker in gone))
        return None

    def _others(self, uid: str) -> list[Object]:
        states = [worker.state for worker in self._workers.values()]
        return [state.pod for state in states if state.uid != uid and not state.ended]

    def _requested(self, uid: str) -> list[Amounts]:
        return [amounts for other, amounts in self._node.requested.items() if other != uid]
