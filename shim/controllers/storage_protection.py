"""May this volume go? Claims, volumes and volume attributes classes keep a finalizer while something uses them.

Admission gives each its finalizer at birth (or this controller does, to what is older); a deletion waits until the
last user is gone. A claim is in use by the pods on nodes that mount it, a volume by the claim it is bound to, a class
by the claims and volumes that name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from shim.api.meta import GVR, Object, controller_of, key_of
from shim.api.quota import attributes_classes
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.children import NAMESPACE, by_namespace
from shim.controllers.loop import Context, Controller

FINALIZERS = {
    r.PERSISTENTVOLUMECLAIMS: "kubernetes.io/pvc-protection",
    r.PERSISTENTVOLUMES: "kubernetes.io/pv-protection",
    r.VOLUMEATTRIBUTESCLASSES: "kubernetes.io/vac-protection",
}
_BY_NAME = {gvr.resource: gvr for gvr in FINALIZERS}


def claims_of(pod: Object) -> Iterator[tuple[str, bool]]:
    """The names of the claims a pod mounts, and whether each is made for the pod alone.

    Those count until the pod's node is done with it: such a claim may wait for the pod's end, and the pod for its.
    """
    metadata = pod["metadata"]
    shut_down = bool(metadata.get("deletionTimestamp")) and metadata.get("deletionGracePeriodSeconds") == 0
    for volume in pod["spec"].get("volumes") or ():
        if claim := volume.get("persistentVolumeClaim"):
            yield claim["claimName"], False
        elif volume.get("ephemeral") and not shut_down:
            yield f"{metadata['name']}-{volume['name']}", True


def is_mounted(claim: Object, pods: Iterable[Object]) -> bool:
    """Whether a pod that is on a node uses the claim. Others wait: no node starts a pod whose claim is going."""
    metadata, owner = claim["metadata"], controller_of(claim) or {}
    return any(
        name == metadata["name"] and (not own or owner.get("uid") == pod["metadata"]["uid"])
        for pod in pods
        if pod["metadata"]["namespace"] == metadata["namespace"] and pod["spec"].get("nodeName")
        for name, own in claims_of(pod)
    )


class StorageProtectionController(Controller):
    """Follows all three kinds, and pods."""

    name = "storage-protection"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.pods = ctx.informer(r.PODS)
        by_namespace(self.pods)
        self.kept = {gvr: ctx.informer(gvr) for gvr in FINALIZERS}
        self.pods.on_change(self.pod_changed)
        for gvr, informer in self.kept.items():
            informer.on_change(partial(self.changed, gvr))

    def changed(self, gvr: GVR, old: Object | None, new: Object | None) -> None:
        if new is not None:
            held = FINALIZERS[gvr] in (new["metadata"].get("finalizers") or ())
            if held == bool(new["metadata"].get("deletionTimestamp")):
                self.queue.add(f"{gvr.resource} {key_of(new)}")
        if old is not None and gvr is not r.VOLUMEATTRIBUTESCLASSES:
            for name in attributes_classes(old):
                self.queue.add(f"{r.VOLUMEATTRIBUTESCLASSES.resource} {name}")

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and (new is None or new["metadata"].get("deletionTimestamp")):
            for name, _ in claims_of(old):
                self.queue.add(f"{r.PERSISTENTVOLUMECLAIMS.resource} {old['metadata']['namespace']}/{name}")

    async def reconcile(self, key: str) -> None:
        resource, _, name = key.partition(" ")
        gvr = _BY_NAME[resource]
        obj = self.kept[gvr].get(name)
        if obj is None:
            return
        metadata, finalizer = obj["metadata"], FINALIZERS[gvr]
        held: list[str] = metadata.get("finalizers") or []
        going = bool(metadata.get("deletionTimestamp"))
        if going and finalizer in held and not await self.is_used(gvr, obj):
            wanted = [each for each in held if each != finalizer]
        elif not going and finalizer not in held:
            wanted = [*held, finalizer]
        else:
            return
        try:
            await self.ctx.client.update(gvr, {**obj, "metadata": {**metadata, "finalizers": wanted}})
        except ApiError as error:
            if error.code != 404:
                raise

    async def is_used(self, gvr: GVR, obj: Object) -> bool:
        if gvr is r.PERSISTENTVOLUMES:
            return bool((obj.get("status") or {}).get("phase") == "Bound")
        if gvr is r.VOLUMEATTRIBUTESCLASSES:
            users = (*self.kept[r.PERSISTENTVOLUMECLAIMS].list(), *self.kept[r.PERSISTENTVOLUMES].list())
            return any(obj["metadata"]["name"] in attributes_classes(each) for each in users)
        if is_mounted(obj, self.pods.by(NAMESPACE, obj["metadata"]["namespace"])):
            return True
        # a pod may be too new for our copy: what frees storage asks the server itself
        live = await self.ctx.client.list(r.PODS, obj["metadata"]["namespace"])
        return is_mounted(obj, live["items"])
