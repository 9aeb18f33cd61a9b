"""Which volume serves which claim? Binds both, keeps their phases, and lets go of volumes whose claim is gone.

Binding takes four writes, each of which may be the last before a crash: the volume's claimRef, its phase, the claim's
volumeName, its phase. Whoever comes next goes on from there, so every step looks at what is already written. Volumes
themselves are made and taken away by provisioners (see ``local_path``); a claim that waits for its first consumer is
left to the scheduler, which reserves a volume or selects a node for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from shim.api import claims as c
from shim.api.meta import Object, key_of, now
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers import volume_recycler
from shim.controllers.loop import Context, Controller
from shim.controllers.pod_readiness import is_finished, phase
from shim.controllers.written import Written

CLAIM, VOLUME = "claim", "volume"
MISBOUND = "Two claims are bound to the same volume, this one is bound incorrectly"
_UNBOUND = "unbound claims"
_USERS = "pods by claim"
RECYCLE_RETRY = 15.0  # seconds, upstream's --pvclaimbinder-sync-period


class VolumeBinder(Controller):
    """Keys are a kind and a name. One worker: two claims must never be given the same volume."""

    name = "persistentvolume-binder"
    workers = 1

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.client = ctx.client
        self.claims = ctx.informer(r.PERSISTENTVOLUMECLAIMS)
        self.volumes = ctx.informer(r.PERSISTENTVOLUMES)
        self.classes = ctx.informer(r.STORAGECLASSES)
        self.pods = ctx.informer(r.PODS)
        self.claims.add_indexer(_UNBOUND, _unbound)
        self.pods.add_indexer(_USERS, _users)
        self.pods.on_change(self.pod_changed)
        self.claims.on_change(self.claim_changed)
        self.volumes.on_change(self.volume_changed)
        self.classes.on_change(self.class_changed)
        self.written_claims = Written(self.claims)
        self.written_volumes = Written(self.volumes)
        self.recorder = ctx.recorder("persistentvolume-controller")
        self.recycle_at: dict[str, float] = {}  # volumes that could not be recycled -> when to try again

    def claim_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(f"{CLAIM} {key_of(new)}")
        for claim in (old, new):
            if claim is not None and claim["spec"].get("volumeName"):
                self.queue.add(f"{VOLUME} {claim['spec']['volumeName']}")

    def volume_changed(self, old: Object | None, new: Object | None) -> None:
        volume = new or old
        assert volume is not None
        if new is not None:
            self.queue.add(f"{VOLUME} {key_of(new)}")
        else:
            self.recycle_at.pop(key_of(volume), None)
        waiting = c.reserved_key(volume)
        if waiting is not None:
            self.queue.add(f"{CLAIM} {waiting}")
        else:  # somebody may have waited for it
            self.enqueue(self.claims.by(_UNBOUND, c.class_of(volume)))

    def class_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.enqueue((*self.claims.by(_UNBOUND, key_of(new)), *self.claims.by(_UNBOUND, "")))

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        assert pod is not None
        if (volume := volume_recycler.volume_of(pod)) is not None:
            self.queue.add(f"{VOLUME} {volume}")

    def enqueue(self, claims: Iterable[Object]) -> None:
        for claim in claims:
            self.queue.add(f"{CLAIM} {key_of(claim)}")

    async def reconcile(self, key: str) -> None:
        kind, _, name = key.partition(" ")
        try:
            if kind == CLAIM:
                claim = self.written_claims.get(name)
                if claim is not None:
                    await self.sync_claim(claim)
            else:
                volume = self.written_volumes.get(name)
                if volume is not None:
                    await self.sync_volume(volume)
        except ApiError as error:
            if error.code != 404:  # it is gone: its end is on the way to us
                raise

    # Claims.

    async def sync_claim(self, claim: Object) -> None:
        wanted = claim["spec"].get("volumeName")
        volume = self.written_volumes.get(wanted) if wanted else None
        if c.BIND_COMPLETED in c.annotations_of(claim):
            await self.sync_bound(claim, volume)
        elif not wanted:
            await self.find_volume(claim)
        elif volume is None:
            await self.set_claim_phase(claim, "Pending")
        elif volume["spec"].get("claimRef") is None:
            why = c.mismatch(volume, claim)
            if why is None:
                await self.bind(volume, claim)
            else:
                self.warn(claim, "VolumeMismatch", f'Cannot bind to requested volume "{wanted}": {why}')
                await self.set_claim_phase(claim, "Pending")
        elif c.is_reserved_for(volume, claim):
            await self.bind(volume, claim)
        else:
            self.warn(claim, "FailedBinding", f'volume "{wanted}" already bound to a different claim.')
            await self.set_claim_phase(claim, "Pending")

    async def sync_bound(self, claim: Object, volume: Object | None) -> None:
        if not claim["spec"].get("volumeName"):
            why = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
            await self.lose(claim, "ClaimLost", why)
        elif volume is None:
            why = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
            await self.lose(claim, "ClaimLost", why)
        elif volume["spec"].get("claimRef") is None or c.is_reserved_for(volume, claim):
            await self.bind(volume, claim)
        else:
            await self.lose(claim, "ClaimMisbound", MISBOUND)

    async def find_volume(self, claim: Object) -> None:
        """A volume that is there, or one that somebody makes."""
        storage_class = self.classes.get(c.class_of(claim))
        waits = c.waits_for_consumer(claim, {c.class_of(claim): storage_class} if storage_class else {})
        volume = c.best_volume(claim, self.written_volumes.overlay(self.volumes.list()), only_reserved=waits)
        if volume is not None:
            await self.bind(volume, claim)
            return
        default = None if c.names_class(claim) else self.default_class()
        if default is not None:
            spec = {**claim["spec"], "storageClassName": default}
            self.written_claims.remember(await self.client.update(r.PERSISTENTVOLUMECLAIMS, {**claim, "spec": spec}))
            return
        if waits and c.SELECTED_NODE not in c.annotations_of(claim):
            self.recorder.event(claim, "Normal", *self.waiting_for(claim))
        elif c.class_of(claim):
            await self.ask_provisioner(claim, storage_class)
            return
        else:
            text = "no persistent volumes available for this claim and no storage class is set"
            self.recorder.event(claim, "Normal", "FailedBinding", text)
        await self.set_claim_phase(claim, "Pending")

    def default_class(self) -> str | None:
        """The newest of the default classes, so that replacing one leaves no gap."""
        marked = [each for each in self.classes.list() if c.annotations_of(each).get(c.DEFAULT_CLASS) == "true"]
        marked.sort(key=lambda each: str(each["metadata"]["name"]))
        marked.sort(key=lambda each: str(each["metadata"]["creationTimestamp"]), reverse=True)
        return str(marked[0]["metadata"]["name"]) if marked else None

    def waiting_for(self, claim: Object) -> tuple[str, str]:
        """Reason and message: what a claim waits for that its first consumer decides."""
        users = self.pods.by(_USERS, key_of(claim))
        pods = sorted(pod["metadata"]["name"] for pod in users if not pod["spec"].get("nodeName"))
        if not pods:
            return "WaitForFirstConsumer", "waiting for first consumer to be created before binding"
        several = "pods" if len(pods) > 1 else "pod"
        return "WaitForPodScheduled", f"waiting for {several} {','.join(pods)} to be scheduled"

    async def ask_provisioner(self, claim: Object, storage_class: Object | None) -> None:
        """Name the provisioner in the claim: it watches for that."""
        if storage_class is None:
            text = f'storageclass.storage.k8s.io "{c.class_of(claim)}" not found'
            self.warn(claim, "ProvisioningFailed", text)
            return
        provisioner = storage_class["provisioner"]
        if provisioner.startswith("kubernetes.io/"):
            self.warn(claim, "ProvisioningFailed", "no volume plugin matched")
            return
        wanted = dict.fromkeys(reversed(c.PROVISIONERS), provisioner)
        annotations = {**c.annotations_of(claim), **wanted}
        if annotations != c.annotations_of(claim):
            changed = {**claim, "metadata": {**claim["metadata"], "annotations": annotations}}
            claim = self.written_claims.remember(await self.client.update(r.PERSISTENTVOLUMECLAIMS, changed))
        text = (
            f"Waiting for a volume to be created either by the external provisioner '{provisioner}' "
            "or manually by the system administrator. If volume creation is delayed, please verify that "
            "the provisioner is running and correctly registered."
        )
        self.recorder.event(claim, "Normal", "ExternalProvisioning", text)

    async def lose(self, claim: Object, reason: str, message: str) -> None:
        if (claim.get("status") or {}).get("phase") != "Lost":
            self.warn(await self.set_claim_phase(claim, "Lost"), reason, message)

    # Both.

    async def bind(self, volume: Object, claim: Object) -> None:
        """Whatever is still missing of a binding, in the order that is safe."""
        reserved = c.reserve(volume, claim)
        if reserved is not volume:
            volume = self.written_volumes.remember(await self.client.update(r.PERSISTENTVOLUMES, reserved))
        volume = await self.set_volume_phase(volume, "Bound")
        annotations = {**c.annotations_of(claim), c.BIND_COMPLETED: "yes"}
        name = volume["metadata"]["name"]
        if claim["spec"].get("volumeName") != name:
            annotations[c.BOUND_BY_CONTROLLER] = "yes"
        if annotations != c.annotations_of(claim):
            metadata = {**claim["metadata"], "annotations": annotations}
            bound = {**claim, "metadata": metadata, "spec": {**claim["spec"], "volumeName": name}}
            claim = self.written_claims.remember(await self.client.update(r.PERSISTENTVOLUMECLAIMS, bound))
        await self.set_claim_phase(claim, "Bound", volume)

    async def set_claim_phase(self, claim: Object, phase: str, volume: Object | None = None) -> Object:
        status = claim.get("status") or {}
        wanted = {**status, "phase": phase}
        if volume is None:
            for gone in ("accessModes", "capacity", "currentVolumeAttributesClassName"):
                wanted.pop(gone, None)
        else:
            wanted["accessModes"] = volume["spec"]["accessModes"]
            if status.get("phase") != phase:  # later it is the resizer's
                wanted["capacity"] = volume["spec"]["capacity"]
                if volume["spec"].get("volumeAttributesClassName"):
                    wanted["currentVolumeAttributesClassName"] = volume["spec"]["volumeAttributesClassName"]
        if wanted == status:
            return claim
        written = await self.client.update(r.PERSISTENTVOLUMECLAIMS, {**claim, "status": wanted}, subresource="status")
        return self.written_claims.remember(written)

    async def set_volume_phase(self, volume: Object, phase: str, message: str = "") -> Object:
        status = volume.get("status") or {}
        if status.get("phase") == phase:
            return volume
        wanted = {**status, "phase": phase, "lastPhaseTransitionTime": now()}
        wanted.pop("message", None)
        if message:
            wanted["message"] = message
        written = await self.client.update(r.PERSISTENTVOLUMES, {**volume, "status": wanted}, subresource="status")
        return self.written_volumes.remember(written)

    def warn(self, obj: Object, reason: str, message: str) -> None:
        self.recorder.event(obj, "Warning", reason, message)

    # Volumes.

    async def sync_volume(self, volume: Object) -> None:
        key = c.reserved_key(volume)
        if key is None or not volume["spec"]["claimRef"].get("uid"):
            await self.set_volume_phase(volume, "Available")
            return
        claim = await self.claim_behind(volume, key)
        if claim is None:
            await self.reclaim(volume)
        elif not claim["spec"].get("volumeName"):
            self.queue.add(f"{CLAIM} {key}")
        elif claim["spec"]["volumeName"] == volume["metadata"]["name"]:
            await self.set_volume_phase(volume, "Bound")
        elif c.PROVISIONED_BY in c.annotations_of(volume) and _policy(volume) == "Delete":
            await self.reclaim(volume)
        else:
            await self.unbind(volume)

    async def claim_behind(self, volume: Object, key: str) -> Object | None:
        """The claim with the very uid; asked of the server before data is given up for its absence."""
        uid = volume["spec"]["claimRef"]["uid"]
        claim = self.written_claims.get(key)
        if claim is not None and claim["metadata"]["uid"] == uid:
            return claim
        namespace, _, name = key.partition("/")
        try:
            claim = await self.client.get(r.PERSISTENTVOLUMECLAIMS, name, namespace)
        except ApiError as error:
            if error.code != 404:
                raise
            return None
        return claim if claim["metadata"]["uid"] == uid else None

    async def unbind(self, volume: Object) -> None:
        """Its claim chose another one."""
        spec, annotations = dict(volume["spec"]), dict(c.annotations_of(volume))
        if annotations.pop(c.BOUND_BY_CONTROLLER, None):
            del spec["claimRef"]
        else:
            spec["claimRef"] = {name: value for name, value in spec["claimRef"].items() if name != "uid"}
        changed = {**volume, "metadata": {**volume["metadata"], "annotations": annotations}, "spec": spec}
        volume = self.written_volumes.remember(await self.client.update(r.PERSISTENTVOLUMES, changed))
        await self.set_volume_phase(volume, "Available")

    async def reclaim(self, volume: Object) -> None:
        """Released; what becomes of the data is the policy's word, and a provisioner's work."""
        if (volume.get("status") or {}).get("phase") != "Failed":
            volume = await self.set_volume_phase(volume, "Released")
        if _policy(volume) == "Recycle":
            await self.recycle(volume)
        elif _policy(volume) == "Delete":
            provisioner = c.annotations_of(volume).get(c.PROVISIONED_BY) or ""
            if "csi" not in volume["spec"] and (not provisioner or provisioner.startswith("kubernetes.io/")):
                name = volume["metadata"]["name"]
                text = f'error getting deleter volume plugin for volume "{name}": no deletable volume plugin matched'
                await self.fail(volume, "VolumeFailedDelete", text)

    async def recycle(self, volume: Object) -> None:
        """Have the volume emptied, then make it available. What fails is tried again later."""
        name = volume["metadata"]["name"]
        wanted = volume_recycler.recycler(volume)
        if wanted is None:
            await self.fail(volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!")
            return
        wait = self.recycle_at.get(name, 0.0) - asyncio.get_running_loop().time()
        users = self.pods.by(_USERS, c.reserved_key(volume) or "")
        if wait <= 0 and users:
            text = f"Volume is used by pods: {','.join(sorted(map(key_of, users)))}"
            self.recorder.event(volume, "Normal", "VolumeFailedRecycle", text)
            wait = self.recycle_later(name)
        if wait > 0:
            self.queue.add_after(f"{VOLUME} {name}", wait)
            return
        pod = self.pods.get(f"{volume_recycler.NAMESPACE}/{volume_recycler.name_of(volume)}")
        if pod is None:
            try:
                await self.client.create(r.PODS, wanted, volume_recycler.NAMESPACE)
            except ApiError as error:
                if error.code != 409:  # it is there, and not seen yet
                    raise
        elif is_finished(pod):
            await self.client.delete(r.PODS, pod["metadata"]["name"], pod["metadata"]["namespace"])
            if phase(pod) == "Succeeded":
                self.recorder.event(volume, "Normal", "VolumeRecycled", "Volume recycled")
                await self.unbind(volume)
                return
            why = pod["status"].get("message") or "pod failed, pod.Status.Message unknown"
            await self.fail(volume, "VolumeFailedRecycle", f"Recycle failed: failed to recycle volume: {why}")
            self.queue.add_after(f"{VOLUME} {name}", self.recycle_later(name))

    def recycle_later(self, name: str) -> float:
        """Seconds until it is tried again."""
        self.recycle_at[name] = asyncio.get_running_loop().time() + RECYCLE_RETRY
        return RECYCLE_RETRY

    async def fail(self, volume: Object, reason: str, message: str) -> None:
        if (volume.get("status") or {}).get("phase") != "Failed":
            self.warn(await self.set_volume_phase(volume, "Failed", message), reason, message)


def _policy(volume: Object) -> str:
    return str(volume["spec"].get("persistentVolumeReclaimPolicy") or "Retain")


def _unbound(claim: Object) -> Iterable[str]:
    if not claim["spec"].get("volumeName"):
        yield c.class_of(claim)


def _users(pod: Object) -> Iterable[str]:
    if not is_finished(pod):
        for name, _ in c.claims_of(pod):
            yield f"{pod['metadata']['namespace']}/{name}"
