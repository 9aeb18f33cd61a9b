"""Who reads Endpoints that somebody wrote by hand? Nobody but this: they are mirrored into EndpointSlices.

Only those of a Service without a selector, for the others have slices of their own. Addresses with the same ports share
one slice per address family; it is overwritten in place, since what was written by hand changes seldom.
"""

from __future__ import annotations

import ipaddress

from shim.api.meta import Object, key_of
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.adoption import owner_reference
from shim.controllers.endpointslice_plan import MANAGED_BY, SERVICE_NAME, Changes, ports_key
from shim.controllers.loop import Context, Controller
from shim.controllers.pod_control import namespace_terminating
from shim.controllers.service_pods import TRIGGER_TIME, is_managed
from shim.controllers.written import Written

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
ELECTION = "control-plane.alpha.kubernetes.io/leader"
MOST = 1000  # addresses of a subset
_NOT_COPIED = (TRIGGER_TIME, "kubectl.kubernetes.io/last-applied-configuration")


def is_mirrored(endpoints: Object | None, service: Object | None) -> bool:
    """Whether these Endpoints are to be found as slices too."""
    if endpoints is None or service is None or is_managed(service) or endpoints["metadata"].get("deletionTimestamp"):
        return False
    metadata = endpoints["metadata"]
    skipped = (metadata.get("labels") or {}).get(SKIP) == "true"
    return not skipped and ELECTION not in (metadata.get("annotations") or {})


def plan(endpoints: Object, existing: list[Object]) -> tuple[Changes, int, int]:
    """What to write; how many addresses are no addresses, and how many are too many."""
    wanted: dict[tuple[str, bytes], Object] = {}
    invalid = skipped = 0
    for subset in endpoints.get("subsets") or ():
        ports = [{"name": "", "protocol": "TCP", **port} for port in subset.get("ports") or ()]
        addresses = [(each, True) for each in subset.get("addresses") or ()]
        addresses += [(each, False) for each in subset.get("notReadyAddresses") or ()]
        room = MOST
        for address, ready in addresses:
            if not room:
                skipped += 1
                continue
            try:
                parsed = ipaddress.ip_address(address["ip"])
            except ValueError:
                invalid += 1
                continue
            room -= 1
            family = f"IPv{parsed.version}"
            made = wanted.setdefault((family, ports_key(ports)), _slice(endpoints, family, ports))
            _add(made["endpoints"], _endpoint(address, str(parsed), ready))
    changes = Changes()
    spare: list[Object] = []
    for each in existing:
        fitting = wanted.pop((each["addressType"], ports_key(each.get("ports"))), None)
        if fitting is None:
            spare.append(each)
        elif not _same(each, fitting):
            changes.update.append(_over(each, fitting))
    for fitting in wanted.values():  # one change to tell of rather than two
        reused = next((each for each in spare if each["addressType"] == fitting["addressType"]), None)
        if reused is None:
            changes.create.append(fitting)
        else:
            spare.remove(reused)
            changes.update.append(_over(reused, fitting))
    changes.delete = spare
    return changes, invalid, skipped


class EndpointSliceMirroring(Controller):
    """Keys are Services, and the Endpoints of their name."""

    name = "endpointslice-mirroring"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.endpoints = ctx.informer(r.ENDPOINTS)
        self.services = ctx.informer(r.SERVICES)
        self.slices = ctx.informer(r.ENDPOINTSLICES)
        self.slices.add_indexer("mirrored", _mirrored)
        self.recorder = ctx.recorder("endpoint-slice-mirroring-controller")
        self.written = Written(self.slices)
        for informer in (self.endpoints, self.services):
            informer.on_change(self.changed)
        self.slices.on_change(self.slice_changed)

    def changed(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        self.queue.add(key_of(obj))

    def slice_changed(self, old: Object | None, new: Object | None) -> None:
        for each in (old, new):
            for key in _mirrored(each) if each is not None else ():
                self.queue.add(key)

    async def reconcile(self, key: str) -> None:
        endpoints = self.endpoints.get(key)
        unseen = [each for each in self.written.unseen() if key in _mirrored(each)]
        existing = self.written.overlay(self.slices.by("mirrored", key)) + unseen
        if endpoints is None or not is_mirrored(endpoints, self.services.get(key)):
            await self.delete(existing)
            return
        changes, invalid, skipped = plan(endpoints, existing)
        if invalid:
            text = f"Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices"
            self.recorder.event(endpoints, "Warning", "InvalidIPAddress", text)
        if skipped:
            text = (
                f"A max of {MOST} addresses can be mirrored to EndpointSlices per Endpoints subset. "
                f"{skipped} addresses were skipped"
            )
            self.recorder.event(endpoints, "Warning", "TooManyAddressesToMirror", text)
        try:
            for each in changes.create:
                made = await self.ctx.client.create(r.ENDPOINTSLICES, each, endpoints["metadata"]["namespace"])
                self.written.remember(made)
        except ApiError as error:
            if not namespace_terminating(error):
                raise
            return
        for each in changes.update:
            self.written.remember(await self.ctx.client.update(r.ENDPOINTSLICES, each))
        await self.delete(changes.delete)

    async def delete(self, slices: list[Object]) -> None:
        for each in slices:
            metadata = each["metadata"]
            try:
                await self.ctx.client.delete(r.ENDPOINTSLICES, metadata["name"], metadata["namespace"])
            except ApiError as error:
                if error.code != 404:
                    raise
            self.written.remember_deleted(each)


def _mirrored(each: Object) -> list[str]:
    """The Endpoints whose mirror this slice is."""
    labels = each["metadata"].get("labels") or {}
    if labels.get(MANAGED_BY) != MANAGER or not labels.get(SERVICE_NAME):
        return []
    return [f"{each['metadata']['namespace']}/{labels[SERVICE_NAME]}"]


def _slice(endpoints: Object, family: str, ports: list[Object]) -> Object:
    metadata = endpoints["metadata"]
    annotations = metadata.get("annotations") or {}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": {**(metadata.get("labels") or {}), SERVICE_NAME: metadata["name"], MANAGED_BY: MANAGER},
            "annotations": {name: value for name, value in annotations.items() if name not in _NOT_COPIED},
            "ownerReferences": [owner_reference(endpoints, "v1", "Endpoints")],
        },
        "addressType": family,
        "endpoints": [],
        "ports": ports,
    }


def _endpoint(address: Object, ip: str, ready: bool) -> Object:
    made: Object = {"addresses": [ip], "conditions": {"ready": ready}}
    for field in ("hostname", "nodeName", "targetRef"):
        if address.get(field):
            made[field] = address[field]
    return made


def _add(endpoints: list[Object], made: Object) -> None:
    """An address that stands in several subsets is one endpoint."""
    if all(each["addresses"] != made["addresses"] for each in endpoints):
        endpoints.append(made)


def _same(each: Object, wanted: Object) -> bool:
    metadata, ours = each["metadata"], wanted["metadata"]
    same_labels = (metadata.get("labels") or {}) == ours["labels"]
    same_annotations = (metadata.get("annotations") or {}) == ours["annotations"]
    return bool(same_labels and same_annotations and (each.get("endpoints") or []) == wanted["endpoints"])


def _over(each: Object, wanted: Object) -> Object:
    """The slice with other contents."""
    kept = {name: value for name, value in wanted["metadata"].items() if name != "generateName"}
    return {**wanted, "metadata": {**each["metadata"], **kept}}
