"""The ServiceCIDR ``kubernetes``: the range this server was started with, as an object.

It is written when it is not there, and judged ready when nobody has judged it yet; what it says is never changed. Its
finalizer comes from the controller (:mod:`shim.controllers.service_cidrs`), which also lets it go.
"""

from __future__ import annotations

import asyncio
import logging

from shim.api.conditions import find, set_condition
from shim.api.meta import Object
from shim.client.events import EventRecorder, Sink
from shim.server.bootstrap import born, create
from shim.server.service_addresses import RANGES
from shim.store.cache import Cache
from shim.store.contract import StoreError

log = logging.getLogger(__name__)

NAME = "kubernetes"
INTERVAL = 10.0  # seconds between looks whether it is there
READY = "Kubernetes default Service CIDR is ready"


class DefaultRange:
    """Keeps the ServiceCIDR of the cluster's birth."""

    def __init__(self, cache: Cache, cidr: str, events: Sink) -> None:
        self._cache, self._cidrs = cache, [cidr]
        self._recorder = EventRecorder(events, "kubernetes-service-cidr-controller")
        self._warned = False

    async def run(self) -> None:
        """Keep it until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.publish()
            except (StoreError, TimeoutError) as error:
                log.warning("publishing the default ServiceCIDR: %s", error)

    async def publish(self) -> None:
        """Write what is missing. Raises StoreError."""
        key = f"{RANGES}{NAME}"
        entry = self._cache.get(key)
        if entry is None:
            obj: Object = {
                "kind": "ServiceCIDR",
                "apiVersion": "networking.k8s.io/v1",
                "metadata": {"name": NAME},
                "spec": {"cidrs": self._cidrs},
                "status": {"conditions": [_ready()]},
            }
            await create(self._cache, key, born(obj, None))
            return
        obj = entry.decode()
        if obj["spec"].get("cidrs") != self._cidrs:
            if not self._warned:
                stored, asked = (f"[{' '.join(ranges)}]" for ranges in (obj["spec"].get("cidrs") or (), self._cidrs))
                text = f"The default ServiceCIDR {stored} does not match the controller flag configurations {asked}"
                log.warning("%s", text)
                self._recorder.event(obj, "Warning", "KubernetesDefaultServiceCIDRInconsistent", text)
            self._warned = True
        elif find(obj, "Ready") is None and not obj["metadata"].get("deletionTimestamp"):
            obj.setdefault("status", {}).setdefault("conditions", []).append(_ready())
            await self._cache.update(key, obj, expected=entry.revision)


def _ready() -> Object:
    conditions: list[Object] = []
    set_condition(conditions, "Ready", "True", "", READY)
    return {**conditions[0], "reason": ""}
