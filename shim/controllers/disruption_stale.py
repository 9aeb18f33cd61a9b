"""Was a pod told that it must go, and nobody deleted it? Then its condition DisruptionTarget is taken back.

Whoever removes a pod says so in the condition first; if it dies between the two, the pod would be marked for ever.
"""

from __future__ import annotations

import datetime

from shim.api import conditions
from shim.api.meta import Object, key_of, now, parse_time
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.loop import Context, Controller
from shim.controllers.pod_readiness import is_deleted, is_finished

TARGET = "DisruptionTarget"
PATIENCE = 120.0  # seconds until nobody is expected to come any more, as upstream


class StaleDisruptions(Controller):
    """Follows pods that are marked."""

    name = "stale-disruption"
    workers = 1

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.pods = ctx.informer(r.PODS)
        self.pods.on_change(self.changed)

    def changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (marked := _marked_since(new)) is not None:
            self.queue.add_after(key_of(new), max(PATIENCE - _age(marked), 0))

    async def reconcile(self, key: str) -> None:
        pod = self.pods.get(key)
        marked = _marked_since(pod) if pod is not None else None
        if pod is None or marked is None:
            return
        if (wait := PATIENCE - _age(marked)) > 0:
            self.queue.add_after(key, wait)
            return
        metadata = pod["metadata"]
        taken_back = {"type": TARGET, "status": "False", "reason": None, "message": None, "lastTransitionTime": now()}
        patch = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [taken_back]}}
        try:
            await self.ctx.client.patch(
                r.PODS, metadata["name"], patch, metadata["namespace"], subresource="status", type="strategic"
            )
        except ApiError as error:
            if error.code not in (404, 409):  # gone, or another one of that name by now
                raise


def _marked_since(pod: Object) -> str | None:
    """When the pod was marked, if that may be stale. A kubelet takes its time, and one that has ended is no matter."""
    found = conditions.find(pod, TARGET)
    if found is None or found.get("status") != "True" or found.get("reason") == "TerminationByKubelet":
        return None
    return None if is_deleted(pod) or is_finished(pod) else str(found.get("lastTransitionTime") or now())


def _age(time: str) -> float:
    return (datetime.datetime.now(datetime.UTC) - parse_time(time)).total_seconds()
