"""Are a pod's volumes there, and within reach of a node? Bound claims only; nothing is bound here. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from shim.api import placement
from shim.api.meta import Object
from shim.scheduler.snapshot import Pod, Snapshot


def _claims(pod: Pod) -> Iterator[str]:
    for volume in pod.spec.get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield volume["persistentVolumeClaim"]["claimName"]
        elif "ephemeral" in volume:
            yield f"{pod.obj['metadata']['name']}-{volume['name']}"


def refuse_claims(pod: Pod, snapshot: Snapshot) -> str | None:
    """Why the pod's claims let it run nowhere (yet), in upstream's words."""
    unbound = False
    for name in _claims(pod):
        claim = snapshot.claims.get(f"{pod.namespace}/{name}")
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if (claim.get("status") or {}).get("phase") == "Lost":
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{_volume(claim)}"'
        if claim["metadata"].get("deletionTimestamp"):
            return f'persistentvolumeclaim "{name}" is being deleted'
        if (claim.get("status") or {}).get("phase") != "Bound":
            storage_class = snapshot.storage_classes.get(claim["spec"].get("storageClassName") or "") or {}
            if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer" and not _volume(claim):
                return f'persistentvolumeclaim "{name}" waits for its first consumer, which is not supported'
            unbound = True
    return "pod has unbound immediate PersistentVolumeClaims" if unbound else None


def volumes_reach(pod: Pod, snapshot: Snapshot, node: Object) -> bool:
    """Whether every bound volume may be used on the node."""
    for name in _claims(pod):
        claim = snapshot.claims.get(f"{pod.namespace}/{name}") or {"spec": {}}
        volume = snapshot.volumes.get(_volume(claim)) or {"spec": {}}
        required = (volume["spec"].get("nodeAffinity") or {}).get("required")
        if required is not None and not placement.matches_node_selector(required, node):
            return False
    return True


def _volume(claim: Object) -> str:
    return str(claim["spec"].get("volumeName") or "")
