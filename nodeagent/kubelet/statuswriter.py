"""Telling the API server the status of pods: the newest one, the changed parts only, one request per pod at a time.

While a request is on its way further changes wait and become one. What the server answered is what the next
change is measured against, so nothing is told twice.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from nodeagent.kubelet.conditions import DISRUPTION, OWNED
from shim.api.meta import Object
from shim.api.status import ApiError
from shim.client import Client
from shim.client import resource as r

log = logging.getLogger(__name__)

RETRY, LONGEST_RETRY = 0.2, 5.0
_MERGED_BY_IP = ("podIPs", "hostIPs")


def status_patch(old: Object, new: Object) -> Object:
    """The strategic merge patch from one status to another; conditions of others are left alone."""
    patch = _map_patch(
        {key: value for key, value in old.items() if key != "conditions"},
        {key: value for key, value in new.items() if key != "conditions"},
    )
    for key in _MERGED_BY_IP:
        if key in patch and old.get(key) and patch[key] is not None:
            patch[key] = [*patch[key], {"$patch": "replace"}]
    conditions = _conditions_patch(old.get("conditions") or (), new.get("conditions") or ())
    if conditions:
        patch["conditions"] = conditions
        patch["$setElementOrder/conditions"] = [{"type": c["type"]} for c in new["conditions"]]
    return patch


def _map_patch(old: Object, new: Object) -> Object:
    patch: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := _map_patch(before, value):
                patch[key] = inner
        elif key not in old or before != value:
            patch[key] = value
    return patch


def _conditions_patch(old: Any, new: Any) -> list[Object]:
    before = {condition["type"]: condition for condition in old}
    changed = []
    for condition in new:
        if condition["type"] in (*OWNED, DISRUPTION) and condition != before.get(condition["type"]):
            gone = {key: None for key in before.get(condition["type"], {}) if key not in condition}
            changed.append({**condition, **gone})
    present = {condition["type"] for condition in new}
    changed += [{"type": type_, "$patch": "delete"} for type_ in before if type_ in OWNED and type_ not in present]
    return changed


class StatusWriter:
    """Writes statuses in the background; :meth:`flush` waits until a pod's newest one was told."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._told: dict[str, Object] = {}  # what the server has, by uid
        self._wanted: dict[str, tuple[Object, Object]] = {}  # the pod and its newest status
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def submit(self, pod: Object, status: Object) -> None:
        """Make ``status`` the pod's; the newest wins."""
        uid = pod["metadata"]["uid"]
        self._wanted[uid] = (pod, status)
        task = self._tasks.get(uid)
        if task is None or task.done():
            self._tasks[uid] = asyncio.get_running_loop().create_task(self._write(uid))

    async def flush(self, uid: str, *, within: float | None = None) -> None:
        """Until the newest status was told, or ``within`` seconds are over."""
        if task := self._tasks.get(uid):
            await asyncio.wait({task}, timeout=within)

    def forget(self, uid: str) -> None:
        """The pod is gone: whatever is still to be told no longer matters."""
        self._wanted.pop(uid, None)
        self._told.pop(uid, None)
        if task := self._tasks.pop(uid, None):
            task.cancel()

    def close(self) -> None:
        for uid in list(self._tasks):
            self.forget(uid)

    async def _write(self, uid: str) -> None:
        delay = RETRY
        while uid in self._wanted:
            pod, status = self._wanted.pop(uid)
            meta = pod["metadata"]
            patch = status_patch(self._told.get(uid, pod.get("status") or {}), status)
            if not patch:
                continue
            try:
                body = {"metadata": {"uid": uid}, "status": patch}
                answer = await self._client.patch(
                    r.PODS, meta["name"], body, meta["namespace"], subresource="status", type="strategic"
                )
                self._told[uid] = answer.get("status") or {}
                delay = RETRY
            except ApiError as error:
                if error.code == 404 or (error.code == 409 and "uid" in error.message.lower()):
                    return  # the pod is gone, or another has its name
                if error.code in (400, 422):
                    log.error("status of %s/%s refused: %s", meta["namespace"], meta["name"], error)
                    return
                log.info("status of %s/%s not told: %s", meta["namespace"], meta["name"], error)
                self._wanted.setdefault(uid, (pod, status))
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_RETRY)
