"""What must hold of PersistentVolumes, and of the volumes written into VolumeAttachments."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import IMMUTABLE, as_map, forbidden, invalid, named, one_of, required, unsupported
from shim.resources.claim_rules import OLD_CLASS, VOLUME_MODES, access_modes, positive
from shim.resources.node_labels import term_warnings
from shim.resources.pods import sources
from shim.resources.pods.scheduling import node_selector
from shim.resources.printed import difference, go_struct

_RECLAIM = ("Delete", "Recycle", "Retain")
_ONE = "may not specify more than 1 volume type"
_INLINE = "in the context of inline volumes"
_MOUNT_OPTIONS = "volume.beta.kubernetes.io/mount-options"


def _csi(at: str, source: Object) -> list[FieldError]:
    causes = sources.csi_driver(f"{at}.driver", source.get("driver") or "")
    if not source.get("volumeHandle"):
        causes.append(required(f"{at}.volumeHandle"))
    for field in (
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ):
        if source.get(field) is not None:
            causes += _secret(f"{at}.{field}", source[field])
    return causes


def _secret(at: str, reference: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for field, rule in (("name", names.dns1123_subdomain), ("namespace", names.dns1123_label)):
        value = reference.get(field) or ""
        causes += named(f"{at}.{field}", value, rule) if value else [required(f"{at}.{field}")]
    return causes


def _glusterfs(at: str, source: Object) -> list[FieldError]:
    causes = sources.glusterfs(at, source)
    namespace = source.get("endpointsNamespace")
    if namespace == "":
        text = "if the endpointnamespace is set, it must be a valid namespace name"
        causes.append(invalid(f"{at}.endpointsNamespace", "", text))
    elif namespace is not None:
        causes += named(f"{at}.endpointsNamespace", namespace, names.dns1123_label)
    return causes


def _azure_file(at: str, source: Object) -> list[FieldError]:
    causes = sources.azure_file(at, source)
    if source.get("secretNamespace") == "":
        causes.append(required(f"{at}.secretNamespace"))
    return causes


def _local(at: str, source: Object) -> list[FieldError]:
    path = source.get("path") or ""
    return sources.no_way_up(f"{at}.path", path) if path else [required(f"{at}.path")]


_SOURCES: dict[str, Callable[[str, Object], list[FieldError]]] = {
    # in the order in which they are looked at: the first one counts
    "hostPath": sources.host_path,
    "gcePersistentDisk": sources.disk("pdName"),
    "awsElasticBlockStore": sources.disk("volumeID"),
    "glusterfs": _glusterfs,
    "flocker": sources.flocker,
    "nfs": sources.nfs,
    "rbd": sources.with_fields("monitors", "image"),
    "quobyte": sources.quobyte,
    "cephfs": sources.with_fields("monitors"),
    "iscsi": sources.iscsi_in_volume,
    "cinder": sources.with_secret("namespace", sources.with_fields("volumeID")),
    "fc": sources.fibre_channel,
    "flexVolume": sources.flex_volume,
    "azureFile": _azure_file,
    "vsphereVolume": sources.with_fields("volumePath"),
    "photonPersistentDisk": sources.with_fields("pdID"),
    "portworxVolume": sources.with_fields("volumeID"),
    "azureDisk": sources.azure_disk,
    "scaleIO": sources.with_fields("gateway", "system", "volumeName"),
    "local": _local,
    "storageos": sources.with_secret("namespace", sources.storage_os),
    "csi": _csi,
}
_WITH_MOUNT_OPTIONS = (
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "nfs",
    "rbd",
    "quobyte",
    "iscsi",
    "cinder",
    "cephfs",
    "azureFile",
    "vsphereVolume",
    "azureDisk",
    "photonPersistentDisk",
)


def volume(obj: Object) -> list[FieldError]:
    """A PersistentVolume, but for its metadata."""
    return _spec("spec", obj["spec"], obj["metadata"].get("name") or "")


def mount_options(obj: Object) -> list[FieldError]:
    """The annotation from before ``mountOptions`` means something to some kinds of volumes."""
    if _MOUNT_OPTIONS not in (obj["metadata"].get("annotations") or {}):
        return []
    if any(obj["spec"].get(kind) is not None for kind in _WITH_MOUNT_OPTIONS):
        return []
    text = "may not specify mount options for this volume type"
    return [forbidden(f"metadata.annotations.{_MOUNT_OPTIONS}", text)]


def inline_volume(at: str, spec: Object) -> list[FieldError]:
    """A volume inside another object: CSI alone, and nothing that only a PersistentVolume has."""
    causes = [forbidden(f"{at}.{field}", f"may not be specified {_INLINE}") for field in ("claimRef",) if field in spec]
    if spec.get("capacity"):
        causes.append(forbidden(f"{at}.capacity", f"may not be specified {_INLINE}"))
    if spec.get("csi") is None:
        causes.append(required(f"{at}.csi", f"has to be specified {_INLINE}"))
    causes += _modes(at, spec)
    if spec.get("persistentVolumeReclaimPolicy") not in (None, "", "Retain"):
        causes.append(forbidden(f"{at}.persistentVolumeReclaimPolicy", f"may only be Retain {_INLINE}"))
    if spec.get("nodeAffinity") is not None:
        causes.append(forbidden(f"{at}.nodeAffinity", f"may not be specified {_INLINE}"))
    causes += _source(at, spec, "")
    if spec.get("storageClassName"):
        causes.append(forbidden(f"{at}.storageClassName", f"may not be specified {_INLINE}"))
    if spec.get("volumeMode") not in (None, "Filesystem"):
        text = f"may not specify volumeMode other than Filesystem {_INLINE}"
        causes.append(forbidden(f"{at}.volumeMode", text))
    return causes


def _modes(at: str, spec: Object) -> list[FieldError]:
    modes = spec.get("accessModes") or []
    return ([] if modes else [required(f"{at}.accessModes")]) + access_modes(f"{at}.accessModes", modes)


def _spec(at: str, spec: Object, name: str) -> list[FieldError]:
    causes = _modes(at, spec)
    capacity = spec.get("capacity") or {}
    if not capacity:
        causes.append(required(f"{at}.capacity"))
    if list(capacity) != ["storage"]:
        causes.append(unsupported(f"{at}.capacity", as_map(spec.get("capacity")), ("storage",)))
    for resource, text in capacity.items():
        causes += sources.not_negative_whole(f"{at}.capacity[{resource}]", text)
        causes += positive(f"{at}.capacity[{resource}]", text)
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy:
        causes += one_of(f"{at}.persistentVolumeReclaimPolicy", policy, _RECLAIM)
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        here, needed = f"{at}.nodeAffinity.required", affinity.get("required")
        wanted = "must specify required node constraints"
        causes += [required(here, wanted)] if needed is None else node_selector(here, needed)
    causes += _source(at, spec, name)
    root = spec.get("hostPath") is not None and posixpath.normpath(spec["hostPath"].get("path") or ".") == "/"
    if root and policy == "Recycle":
        text = "may not be 'recycle' for a hostPath mount of '/'"
        causes.append(forbidden(f"{at}.persistentVolumeReclaimPolicy", text))
    if spec.get("storageClassName"):
        causes += named(f"{at}.storageClassName", spec["storageClassName"], names.dns1123_subdomain)
    if spec.get("volumeMode") is not None:
        causes += one_of(f"{at}.volumeMode", spec["volumeMode"], VOLUME_MODES)
    return causes + _attributes(at, spec)


def _attributes(at: str, spec: Object) -> list[FieldError]:
    name = spec.get("volumeAttributesClassName")
    if name is None:
        return []
    here = f"{at}.volumeAttributesClassName"
    causes = named(here, name, names.dns1123_subdomain) if name else [required(here, "an empty string is disallowed")]
    if spec.get("csi") is None:
        causes.append(required(f"{at}.csi", "has to be specified when using volumeAttributesClassName"))
    return causes


def _source(at: str, spec: Object, name: str) -> list[FieldError]:
    causes: list[FieldError] = []
    found = [kind for kind in _SOURCES if spec.get(kind) is not None]
    for index, kind in enumerate(found):
        if index and kind != "flexVolume":
            causes.append(forbidden(f"{at}.{'cephFS' if kind == 'cephfs' else kind}", _ONE))
            continue
        here = f"{at}.{'persistentDisk' if kind == 'gcePersistentDisk' else kind}"
        causes += _SOURCES[kind](here, spec[kind])
        if kind == "local" and spec.get("nodeAffinity") is None:
            causes.append(required(f"{at}.nodeAffinity", "Local volume requires node affinity"))
        if kind == "iscsi":
            causes += sources.initiator_fits(f"{here}.targetportal", spec[kind], name)
    return causes if found else [*causes, required(at, "must specify a volume type")]


def change(new: Object, old: Object) -> list[FieldError]:
    """What a volume is made of stays; the secret for growing it may be added."""
    spec, before = new["spec"], old["spec"]

    def made_of(of: Object) -> Object:
        return {kind: of[kind] for kind in _SOURCES if of.get(kind) is not None}

    now, was = made_of(spec), made_of(before)
    if "csi" in now and "csi" in was and was["csi"].get("controllerExpandSecretRef") is None:
        now["csi"] = {key: value for key, value in now["csi"].items() if key != "controllerExpandSecretRef"}
    causes: list[FieldError] = []
    if now != was:
        text = "spec.persistentvolumesource is immutable after creation"
        changed = difference("core.v1.PersistentVolumeSource", was, now)
        causes.append(forbidden("spec.persistentvolumesource", f"{text}\n{changed}"))
    if spec.get("volumeMode") != before.get("volumeMode"):
        causes.append(invalid("volumeMode", spec.get("volumeMode"), IMMUTABLE))
    place, was_at = spec.get("nodeAffinity"), before.get("nodeAffinity")
    if was_at is not None and place != was_at and not _renamed(place or {}, was_at):
        text = f"{IMMUTABLE}, except for updating from beta label to GA"
        causes.append(invalid("nodeAffinity", go_struct("core.v1.VolumeNodeAffinity", place), text))
    if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        causes.append(forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden"))
    return causes


_RENAMED = {
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


def _renamed(place: Object, before: Object) -> bool:
    """Whether a place is the same but that old labels of nodes gave way to their new names."""

    def renewed(of: Object) -> list[Object]:
        terms = ((of.get("required") or {}).get("nodeSelectorTerms")) or []
        return [
            {
                **term,
                "matchExpressions": [
                    {**each, "key": _RENAMED.get(each.get("key") or "", each.get("key"))}
                    for each in term.get("matchExpressions") or ()
                ],
            }
            for term in terms
        ]

    old_names = [each.get("key") for term in renewed(place) for each in term["matchExpressions"]]
    return bool(place) and renewed(place) == renewed(before) and not set(old_names) & set(_RENAMED)


_OLD_ANNOTATIONS = {
    OLD_CLASS: 'deprecated since v1.8; use "storageClassName" attribute instead',
    _MOUNT_OPTIONS: 'deprecated since v1.31; use "mountOptions" attribute instead',
}
_GONE = ("cephfs", "photonPersistentDisk", "scaleIO", "storageos", "glusterfs", "rbd")


def warnings(obj: Object) -> list[str]:
    spec, annotations = obj["spec"], obj["metadata"].get("annotations") or {}
    found = [f"metadata.annotations[{key}]: {text}" for key, text in _OLD_ANNOTATIONS.items() if key in annotations]
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        text = "Instead, the recommended approach is to use dynamic provisioning."
        found.append(f"spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. {text}")
    needed = (spec.get("nodeAffinity") or {}).get("required") or {}
    for index, term in enumerate(needed.get("nodeSelectorTerms") or ()):
        found += term_warnings(f"spec.nodeAffinity.required.nodeSelectorTerms[{index}]", term)
    for kind in _GONE:
        if spec.get(kind) is not None:
            found.append(f"spec.{'storageOS' if kind == 'storageos' else kind}: {sources.GONE[kind]}")
    return found
