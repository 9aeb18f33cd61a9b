"""Volumes of a pod: exactly one source each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.amounts import amount
from shim.resources.causes import duplicate, forbidden, invalid, named, one_of, required
from shim.resources.pods.references import VOLUME_FIELDS, field_ref, resource_ref

_HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_MODE = "must be a number between 0 and 0777 (octal), both inclusive"


def local_path(at: str, path: str) -> list[FieldError]:
    """A path that stays below where it is put, and does not start as the kubelet's own files do."""
    causes = descending_path(at, path)
    if path.startswith("..") and not path.startswith("../"):
        causes.append(invalid(at, path, "must not start with '..'"))
    return causes


def descending_path(at: str, path: str) -> list[FieldError]:
    causes = [invalid(at, path, "must be a relative path")] if path.startswith("/") else []
    return causes + no_way_up(at, path)


def no_way_up(at: str, path: str) -> list[FieldError]:
    return [invalid(at, path, "must not contain '..'")] if ".." in path.split("/") else []


def mode(at: str, value: int | None) -> list[FieldError]:
    return [] if value is None or 0 <= value <= 0o777 else [invalid(at, value, _MODE)]


def _items(at: str, source: Object) -> list[FieldError]:
    causes: list[FieldError] = []
    for index, item in enumerate(source.get("items") or ()):
        here = f"{at}.items[{index}]"
        path = item.get("path") or ""
        if not item.get("key"):
            causes.append(required(f"{here}.key"))
        if not path:
            causes.append(required(f"{here}.path"))
        causes += local_path(f"{here}.path", path) + mode(f"{here}.mode", item.get("mode"))
    return causes


