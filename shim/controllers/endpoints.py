"""Endpoints: the older form of EndpointSlices, one object per Service of the same name."""

from __future__ import annotations

from shim.api.meta import Object, key_of, split_key
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.endpoints_plan import (
    MANAGED_BY,
    MANAGER,
    OVER_CAPACITY,
    endpoints_labels,
    plan_subsets,
    truncate,
)
from shim.controllers.endpointslice_plan import with_trigger_time
from shim.controllers.loop import Context
from shim.controllers.pod_control import namespace_terminating
from shim.controllers.service_follower import ServiceFollower
from shim.controllers.service_pods import is_managed
from shim.controllers.written import Written


class EndpointsController(ServiceFollower):
    """Keeps the Endpoints of every Service that has a selector."""

    name = "endpoints"
    component = "endpoint-controller"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.endpoints = ctx.informer(r.ENDPOINTS)
        self.written = Written(self.endpoints)
        self.endpoints.on_change(self.endpoints_changed)

    def endpoints_changed(self, old: Object | None, new: Object | None) -> None:
        """Left over from a Service that went while nobody watched, or written by somebody else."""
        for obj in (old, new):
            if obj is not None and (obj["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER:
                self.queue.add(key_of(obj))

    async def reconcile(self, key: str) -> None:
        service = self.services.get(key)
        if service is None:
            await self.remove(key)
            return
        if not is_managed(service):
            return
        pods = self.pods_of(service)
        time = self.times.changed(service, pods)
        subsets, over_capacity = truncate(plan_subsets(service, pods))
        labels = endpoints_labels(service)
        current = self.written.get(key)
        if current is not None and current["metadata"].get("labels") == labels:
            was_over = OVER_CAPACITY in (current["metadata"].get("annotations") or {})
            if (current.get("subsets") or []) == subsets and was_over == over_capacity:
                return
        try:
            await self.write(service, current, subsets, labels, time, over_capacity)
        except ApiError as error:
            if namespace_terminating(error):
                return
            if current is None:
                reason, message = "FailedToCreateEndpoint", f"Failed to create endpoint for service {key}"
            else:
                reason, message = "FailedToUpdateEndpoint", f"Failed to update endpoint {key}"
            self.recorder.event(current or service, "Warning", reason, f"{message}: {error.message}")
            raise

    async def write(
        self,
        service: Object,
        current: Object | None,
        subsets: list[Object],
        labels: dict[str, str],
        time: str | None,
        over_capacity: bool,
    ) -> None:
        metadata = dict(current["metadata"]) if current is not None else {"name": service["metadata"]["name"]}
        annotations = {
            name: value for name, value in (metadata.get("annotations") or {}).items() if name != OVER_CAPACITY
        }
        if over_capacity:
            annotations[OVER_CAPACITY] = "truncated"
        metadata |= {"namespace": service["metadata"]["namespace"], "labels": labels, "annotations": annotations}
        wanted: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}
        if subsets:
            wanted["subsets"] = subsets
        wanted = with_trigger_time(wanted, time)
        if current is None:
            made = await self.ctx.client.create(r.ENDPOINTS, wanted, metadata["namespace"])
        else:
            made = await self.ctx.client.update(r.ENDPOINTS, wanted)
        self.written.remember(made)

    async def remove(self, key: str) -> None:
        self.times.forget(key)
        current = self.written.get(key)
        if current is None or (current["metadata"].get("labels") or {}).get(MANAGED_BY) != MANAGER:
            return
        namespace, name = split_key(key)
        try:
            await self.ctx.client.delete(r.ENDPOINTS, name, namespace)
        except ApiError as error:
            if error.code != 404:
                raise
        self.written.remember_deleted(current)
