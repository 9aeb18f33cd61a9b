"""Defaults that Go's types declare (``+default``): version 3 of OpenAPI tells them, beside the zeros of other fields.

They are told, not filled in: that is done by the strategies of :mod:`shim.resources`.
"""

from __future__ import annotations

from typing import Any

_CORE = "io.k8s.api.core.v1."
_NAME: dict[str, Any] = {"name": ""}
_CEPH: dict[str, Any] = {"keyring": "/etc/ceph/keyring", "pool": "rbd", "user": "admin"}
_SCALE_IO: dict[str, Any] = {"fsType": "xfs", "storageMode": "ThinProvisioned"}
_NAMING = (
    "ConfigMapEnvSource",
    "ConfigMapKeySelector",
    "ConfigMapProjection",
    "ConfigMapVolumeSource",
    "LocalObjectReference",
    "SecretEnvSource",
    "SecretKeySelector",
    "SecretProjection",
)
_VERSION = "buildDate compiler gitCommit gitTreeState gitVersion goVersion major minor platform"
_OF_CORE: dict[str, dict[str, Any]] = {
    "AzureDiskVolumeSource": {"cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared", "readOnly": False},
    "ContainerPort": {"protocol": "TCP"},
    "FileKeySelector": {"optional": False},
    "GRPCAction": {"service": ""},
    "ISCSIPersistentVolumeSource": {"iscsiInterface": "default"},
    "ISCSIVolumeSource": {"iscsiInterface": "default"},
    "RBDPersistentVolumeSource": _CEPH,
    "RBDVolumeSource": _CEPH,
    "ReplicationControllerSpec": {"minReadySeconds": 0, "replicas": 1},
    "ScaleIOPersistentVolumeSource": _SCALE_IO,
    "ScaleIOVolumeSource": _SCALE_IO,
    "ServicePort": {"protocol": "TCP"},
    **dict.fromkeys(_NAMING, _NAME),
}
DECLARED: dict[str, dict[str, Any]] = {
    **{f"{_CORE}{name}": fields for name, fields in _OF_CORE.items()},
    "io.k8s.api.autoscaling.v1.ScaleSpec": {"replicas": 0},
    "io.k8s.api.resource.v1.DeviceToleration": {"operator": "Equal"},
    "io.k8s.apimachinery.pkg.version.Info": dict.fromkeys(_VERSION.split(), ""),
}
"""By the name of the definition: fields and what they are when nobody says."""
