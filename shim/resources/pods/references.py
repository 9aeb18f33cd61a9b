"""References from a pod to its own fields and resources, and to keys of ConfigMaps and Secrets."""

from __future__ import annotations

import re

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import invalid, named, required, unsupported

ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_KNOWN = {*ENV_FIELDS, *VOLUME_FIELDS, "spec.restartPolicy", "spec.schedulerName", "status.phase", "spec.host"}
_SUBSCRIPT = re.compile(r"(.*)\['(.*)'\]")
_RESOURCES = tuple(
    f"{kind}.{name}" for kind in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory")
)


def field_ref(at: str, reference: Object, allowed: tuple[str, ...]) -> list[FieldError]:
    """``fieldRef``: one of the pod's own fields."""
    path = reference.get("fieldPath") or ""
    if not reference.get("apiVersion"):
        return [required(f"{at}.apiVersion")]
    if not path:
        return [required(f"{at}.fieldPath")]
    if path in allowed:
        return []
    match = _SUBSCRIPT.fullmatch(path)
    if match:
        if match[1] == "metadata.annotations":
            return [invalid(at, match[2], text) for text in names.qualified_name(match[2].lower())]
        if match[1] == "metadata.labels":
            return named(at, match[2], names.qualified_name)
        return [invalid(at, path, "does not support subscript")]
    if path not in _KNOWN:
        text = f"error converting fieldPath: field label not supported: {path}"
        return [invalid(f"{at}.fieldPath", path, text)]
    return [unsupported(f"{at}.fieldPath", path, sorted(allowed))]


def resource_ref(at: str, reference: Object, of_volume: bool) -> list[FieldError]:
    """``resourceFieldRef``: a request or a limit of a container."""
    if of_volume and not reference.get("containerName"):
        return [required(f"{at}.containerName")]
    name = reference.get("resource") or ""
    if not name:
        return [required(f"{at}.resource")]
    if name not in _RESOURCES and not name.startswith(("limits.hugepages-", "requests.hugepages-")):
        return [unsupported(f"{at}.resource", name, _RESOURCES)]
    return []


def key_ref(at: str, reference: Object) -> list[FieldError]:
    """``configMapKeyRef`` and ``secretKeyRef``. The name may be missing: old servers let that pass."""
    key = reference.get("key") or ""
    if not key:
        return [required(f"{at}.key")]
    return named(f"{at}.key", key, names.config_map_key)
