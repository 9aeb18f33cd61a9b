"""Who makes the claims of generic ephemeral volumes? One claim a volume, owned by its pod and gone with it."""

from __future__ import annotations

from shim.api.meta import Object, key_of
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.loop import Context, Controller


class EphemeralVolumeController(Controller):
    """Follows pods."""

    name = "ephemeral-volume"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.pods = ctx.informer(r.PODS)
        self.claims = ctx.informer(r.PERSISTENTVOLUMECLAIMS)
        self.recorder = ctx.recorder("ephemeral_volume")
        self.pods.on_change(self.pod_changed)
        self.claims.on_change(self.claim_changed)

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and any(volume.get("ephemeral") for volume in new["spec"].get("volumes") or ()):
            self.queue.add(key_of(new))

    def claim_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:  # its pod may still want it
            for owner in old["metadata"].get("ownerReferences") or ():
                if owner["kind"] == "Pod":
                    self.queue.add(f"{old['metadata']['namespace']}/{owner['name']}")

    async def reconcile(self, key: str) -> None:
        pod = self.pods.get(key)
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            return
        for volume in pod["spec"].get("volumes") or ():
            if volume.get("ephemeral"):
                await self.ensure(pod, volume)

    async def ensure(self, pod: Object, volume: Object) -> None:
        wanted = claim_for(pod, volume)
        found = self.claims.get(key_of(wanted))
        if found is None:
            await self.ctx.client.create(r.PERSISTENTVOLUMECLAIMS, wanted)
        elif not _is_of(found, pod):
            text = f"PVC {key_of(wanted)} was not created for pod {key_of(pod)} (pod is not owner)"
            self.recorder.event(pod, "Warning", "FailedBinding", f"ephemeral volume {volume['name']}: {text}")
            raise ApiError(409, "Conflict", text)


def claim_for(pod: Object, volume: Object) -> Object:
    """The claim of one ephemeral volume; the pod's name makes its name predictable."""
    metadata, template = pod["metadata"], volume["ephemeral"]["volumeClaimTemplate"]
    owner = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    described = template.get("metadata") or {}
    more = {name: described[name] for name in ("labels", "annotations") if described.get(name)}
    name, namespace = f"{metadata['name']}-{volume['name']}", metadata["namespace"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": [owner], **more},
        "spec": template["spec"],
    }


def _is_of(claim: Object, pod: Object) -> bool:
    owners = claim["metadata"].get("ownerReferences") or ()
    return any(owner["uid"] == pod["metadata"]["uid"] and owner.get("controller") for owner in owners)
