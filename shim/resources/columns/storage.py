"""What is shown of storage kinds."""

from __future__ import annotations

from shim.api.meta import Object
from shim.resources.columns.common import (
    AGE,
    NAME,
    NONE,
    UNSET,
    at,
    boolean,
    count,
    dig,
    doc,
    flag,
    integer,
    text,
    wide,
)
from shim.resources.strategy import Column

_SHORT = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"


def _modes(found: list[str] | None) -> str:
    return ",".join(short for mode, short in _SHORT.items() if mode in (found or ()))


def _phase(obj: Object) -> str:
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else dig(obj, "status.phase") or ""


def _class(obj: Object) -> str:
    old = (obj["metadata"].get("annotations") or {}).get(_OLD_CLASS)
    return old if old is not None else dig(obj, "spec.storageClassName") or ""


def _claim(volume: Object) -> str:
    found = dig(volume, "spec.claimRef")
    return f"{found.get('namespace') or ''}/{found.get('name') or ''}" if found else ""


_VOLUME, _CLAIM = "core.v1.PersistentVolumeSpec", "core.v1.PersistentVolumeClaimSpec"
_CLAIM_STATUS = "core.v1.PersistentVolumeClaimStatus"

VOLUMES = (
    NAME,
    text("Capacity", doc(_VOLUME, "capacity"), at("spec.capacity.storage", "0")),
    text("Access Modes", doc(_VOLUME, "accessModes"), lambda obj: _modes(dig(obj, "spec.accessModes"))),
    text("Reclaim Policy", doc(_VOLUME, "persistentVolumeReclaimPolicy"), at("spec.persistentVolumeReclaimPolicy")),
    text("Status", doc("core.v1.PersistentVolumeStatus", "phase"), _phase),
    text("Claim", doc(_VOLUME, "claimRef"), _claim),
    text("StorageClass", "StorageClass of the pv", _class),
    text("VolumeAttributesClass", "VolumeAttributesClass of the pv", at("spec.volumeAttributesClassName", UNSET)),
    text("Reason", doc("core.v1.PersistentVolumeStatus", "reason"), at("status.reason")),
    AGE,
    wide("VolumeMode", doc(_VOLUME, "volumeMode"), at("spec.volumeMode", UNSET)),
)


def _bound(path: str, missing: str) -> Column:
    """Capacity and access modes are those of the volume, so only a bound claim has them."""
    field = path.split(".")[0]

    def cell(obj: Object) -> str:
        if not dig(obj, "spec.volumeName"):
            return ""
        found = dig(obj, f"status.{path}")
        return _modes(found) if field == "accessModes" else found or missing

    name = "Access Modes" if field == "accessModes" else "Capacity"
    return text(name, doc(_CLAIM_STATUS, field), cell)


CLAIMS = (
    NAME,
    text("Status", doc(_CLAIM_STATUS, "phase"), _phase),
    text("Volume", doc(_CLAIM, "volumeName"), at("spec.volumeName")),
    _bound("capacity.storage", "0"),
    _bound("accessModes", ""),
    text("StorageClass", "StorageClass of the pvc", _class),
    text("VolumeAttributesClass", "VolumeAttributesClass of the pvc", at("spec.volumeAttributesClassName", UNSET)),
    AGE,
    wide("VolumeMode", doc(_CLAIM, "volumeMode"), at("spec.volumeMode", UNSET)),
)


def _class_name(obj: Object) -> str:
    found = obj["metadata"].get("annotations") or {}
    marks = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
    name = str(obj["metadata"]["name"])
    return f"{name} (default)" if any(found.get(mark) == "true" for mark in marks) else name


_STORAGE_CLASS = "storage.v1.StorageClass"

STORAGE_CLASSES = (
    Column("Name", "string", NAME.description, _class_name, "name"),
    text("Provisioner", doc(_STORAGE_CLASS, "provisioner"), at("provisioner")),
    text("ReclaimPolicy", doc(_STORAGE_CLASS, "reclaimPolicy"), at("reclaimPolicy", "Delete")),
    text("VolumeBindingMode", doc(_STORAGE_CLASS, "volumeBindingMode"), at("volumeBindingMode", "Immediate")),
    text("AllowVolumeExpansion", doc(_STORAGE_CLASS, "allowVolumeExpansion"), at("allowVolumeExpansion", False)),
    AGE,
)

VOLUME_ATTRIBUTES_CLASSES = (
    NAME,
    text("DriverName", doc("storage.v1.VolumeAttributesClass", "driverName"), at("driverName")),
    AGE,
)

_ATTACHMENT = "storage.v1.VolumeAttachmentSpec"

VOLUME_ATTACHMENTS = (
    NAME,
    Column("Attacher", "string", doc(_ATTACHMENT, "attacher"), at("spec.attacher"), "name"),
    text(
        "PV",
        doc("storage.v1.VolumeAttachmentSource", "persistentVolumeName"),
        at("spec.source.persistentVolumeName"),
    ),
    text("Node", doc(_ATTACHMENT, "nodeName"), at("spec.nodeName")),
    boolean("Attached", doc("storage.v1.VolumeAttachmentStatus", "attached"), flag("status.attached")),
    AGE,
)

CSI_NODES = (
    NAME,
    integer("Drivers", "Drivers indicates the number of CSI drivers registered on the node", count("spec.drivers")),
    AGE,
)


def _audiences(obj: Object) -> str:
    found = dig(obj, "spec.tokenRequests")
    return UNSET if found is None else ",".join(each.get("audience") or "" for each in found)


_DRIVER = "storage.v1.CSIDriverSpec"

CSI_DRIVERS = (
    NAME,
    boolean("AttachRequired", doc(_DRIVER, "attachRequired"), flag("spec.attachRequired", True)),
    boolean("PodInfoOnMount", doc(_DRIVER, "podInfoOnMount"), flag("spec.podInfoOnMount")),
    boolean("StorageCapacity", doc(_DRIVER, "storageCapacity"), flag("spec.storageCapacity")),
    text("TokenRequests", doc(_DRIVER, "tokenRequests"), _audiences),
    boolean("RequiresRepublish", doc(_DRIVER, "requiresRepublish"), flag("spec.requiresRepublish")),
    text(
        "Modes",
        doc(_DRIVER, "volumeLifecycleModes"),
        lambda obj: ",".join(dig(obj, "spec.volumeLifecycleModes") or ()) or NONE,
    ),
    AGE,
)
