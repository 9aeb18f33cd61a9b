"""EndpointSlices: tell every node which pods stand behind a Service, as soon as that changes.

This is on the path of every rollout: a pod that becomes ready gets traffic, and one that is deleted loses it, only when
this controller has written so. So nothing is batched, and a Service whose slices this controller has just written does
not wait for its own watch to show them.
"""

from __future__ import annotations

from shim.api.meta import Object, key_of
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers import topology_hints
from shim.controllers.endpointslice_plan import (
    MANAGED_BY,
    MANAGER,
    SERVICE_NAME,
    Changes,
    address_types,
    plan_slices,
    with_trigger_time,
)
from shim.controllers.loop import Context
from shim.controllers.pod_control import namespace_terminating
from shim.controllers.pod_readiness import is_deleted
from shim.controllers.service_follower import ServiceFollower
from shim.controllers.service_pods import is_managed
from shim.controllers.written import Written


class EndpointSliceController(ServiceFollower):
    """Keeps the slices of every Service that has a selector."""

    name = "endpointslice"
    component = "endpoint-slice-controller"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.nodes = ctx.informer(r.NODES)
        self.slices = ctx.informer(r.ENDPOINTSLICES)
        self.slices.add_indexer("service", _service_keys)
        self.written = Written(self.slices)
        self.slices.on_change(self.slice_changed)
        self.services.add_indexer("hinted", lambda service: ["yes"] if topology_hints.is_wanted(service) else [])
        self.zones: dict[str, tuple[str, int] | None] = {}  # by node
        self.hinted: set[tuple[str, str]] = set()  # keys and families of Services that have hints by zones
        self.nodes.on_change(self.node_changed)

    def slice_changed(self, old: Object | None, new: Object | None) -> None:
        """Somebody else wrote or deleted one of ours: put it right."""
        for obj in (old, new):
            if obj is not None:
                for key in _service_keys(obj):
                    self.queue.add(key)

    def node_changed(self, old: Object | None, new: Object | None) -> None:
        """Zones may have other parts of the cluster now."""
        node = new or old
        assert node is not None
        name = node["metadata"]["name"]
        facts = topology_hints.node_facts(new) if new is not None else None
        if self.zones.get(name) != facts:
            self.zones[name] = facts
            if facts is None:
                del self.zones[name]
            for service in self.services.by("hinted", "yes"):
                self.queue.add(key_of(service))

    async def reconcile(self, key: str) -> None:
        service = self.services.get(key)
        if service is None:
            self.hinted = {each for each in self.hinted if each[0] != key}
            self.times.forget(key)  # the garbage collector removes the slices with their owner
            return
        if not is_managed(service):
            return
        pods = self.pods_of(service)
        time = self.times.changed(service, pods)
        try:
            await self.write(service, pods, time)
        except ApiError as error:
            if namespace_terminating(error):
                return
            message = f"Error updating Endpoint Slices for Service {key}: {error.message}"
            self.recorder.event(service, "Warning", "FailedToUpdateEndpointSlices", message)
            raise

    async def write(self, service: Object, pods: list[Object], time: str | None) -> None:
        key = key_of(service)
        unseen = [each for each in self.written.unseen() if key in _service_keys(each)]
        existing = self.written.overlay(self.slices.by("service", key)) + unseen
        existing = [each for each in existing if not is_deleted(each)]
        names = {pod["spec"].get("nodeName", "") for pod in pods}
        nodes = {name: node for name in names if (node := self.nodes.get(name)) is not None}
        ratios = topology_hints.zone_ratios(self.zones.values()) if topology_hints.is_wanted(service) else {}
        changes = plan_slices(service, pods, nodes, existing, ratios)
        self.tell_of_hints(service, changes)
        client, namespace = self.ctx.client, service["metadata"]["namespace"]
        if not is_deleted(service):
            for each in changes.create:
                made = await client.create(r.ENDPOINTSLICES, with_trigger_time(each, time), namespace)
                self.written.remember(made)
        for each in changes.update:
            made = await client.update(r.ENDPOINTSLICES, with_trigger_time(each, time))
            self.written.remember(made)
        for each in changes.delete:
            try:
                await client.delete(r.ENDPOINTSLICES, each["metadata"]["name"], namespace)
            except ApiError as error:
                if error.code != 404:
                    raise
            self.written.remember_deleted(each)

    def tell_of_hints(self, service: Object, changes: Changes) -> None:
        """That endpoints are given to zones from now on; or why not, or no longer."""
        key = key_of(service)
        for family in address_types(service):
            known = (key, family) in self.hinted
            why = changes.hints.get(family, topology_hints.DISABLED if known else "")
            if why is None and not known:
                text = f"{topology_hints.ENABLED}, addressType: {family}"
                self.recorder.event(service, "Normal", "TopologyAwareHintsEnabled", text)
            elif why:
                self.recorder.event(service, "Warning", "TopologyAwareHintsDisabled", f"{why}, addressType: {family}")
            if why is None:
                self.hinted.add((key, family))
            else:
                self.hinted.discard((key, family))


def _service_keys(each: Object) -> list[str]:
    """The Service whose slice this is, if this controller manages it."""
    labels = each["metadata"].get("labels") or {}
    if labels.get(MANAGED_BY) != MANAGER or not labels.get(SERVICE_NAME):
        return []
    return [f"{each['metadata']['namespace']}/{labels[SERVICE_NAME]}"]
