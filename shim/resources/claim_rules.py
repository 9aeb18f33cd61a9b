"""What must hold of PersistentVolumeClaims, wherever one is written: as an object, or as a template for one."""

from __future__ import annotations

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.amounts import amount
from shim.resources.causes import (
    IMMUTABLE,
    forbidden,
    invalid,
    label_selector,
    named,
    one_of,
    required,
    shown,
    unsupported,
)
from shim.resources.pods.amounts import is_native, quantity
from shim.resources.printed import difference

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
_RESIZE = (
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
)


def access_modes(at: str, modes: list[str]) -> list[FieldError]:
    """Modes a volume can be used in; the one for a single pod stands alone."""
    causes = [unsupported(at, mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES]
    known = set(modes) & set(ACCESS_MODES)
    if "ReadWriteOncePod" in known and len(known) > 1:
        causes.append(forbidden(at, "may not use ReadWriteOncePod with other access modes"))
    return causes


def positive(at: str, text: object) -> list[FieldError]:
    found = amount(text)
    return [] if found.nanos > 0 else [invalid(at, str(found), "must be greater than zero")]


def claim_spec(at: str, spec: Object) -> list[FieldError]:
    modes = spec.get("accessModes") or []
    causes = [] if modes else [required(f"{at}.accessModes", "at least 1 access mode is required")]
    causes += label_selector(f"{at}.selector", spec.get("selector"))
    causes += access_modes(f"{at}.accessModes", modes)
    here = f"{at}.resources[storage]"
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    causes += [required(here)] if asked is None else positive(here, asked)
    if spec.get("storageClassName"):
        causes += named(f"{at}.storageClassName", spec["storageClassName"], names.dns1123_subdomain)
    if spec.get("volumeMode") is not None:
        causes += one_of(f"{at}.volumeMode", spec["volumeMode"], VOLUME_MODES)
    causes += _sources(at, spec.get("dataSource"), spec.get("dataSourceRef"))
    if spec.get("volumeAttributesClassName"):
        causes += named(f"{at}.volumeAttributesClassName", spec["volumeAttributesClassName"], names.dns1123_subdomain)
    return causes


def _sources(at: str, source: Object | None, reference: Object | None) -> list[FieldError]:
    """What a volume starts from, under its old name and its new one: they must say the same."""
    causes: list[FieldError] = []
    for field, found in (("dataSource", source), ("dataSourceRef", reference)):
        if found is not None:
            causes += _source(f"{at}.{field}", found)
    if source is None or reference is None:
        return causes
    if reference.get("namespace"):
        causes.append(invalid(at, {}, "may not be specified when dataSourceRef.namespace is specified"))
    elif any(source.get(field) != reference.get(field) for field in ("apiGroup", "kind", "name")):
        causes.append(invalid(at, {}, "must match dataSourceRef"))
    return causes


def _source(at: str, found: Object) -> list[FieldError]:
    causes = [required(f"{at}.{field}") for field in ("name", "kind") if not found.get(field)]
    group, kind = found.get("apiGroup") or "", found.get("kind") or ""
    if not group and kind != "PersistentVolumeClaim":
        causes.append(invalid(at, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
    if group:
        causes += named(f"{at}.apiGroup", group, names.dns1123_subdomain)
    if found.get("namespace"):
        causes += named(f"{at}.namespace", found["namespace"], names.dns1123_label)
    return causes


_FIXED = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


def change(new: Object, old: Object) -> list[FieldError]:
    """A claim is fixed once made; a bound one may ask for more space and for other attributes."""
    spec, before = new["spec"], old["spec"]
    causes, free = _class_change(new, old)
    if not before.get("volumeName"):
        free.add("volumeName")
    bound = (new.get("status") or {}).get("phase") == "Bound"
    if bound:
        free.add("volumeAttributesClassName")
    compared = {**spec, **{field: before.get(field) for field in free}}
    resources = spec.get("resources") or {}
    if bound and resources.get("requests") is not None:
        compared["resources"] = {**resources, "requests": {**resources["requests"], "storage": _asked(before)}}
    if _filled(compared) != _filled(before):
        changed = difference("core.v1.PersistentVolumeClaimSpec", before, compared)
        causes.append(forbidden("spec", f"{_FIXED}\n{changed}"))
    now, was = (amount(_asked(of) or "0") for of in (spec, before))
    held = ((old.get("status") or {}).get("capacity") or {}).get("storage", "0")
    if now < was and now <= amount(held):
        causes.append(forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"))
    if spec.get("volumeMode") != before.get("volumeMode"):
        causes.append(invalid("volumeMode", spec.get("volumeMode"), IMMUTABLE))
    attributes = spec.get("volumeAttributesClassName")
    applied = (old.get("status") or {}).get("currentVolumeAttributesClassName") is not None
    if applied and not attributes and attributes != before.get("volumeAttributesClassName"):
        what = "nil" if attributes is None else "empty string"
        text = f"update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil"
        causes.append(forbidden("spec.volumeAttributesClassName", text))
    return causes


def _asked(spec: Object) -> object:
    return ((spec.get("resources") or {}).get("requests") or {}).get("storage")


def _filled(spec: Object) -> Object:
    return {key: value for key, value in spec.items() if value not in (None, [], {})}


def _class_change(new: Object, old: Object) -> tuple[list[FieldError], set[str]]:
    """A claim may be given a class it had not, or the field instead of the annotation that was before it."""
    name, had = new["spec"].get("storageClassName"), old["spec"].get("storageClassName")
    annotation, before = ((of["metadata"].get("annotations") or {}).get(OLD_CLASS) for of in (new, old))
    if before is not None and had is None and name == before and annotation in (None, before):
        return [], {"storageClassName"}
    causes: list[FieldError] = []
    if (annotation or "") != (before or ""):
        causes.append(invalid(f"metadata.annotations.{OLD_CLASS}", annotation or "", IMMUTABLE))
    free = name is not None and had is None and before in (None, name)
    return causes, {"storageClassName"} if free else set()


def status(new: Object) -> list[FieldError]:
    found = new.get("status") or {}
    causes: list[FieldError] = []
    for name, text in (found.get("capacity") or {}).items():
        causes += _basic(f"status.capacity[{name}]", text)
    at = "status.allocatedResourceStatuses"
    for name, state in (found.get("allocatedResourceStatuses") or {}).items():
        causes += _resource_key(at, name)
        if state not in _RESIZE:
            causes.append(unsupported(at, name, _RESIZE))
    at = "status.allocatedResources"
    for name, text in (found.get("allocatedResources") or {}).items():
        causes += _resource_key(at, name) or _basic(f"{at}[{name}]", text) or quantity(f"{at}[{name}]", "storage", text)
    return causes


def _basic(at: str, text: object) -> list[FieldError]:
    whole = amount(text).nanos // 10**9
    return [invalid(at, whole, "must be a valid resource quantity")] if whole < 0 else []


def _resource_key(at: str, name: str) -> list[FieldError]:
    causes = named(at, name, names.qualified_name)
    if not causes and is_native(name) and name != "storage":
        return [unsupported(at, name, ("storage",))]
    return causes


def warnings(at: str, spec: Object) -> list[str]:
    found: list[str] = []
    for field in ("requests", "limits"):
        value = amount(((spec.get("resources") or {}).get(field) or {}).get("storage", "0"))
        if not value.whole:
            text = f"fractional byte value {shown(str(value))} is invalid, must be an integer"
            found.append(f"{at}.resources.{field}[storage]: {text}")
    return found
