"""Where do volumes come from that nobody made? A folder on a node, made and emptied by a short pod there.

This is an external provisioner, and an ordinary client: the binder names it in a claim, the scheduler names the node,
and it answers with a volume. Folders stand in ``settings.local_path`` of their node; a volume's size is not enforced.
Each step is taken once what came before it is seen to be done, so a restart goes on where it ended.
"""

from __future__ import annotations

import contextlib
from typing import Any

from shim.api import claims as c
from shim.api.conditions import is_true
from shim.api.meta import GVR, Object, key_of
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.loop import Context, Controller

PROVISIONER = "kubeshim.dev/local-path"
NAMESPACE = "kube-system"  # of the pods that make and take away folders
MADE_FOR = "kubeshim.dev/made-for"  # their annotation: the key that waits for them
CLAIM, VOLUME = "claim", "volume"
ACCESS = {"ReadWriteOnce", "ReadWriteOncePod"}
HOSTNAME = "kubernetes.io/hostname"
RETRY = 10.0  # seconds until a pod that failed on its node is tried again

STORAGE_CLASS: Object = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "local-path", "annotations": {c.DEFAULT_CLASS: "true"}},
    "provisioner": PROVISIONER,
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "WaitForFirstConsumer",
    "allowVolumeExpansion": True,
}


class NotProvisioned(Exception):
    """The claim asks for what a folder is not."""


