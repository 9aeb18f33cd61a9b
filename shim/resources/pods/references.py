"""References from a pod to its own fields and resources, and to keys of ConfigMaps and Secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import invalid, named, not_found, required, unsupported
from shim.resources.pods.sources import no_way_up

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
    if reference["apiVersion"] != "v1":
        text = f"error converting fieldPath: unsupported pod version: {reference['apiVersion']}"
        return [invalid(f"{at}.fieldPath", path, text)]
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
    """``configMapKeyRef`` and ``secretKeyRef``."""
    key = reference.get("key") or ""
    causes = named(f"{at}.name", reference.get("name") or "", names.dns1123_subdomain)
    return causes + (named(f"{at}.key", key, names.config_map_key) if key else [required(f"{at}.key")])


def file_key_ref(at: str, reference: Object) -> list[FieldError]:
    """``fileKeyRef``: a variable in a file that an init container wrote (KEP-3721)."""
    key, volume, path = (reference.get(field) or "" for field in ("key", "volumeName", "path"))
    causes = named(f"{at}.key", key, names.relaxed_env_var_name) if key else [required(f"{at}.key")]
    here = f"{at}.volumeName"
    causes += named(here, volume, names.dns1123_label) if volume else [required(here)]
    return causes + (no_way_up(f"{at}.path", path) if path else [required(f"{at}.path")])


def file_volume(at: str, volume: str, volumes: Mapping[str, Object]) -> list[FieldError]:
    """The volume that a ``fileKeyRef`` names."""
    if volume not in volumes:
        return [not_found(at, volume)]
    if volumes[volume].get("emptyDir") is None:
        return [invalid(at, volume, "referenced volume must be of type emptyDir")]
    return []
