"""What must hold of claims, wherever one is written: a PersistentVolumeClaim, or a StatefulSet's template of one."""

from __future__ import annotations

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.amounts import amount
from shim.resources.causes import forbidden, invalid, label_selector, named, one_of, required, unsupported

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
