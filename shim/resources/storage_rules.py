"""What must hold of claims (wherever one is written), of PersistentVolumes and of StorageClasses."""

from __future__ import annotations

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.amounts import amount
from shim.resources.causes import (
    forbidden,
    immutable,
    invalid,
    label_selector,
    named,
    one_of,
    required,
    unsupported,
)
from shim.resources.pods.scheduling import node_selector
from shim.resources.pods.volumes import SOURCES

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")


def access_modes(at: str, modes: list[str]) -> list[FieldError]:
    if not modes:
        return [required(at, "at least 1 access mode is required")]
    causes = [unsupported(at, mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES]
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        causes.append(forbidden(at, "may not use ReadWriteOncePod with other access modes"))
    return causes


def positive(at: str, text: object) -> list[FieldError]:
    found = amount(text)
    return [] if found.nanos > 0 else [invalid(at, str(found), "must be greater than zero")]


def claim_spec(at: str, spec: Object) -> list[FieldError]:
    causes = label_selector(f"{at}.selector", spec.get("selector"))
    causes += access_modes(f"{at}.accessModes", spec.get("accessModes") or [])
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    causes += [required(f"{at}.resources[storage]")] if asked is None else positive(f"{at}.resources[storage]", asked)
    if spec.get("storageClassName"):
        causes += named(f"{at}.storageClassName", spec["storageClassName"], names.dns1123_subdomain)
    if spec.get("volumeMode") is not None:
        causes += one_of(f"{at}.volumeMode", spec["volumeMode"], ("Block", "Filesystem"))
    return causes


_CLAIM_FIXED = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)


def claim_change(new: Object, old: Object) -> list[FieldError]:
    spec, before = new["spec"], old["spec"]
    bound = (new.get("status") or {}).get("phase") == "Bound"
    free = {"volumeName"} if not before.get("volumeName") else set()
    free |= {"resources", "volumeAttributesClassName"} if bound else set()
    free |= {"storageClassName"} if before.get("storageClassName") is None else set()
    causes: list[FieldError] = []

    def fixed(of: Object) -> Object:
        return {key: value for key, value in of.items() if key not in free and value}

    if fixed(spec) != fixed(before):
        causes.append(forbidden("spec", _CLAIM_FIXED))
    now, was = (((of.get("resources") or {}).get("requests") or {}).get("storage", "0") for of in (spec, before))
    held = ((old.get("status") or {}).get("capacity") or {}).get("storage", "0")
    if amount(now) < amount(was) and amount(now) <= amount(held):
        text = "field can not be less than status.capacity"
        causes.append(forbidden("spec.resources.requests.storage", text))
    return causes + immutable("volumeMode", spec.get("volumeMode"), before.get("volumeMode"))


_NOT_SOURCES = ("emptyDir", "configMap", "secret", "downwardAPI", "projected", "ephemeral", "image", "gitRepo")


def volume_spec(at: str, spec: Object) -> list[FieldError]:
    modes, capacity = spec.get("accessModes") or [], spec.get("capacity") or {}
    causes = access_modes(f"{at}.accessModes", modes) if modes else [required(f"{at}.accessModes")]
    if not capacity:
        causes.append(required(f"{at}.capacity"))
    if list(capacity) != ["storage"]:
        causes.append(unsupported(f"{at}.capacity", capacity or None, ("storage",)))
    for name, text in capacity.items():
        causes += positive(f"{at}.capacity[{name}]", text)
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy:
        causes += one_of(f"{at}.persistentVolumeReclaimPolicy", policy, ("Delete", "Recycle", "Retain"))
    needed = (spec.get("nodeAffinity") or {}).get("required")
    if spec.get("nodeAffinity") is not None:
        here = f"{at}.nodeAffinity.required"
        causes += node_selector(here, needed) if needed else [required(here, "must specify required node constraints")]
    found = [kind for kind in (*SOURCES, "local") if kind not in _NOT_SOURCES and spec.get(kind) is not None]
    for kind in found[:1]:
        if kind == "local":
            causes += [] if spec[kind].get("path") else [required(f"{at}.local.path")]
            if not needed:
                causes.append(required(f"{at}.nodeAffinity", "Local volume requires node affinity"))
        elif kind in ("hostPath", "nfs", "csi"):
            causes += SOURCES[kind](f"{at}.{kind}", spec[kind])
    causes += [forbidden(f"{at}.{kind}", "may not specify more than 1 volume type") for kind in found[1:]]
    if not found:
        causes.append(required(at, "must specify a volume type"))
    if spec.get("storageClassName"):
        causes += named(f"{at}.storageClassName", spec["storageClassName"], names.dns1123_subdomain)
    if spec.get("volumeMode") is not None:
        causes += one_of(f"{at}.volumeMode", spec["volumeMode"], ("Block", "Filesystem"))
    return causes


def storage_class(obj: Object) -> list[FieldError]:
    provisioner = obj.get("provisioner") or ""
    causes = (
        named("provisioner", provisioner.lower(), names.qualified_name) if provisioner else [required("provisioner")]
    )
    causes += one_of("reclaimPolicy", obj.get("reclaimPolicy"), ("Delete", "Retain"))
    mode = obj.get("volumeBindingMode")
    return causes + one_of("volumeBindingMode", mode, ("Immediate", "WaitForFirstConsumer"))


def storage_class_change(new: Object, old: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for field in ("parameters", "provisioner"):
        if (new.get(field) or None) != (old.get(field) or None):
            causes.append(forbidden(field, f"updates to {field} are forbidden."))
    if new.get("reclaimPolicy") != old.get("reclaimPolicy"):
        causes.append(forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden."))
    return causes + immutable("volumeBindingMode", new.get("volumeBindingMode"), old.get("volumeBindingMode"))