class LocalPathProvisioner(Controller):
    """Follows claims that name it, its volumes, and the pods it started."""

    name = "local-path-provisioner"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.client = ctx.client
        self.folder = str(ctx.settings.local_path)
        self.claims = ctx.informer(r.PERSISTENTVOLUMECLAIMS)
        self.volumes = ctx.informer(r.PERSISTENTVOLUMES)
        self.classes = ctx.informer(r.STORAGECLASSES)
        self.nodes = ctx.informer(r.NODES)
        self.pods = ctx.informer(r.PODS)
        self.recorder = ctx.recorder(PROVISIONER)
        self.claims.on_change(self.claim_changed)
        self.volumes.on_change(self.volume_changed)
        self.pods.on_change(self.pod_changed)

    def claim_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and PROVISIONER in {c.annotations_of(new).get(name) for name in c.PROVISIONERS}:
            self.queue.add(f"{CLAIM} {key_of(new)}")

    def volume_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and c.annotations_of(new).get(c.PROVISIONED_BY) == PROVISIONER:
            self.queue.add(f"{VOLUME} {key_of(new)}")

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and new["metadata"]["namespace"] == NAMESPACE:
            annotations = c.annotations_of(new)
            if MADE_FOR in annotations:
                self.queue.add(annotations[MADE_FOR])

    async def run(self) -> None:
        await self.make(r.STORAGECLASSES, STORAGE_CLASS)  # who deletes it has it back after the next start
        await super().run()

    async def reconcile(self, key: str) -> None:
        kind, _, name = key.partition(" ")
        if kind == VOLUME:
            volume = self.volumes.get(name)
            if volume is not None:
                await self.remove(key, volume)
            return
        claim = self.claims.get(name)
        if claim is None or claim["metadata"].get("deletionTimestamp"):
            return
        if c.is_bound(claim):
            await self.grow(claim)
        elif not claim["spec"].get("volumeName"):
            try:
                await self.provision(key, claim)
            except NotProvisioned as error:
                storage_class = c.class_of(claim)
                text = f'failed to provision volume with StorageClass "{storage_class}": {error}'
                self.recorder.event(claim, "Warning", "ProvisioningFailed", text)

    # Making one.

    async def provision(self, key: str, claim: Object) -> None:
        storage_class = self.classes.get(c.class_of(claim))
        name = f"pvc-{claim['metadata']['uid']}"
        if storage_class is None or self.volumes.get(name) is not None:
            return
        refuse(claim)
        node = await self.node_for(claim, storage_class)
        if node is None:
            return
        path = f"{self.folder}/{name}_{key_of(claim).replace('/', '_')}"
        if await self.done(key, "create", name, node, path, 'mkdir -m 0777 -p "$VOLUME"', told=claim):
            await self.make(
                r.PERSISTENTVOLUMES, volume_for(claim, storage_class, self.nodes.get(node) or {}, node, path)
            )
            self.recorder.event(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}")
            await self.clean("create", name)

    async def node_for(self, claim: Object, storage_class: Object) -> str | None:
        """The node that the scheduler chose; any that works where nobody chooses."""
        selected = c.annotations_of(claim).get(c.SELECTED_NODE)
        if selected is not None and self.nodes.get(selected) is not None:
            return selected
        if selected is not None:  # that node is gone: have another one chosen
            metadata = claim["metadata"]
            patch = {"metadata": {"uid": metadata["uid"], "annotations": {c.SELECTED_NODE: None}}}
            await self.client.patch(r.PERSISTENTVOLUMECLAIMS, metadata["name"], patch, metadata["namespace"])
            return None
        if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
            return None
        usable = [
            node for node in self.nodes.list() if is_true(node, "Ready") and not node["spec"].get("unschedulable")
        ]
        if not usable:
            raise NotProvisioned("no node is ready")
        held = [_node_of(volume) for volume in self.volumes.list()]
        return min((key_of(node) for node in usable), key=lambda name: (held.count(name), name))

    # Growing one: a folder has no size, so there is nothing to do but to say so.

    async def grow(self, claim: Object) -> None:
        metadata, status = claim["metadata"], claim.get("status") or {}
        volume = self.volumes.get(claim["spec"]["volumeName"])
        asked = claim["spec"]["resources"]["requests"]["storage"]
        if volume is None or c.annotations_of(volume).get(c.PROVISIONED_BY) != PROVISIONER:
            return
        if c.size_of(volume) < c.asked_size(claim):
            self.recorder.event(claim, "Normal", "Resizing", f"External resizer is resizing volume {key_of(volume)}")
            await self.client.patch(r.PERSISTENTVOLUMES, key_of(volume), {"spec": {"capacity": {"storage": asked}}})
        elif (status.get("capacity") or {}).get("storage") == asked or status.get("phase") != "Bound":
            return
        patch = {"metadata": {"uid": metadata["uid"]}, "status": {"capacity": {"storage": asked}}}
        await self.client.patch(
            r.PERSISTENTVOLUMECLAIMS, metadata["name"], patch, metadata["namespace"], subresource="status"
        )
        self.recorder.event(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")

    # Taking one away.

    async def remove(self, key: str, volume: Object) -> None:
        """Only what was released: the data first, then the volume, so that nothing is forgotten."""
        status, spec = volume.get("status") or {}, volume["spec"]
        if status.get("phase") != "Released" or spec.get("persistentVolumeReclaimPolicy") != "Delete":
            return
        name, node, path = key_of(volume), _node_of(volume), spec["hostPath"]["path"]
        if self.nodes.get(node) is None or await self.done(
            key, "delete", name, node, path, 'rm -rf "$VOLUME"', told=volume
        ):
            with contextlib.suppress(ApiError):
                await self.client.delete(r.PERSISTENTVOLUMES, name, uid=volume["metadata"]["uid"])
            await self.clean("delete", name)

    # Working on a node.

    async def done(self, key: str, verb: str, name: str, node: str, path: str, script: str, *, told: Object) -> bool:
        """Whether the script has run on the node; begins it if need be, and says when it failed."""
        pod = self.pods.get(f"{NAMESPACE}/{_pod_name(verb, name)}")
        if pod is None:
            made = await self.make(r.PODS, working_pod(_pod_name(verb, name), key, node, path, script))
            if made and verb == "create":
                text = f'External provisioner is provisioning volume for claim "{key_of(told)}"'
                self.recorder.event(told, "Normal", "Provisioning", text)
            return False
        phase = (pod.get("status") or {}).get("phase")
        if phase == "Failed":
            reason = "ProvisioningFailed" if verb == "create" else "VolumeFailedDelete"
            self.recorder.event(told, "Warning", reason, f"pod {pod['metadata']['name']} failed on node {node}")
            await self.clean(verb, name)
            self.queue.add_after(key, RETRY)
        return bool(phase == "Succeeded")

    async def make(self, gvr: GVR, obj: Object) -> bool:
        """Create it, and say whether it was not there."""
        try:
            await self.client.create(gvr, obj)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            return False
        return True

    async def clean(self, verb: str, name: str) -> None:
        with contextlib.suppress(ApiError):
            await self.client.delete(r.PODS, _pod_name(verb, name), NAMESPACE, grace_period=0)


def refuse(claim: Object) -> None:
    """Raises NotProvisioned."""
    spec = claim["spec"]
    if not set(spec.get("accessModes") or ()) <= ACCESS:
        raise NotProvisioned("a folder on one node only supports ReadWriteOnce and ReadWriteOncePod access modes")
    if spec.get("volumeMode") == "Block":
        raise NotProvisioned("a folder cannot be used as a block device")
    if spec.get("selector"):
        raise NotProvisioned("claim.Spec.Selector is not supported")
    if spec.get("dataSource") or spec.get("dataSourceRef"):
        raise NotProvisioned("claim.Spec.DataSource is not supported")


def volume_for(claim: Object, storage_class: Object, node: Object, node_name: str, path: str) -> Object:
    """The volume that a claim is given: kept for it, and for pods on this node."""
    metadata, spec = claim["metadata"], claim["spec"]
    hostname = ((node.get("metadata") or {}).get("labels") or {}).get(HOSTNAME, node_name)
    near = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [hostname]}]}
    made: dict[str, Any] = {
        "capacity": {"storage": spec["resources"]["requests"]["storage"]},
        "accessModes": spec["accessModes"],
        "volumeMode": spec.get("volumeMode") or "Filesystem",
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
        "storageClassName": storage_class["metadata"]["name"],
        "hostPath": {"path": path, "type": "DirectoryOrCreate"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [near]}},
        "claimRef": {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
    }
    if storage_class.get("mountOptions"):
        made["mountOptions"] = storage_class["mountOptions"]
    annotations = {c.PROVISIONED_BY: PROVISIONER, c.SELECTED_NODE: node_name}
    name = f"pvc-{metadata['uid']}"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": annotations},
        "spec": made,
    }


def working_pod(name: str, key: str, node: str, path: str, script: str) -> Object:
    """A pod that runs a script on a node, whatever its taints, with the folder's parent before it."""
    parent, _, leaf = path.rpartition("/")
    container = {
        "name": "folder",
        "image": "busybox",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "env": [{"name": "VOLUME", "value": f"/volumes/{leaf}"}],
        "volumeMounts": [{"name": "volumes", "mountPath": "/volumes"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {MADE_FOR: key}},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "priorityClassName": "system-node-critical",
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": [{"name": "volumes", "hostPath": {"path": parent, "type": "DirectoryOrCreate"}}],
        },
    }


def _pod_name(verb: str, name: str) -> str:
    return f"local-path-{verb}-{name}"


def _node_of(volume: Object) -> str:
    return c.annotations_of(volume).get(c.SELECTED_NODE, "")
