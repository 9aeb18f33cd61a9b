"""Which volume may serve a claim? What the binder, the scheduler and provisioners agree on about both. Pure.

A volume and a claim are bound when each names the other. The volume is written first, with the claim's uid in
``claimRef``, so that it can never serve two; the annotations tell what a controller wrote and may take back.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping

from shim.api import placement, quantity, selectors
from shim.api.meta import Object, key_of

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONERS = ("volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner")
OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
NO_PROVISIONER = "kubernetes.io/no-provisioner"


def annotations_of(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}


def class_of(obj: Object) -> str:
    """The storage class a claim or a volume names; empty for none."""
    return str(annotations_of(obj).get(OLD_CLASS) or obj["spec"].get("storageClassName") or "")


def names_class(claim: Object) -> bool:
    """Whether the claim says which class it wants; the empty one is an answer too."""
    return OLD_CLASS in annotations_of(claim) or claim["spec"].get("storageClassName") is not None


def waits_for_consumer(claim: Object, classes: Mapping[str, Object]) -> bool:
    """Whether the scheduler decides about the claim together with its first pod."""
    return bool((classes.get(class_of(claim)) or {}).get("volumeBindingMode") == "WaitForFirstConsumer")


def size_of(volume: Object) -> int:
    return quantity.parse(str((volume["spec"].get("capacity") or {}).get("storage") or "0")).value


def asked_size(claim: Object) -> int:
    requests = (claim["spec"].get("resources") or {}).get("requests") or {}
    return quantity.parse(str(requests.get("storage") or "0")).value


def reserved_key(volume: Object) -> str | None:
    """The claim, as ``namespace/name``, that the volume is kept for."""
    reference = volume["spec"].get("claimRef")
    return f"{reference.get('namespace', '')}/{reference['name']}" if reference else None


def is_reserved_for(volume: Object, claim: Object) -> bool:
    """Whether the volume is kept for this very claim: by name, and by uid where one is given."""
    reference = volume["spec"].get("claimRef") or {}
    uid = reference.get("uid")
    return reserved_key(volume) == key_of(claim) and (not uid or uid == claim["metadata"]["uid"])


def reachable(volume: Object, node: Object) -> bool:
    """Whether the volume can be used on the node."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    return required is None or placement.matches_node_selector(required, node)


def mismatch(volume: Object, claim: Object) -> str | None:
    """Why the volume that a claim asks for by name cannot serve it, in upstream's words."""
    if volume["metadata"].get("deletionTimestamp"):
        return f'the volume is marked for deletion "{volume["metadata"]["name"]}"'
    if size_of(volume) < asked_size(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if _attributes_class(volume) != _attributes_class(claim):
        return "volumeAttributesClassName does not match"
    if _mode(volume) != _mode(claim):
        return "incompatible volumeMode"
    return None if _accessible(volume, claim) else "incompatible accessMode"


def best_volume(
    claim: Object,
    volumes: Iterable[Object],
    *,
    node: Object | None = None,
    taken: Container[str] = (),
    only_reserved: bool = False,
) -> Object | None:
    """The volume kept for the claim, or else the smallest free one that can do what it asks, and little more.

    ``node`` must reach it, ``taken`` names volumes that are not to be had. ``only_reserved``: free ones do not count.
    """
    selector = selectors.from_object(claim["spec"]["selector"]) if claim["spec"].get("selector") else None
    free = []
    for volume in volumes:
        if volume["metadata"]["name"] in taken or volume["metadata"].get("deletionTimestamp"):
            continue
        if size_of(volume) < asked_size(claim) or _mode(volume) != _mode(claim) or not _accessible(volume, claim):
            continue
        if _attributes_class(volume) != _attributes_class(claim):
            continue
        if volume["spec"].get("claimRef"):
            if is_reserved_for(volume, claim):
                return volume if node is None or reachable(volume, node) else None
            continue
        if only_reserved or class_of(volume) != class_of(claim):
            continue
        if (volume.get("status") or {}).get("phase") != "Available":
            continue  # it is about to change
        if selector is not None and not selector.matches(volume["metadata"].get("labels") or {}):
            continue
        if node is None or reachable(volume, node):
            free.append(volume)
    return min(free, key=_plainness, default=None)


def reserve(volume: Object, claim: Object) -> Object:
    """The volume as it must be written to be kept for the claim; the same object when it is already."""
    reference = volume["spec"].get("claimRef") or {}
    if is_reserved_for(volume, claim) and reference.get("uid"):
        return volume
    metadata = volume["metadata"]
    if not is_reserved_for(volume, claim):  # nobody's wish: what a controller wrote it may also undo
        metadata = {**metadata, "annotations": {**annotations_of(volume), BOUND_BY_CONTROLLER: "yes"}}
    reference = {
        "kind": "PersistentVolumeClaim",
        "apiVersion": "v1",
        "namespace": claim["metadata"]["namespace"],
        "name": claim["metadata"]["name"],
        "uid": claim["metadata"]["uid"],
        "resourceVersion": claim["metadata"]["resourceVersion"],
    }
    return {**volume, "metadata": metadata, "spec": {**volume["spec"], "claimRef": reference}}


def claims_of(pod: Object) -> Iterator[tuple[str, bool]]:
    """The name of each claim a pod uses, and whether it is made for the pod alone (a generic ephemeral volume)."""
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield volume["persistentVolumeClaim"]["claimName"], False
        elif volume.get("ephemeral"):
            yield f"{pod['metadata']['name']}-{volume['name']}", True


def is_bound(claim: Object) -> bool:
    return bool(claim["spec"].get("volumeName")) and BIND_COMPLETED in annotations_of(claim)


def _plainness(volume: Object) -> tuple[int, int, str]:
    return len(volume["spec"].get("accessModes") or ()), size_of(volume), volume["metadata"]["name"]


def _mode(obj: Object) -> str:
    return str(obj["spec"].get("volumeMode") or "Filesystem")


def _attributes_class(obj: Object) -> str:
    return str(obj["spec"].get("volumeAttributesClassName") or "")


def _accessible(volume: Object, claim: Object) -> bool:
    return set(claim["spec"].get("accessModes") or ()) <= set(volume["spec"].get("accessModes") or ())