def _downward_file(at: str, item: Object) -> list[FieldError]:
    path = item.get("path") or ""
    causes = [] if path else [required(f"{at}.path")]
    causes += local_path(f"{at}.path", path)
    if item.get("fieldRef"):
        causes += field_ref(f"{at}.fieldRef", item["fieldRef"], VOLUME_FIELDS)
        if item.get("resourceFieldRef"):
            causes.append(invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
    elif item.get("resourceFieldRef"):
        causes += resource_ref(f"{at}.resourceFieldRef", item["resourceFieldRef"], of_volume=True)
    else:
        causes.append(required(at, "one of fieldRef and resourceFieldRef is required"))
    return causes + mode(f"{at}.mode", item.get("mode"))


def _empty_dir(at: str, source: Object) -> list[FieldError]:
    if source.get("sizeLimit") is not None and amount(source["sizeLimit"]).nanos < 0:
        return [forbidden(f"{at}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
    return []


def _host_path(at: str, source: Object) -> list[FieldError]:
    path = source.get("path") or ""
    if not path:
        return [required(f"{at}.path")]
    kind = source.get("type")
    return no_way_up(f"{at}.path", path) + one_of(f"{at}.type", kind or "", _HOST_PATH_TYPES)


def _secret(at: str, source: Object) -> list[FieldError]:
    causes = [] if source.get("secretName") else [required(f"{at}.secretName")]
    return causes + mode(f"{at}.defaultMode", source.get("defaultMode")) + _items(at, source)


def _config_map(at: str, source: Object) -> list[FieldError]:
    causes = [] if source.get("name") else [required(f"{at}.name")]
    return causes + mode(f"{at}.defaultMode", source.get("defaultMode")) + _items(at, source)


def _downward_api(at: str, source: Object) -> list[FieldError]:
    causes = mode(f"{at}.defaultMode", source.get("defaultMode"))
    for item in source.get("items") or ():
        causes += _downward_file(at, item)
    return causes


def _claim(at: str, source: Object) -> list[FieldError]:
    return [] if source.get("claimName") else [required(f"{at}.claimName")]


def _projected(at: str, source: Object) -> list[FieldError]:
    causes = mode(f"{at}.defaultMode", source.get("defaultMode"))
    paths: set[str] = set()

    def once(path: str, shown: str) -> None:
        if path and path in paths:
            causes.append(invalid(at, shown, "conflicting duplicate paths"))
        paths.add(path)

    for index, each in enumerate(source.get("sources") or ()):
        here = f"{at}.sources[{index}]"
        for kind in ("secret", "configMap"):
            found = each.get(kind)
            if found is None:
                continue
            if not found.get("name"):
                causes.append(required(f"{here}.{kind}.name"))
            causes.extend(_items(f"{here}.{kind}", found))
            for item in found.get("items") or ():
                once(item.get("path") or "", found.get("name") or "")
        if each.get("downwardAPI") is not None:
            for item in each["downwardAPI"].get("items") or ():
                causes += _downward_file(f"{here}.downwardAPI", item)
                once(item.get("path") or "", item.get("path") or "")
        token = each.get("serviceAccountToken")
        if token is not None:
            seconds = token.get("expirationSeconds") or 0
            if seconds < 600:
                text = "may not specify a duration less than 10 minutes"
                causes.append(invalid(f"{here}.serviceAccountToken.expirationSeconds", seconds, text))
            if seconds > 2**32:
                text = "may not specify a duration larger than 2^32 seconds"
                causes.append(invalid(f"{here}.serviceAccountToken.expirationSeconds", seconds, text))
            if not token.get("path"):
                causes.append(required(f"{at}.path"))
            else:
                causes += local_path(f"{at}.path", token["path"])
        if len([value for value in each.values() if value is not None]) > 1:
            causes.append(forbidden(here, "may not specify more than 1 volume type per source"))
    return causes


def _named_field(*fields: str) -> Callable[[str, Object], list[FieldError]]:
    """A source of which these fields must be set."""
    return lambda at, source: [required(f"{at}.{field}") for field in fields if not source.get(field)]


SOURCES: dict[str, Callable[[str, Object], list[FieldError]]] = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "gitRepo": _named_field("repository"),
    "gcePersistentDisk": _named_field("pdName"),
    "awsElasticBlockStore": _named_field("volumeID"),
    "secret": _secret,
    "nfs": _named_field("server", "path"),
    "iscsi": _named_field("targetPortal", "iqn"),
    "glusterfs": _named_field("endpoints", "path"),
    "flocker": _named_field(),
    "persistentVolumeClaim": _claim,
    "rbd": _named_field("monitors", "image"),
    "cinder": _named_field("volumeID"),
    "cephfs": _named_field("monitors"),
    "quobyte": _named_field("registry", "volume"),
    "downwardAPI": _downward_api,
    "fc": _named_field(),
    "flexVolume": _named_field("driver"),
    "configMap": _config_map,
    "azureFile": _named_field("secretName", "shareName"),
    "vsphereVolume": _named_field("volumePath"),
    "photonPersistentDisk": _named_field("pdID"),
    "portworxVolume": _named_field("volumeID"),
    "azureDisk": _named_field("diskName", "diskURI"),
    "storageos": _named_field("volumeName"),
    "projected": _projected,
    "scaleIO": _named_field("gateway", "system", "volumeName"),
    "csi": _named_field("driver"),
    "ephemeral": _named_field("volumeClaimTemplate"),
    "image": _named_field("reference"),
}


def validate(at: str, volumes: list[Object]) -> tuple[Mapping[str, Object], list[FieldError]]:
    """The volumes that containers can mount, by name, and what is wrong with the others."""
    known: dict[str, Any] = {}
    causes: list[FieldError] = []
    for index, volume in enumerate(volumes):
        here = f"{at}[{index}]"
        own: list[FieldError] = []
        found = False
        for kind, source in SOURCES.items():
            value = volume.get(kind)
            if value is None:
                continue
            if found:
                own.append(forbidden(f"{here}.{kind}", "may not specify more than 1 volume type"))
            else:
                found = True
                own += source(f"{here}.{kind}", value)
        if not found:
            own.append(required(here, "must specify a volume type"))
        name = volume.get("name") or ""
        own += named(f"{here}.name", name, names.dns1123_label) if name else [required(f"{here}.name")]
        if name in known:
            own.append(duplicate(f"{here}.name", name))
        if own:
            causes += own
        else:
            known[name] = volume
    return known, causes
