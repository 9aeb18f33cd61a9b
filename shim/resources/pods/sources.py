"""Where the content of a volume comes from: one rule per kind of source, for pods and for PersistentVolumes alike."""

from __future__ import annotations

import re
from collections.abc import Callable

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.amounts import amount
from shim.resources.causes import invalid, named, one_of, required, too_long, unsupported

Rule = Callable[[str, Object], list[FieldError]]

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
_PARTITION = "must be between 1 and 255, inclusive"  # 0, which is the whole disk, is fine all the same
_INITIATORS = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9.-]+)(:[^,;*&$|\s]+)$"),
    "eui": re.compile(r"eui.[A-Za-z0-9]{16}$"),
    "naa": re.compile(r"naa.[A-Za-z0-9]{32}$"),
}
_REGISTRY = "must be a host:port pair or multiple pairs separated by commas"
_AZURE_DISK = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_AZURE_BLOB = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
GONE = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
"""Sources that no kubelet can mount any more."""


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


def not_negative_whole(at: str, text: object) -> list[FieldError]:
    """A size, shown rounded up as upstream counts it."""
    nanos = amount(text).nanos
    return [invalid(at, nanos // 10**9, "must be a valid resource quantity")] if nanos <= -(10**9) else []


def csi_driver(at: str, name: str) -> list[FieldError]:
    """Drivers are named as domains are, in any case."""
    if not name:
        return [required(at)]
    causes = [too_long(at, 63)] if len(name) > 63 else []
    return causes + [invalid(at, name, text) for text in names.dns1123_subdomain(name.lower())]


def with_fields(*fields: str) -> Rule:
    """A source of which these fields must be set."""
    return lambda at, source: [required(f"{at}.{field}") for field in fields if not source.get(field)]


def with_secret(field: str, rule: Rule) -> Rule:
    """A source whose secret, if it has one, has a name, and this field if it is named."""
    fields = ("name", field) if field else ("name",)

    def check(at: str, source: Object) -> list[FieldError]:
        secret = source.get("secretRef")
        causes = rule(at, source)
        if secret is not None:
            causes += [required(f"{at}.secretRef.{each}") for each in fields if not secret.get(each)]
        return causes

    return check


def disk(identity: str) -> Rule:
    """A disk of a cloud, and which of its partitions."""

    def check(at: str, source: Object) -> list[FieldError]:
        causes = [] if source.get(identity) else [required(f"{at}.{identity}")]
        partition = source.get("partition") or 0
        return causes + ([] if 0 <= partition <= 255 else [invalid(f"{at}.partition", partition, _PARTITION)])

    return check


def host_path(at: str, source: Object) -> list[FieldError]:
    path = source.get("path") or ""
    if not path:
        return [required(f"{at}.path")]
    return no_way_up(f"{at}.path", path) + one_of(f"{at}.type", source.get("type") or "", _HOST_PATH_TYPES)


def nfs(at: str, source: Object) -> list[FieldError]:
    path = source.get("path") or ""
    causes = with_fields("server", "path")(at, source)
    return causes if path.startswith("/") else [*causes, invalid(f"{at}.path", path, "must be an absolute path")]


def glusterfs(at: str, source: Object) -> list[FieldError]:
    return with_fields("endpoints", "path")(at, source)


def azure_file(at: str, source: Object) -> list[FieldError]:
    return with_fields("secretName", "shareName")(at, source)


def flocker(at: str, source: Object) -> list[FieldError]:
    name, uid = source.get("datasetName") or "", source.get("datasetUUID") or ""
    causes: list[FieldError] = []
    if not name and not uid:
        causes.append(required(at, "one of datasetName and datasetUUID is required"))
    if name and uid:
        causes.append(invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously"))
    if "/" in name:
        causes.append(invalid(f"{at}.datasetName", name, "must not contain '/'"))
    return causes


def quobyte(at: str, source: Object) -> list[FieldError]:
    registry, causes = source.get("registry") or "", []
    if not registry:
        causes.append(required(f"{at}.registry", _REGISTRY))
    elif len(source.get("tenant") or "") >= 65:
        causes.append(required(f"{at}.tenant", "must be a UUID and may not exceed a length of 64 characters"))
    else:
        for pair in registry.split(","):
            host, colon, _ = pair.rpartition(":")
            if not colon or (":" in host and not host.startswith("[")):
                causes.append(invalid(f"{at}.registry", registry, _REGISTRY))
    return causes if source.get("volume") else [*causes, required(f"{at}.volume")]


def fibre_channel(at: str, source: Object) -> list[FieldError]:
    targets, wwids, lun = source.get("targetWWNs") or [], source.get("wwids") or [], source.get("lun")
    causes: list[FieldError] = []
    if not targets and not wwids:
        causes.append(required(f"{at}.targetWWNs", "must specify either targetWWNs or wwids, but not both"))
    if targets and wwids:
        text = "targetWWNs and wwids can not be specified simultaneously"
        causes.append(invalid(f"{at}.targetWWNs", targets, text))
    if targets and lun is None:
        causes.append(required(f"{at}.lun", "lun is required if targetWWNs is specified"))
    elif targets:
        causes += [invalid(f"{at}.lun", lun, text) for text in names.in_range(lun or 0, 0, 255)]
    return causes


def flex_volume(at: str, source: Object) -> list[FieldError]:
    causes = with_fields("driver")(at, source)
    for key in source.get("options") or ():
        domain = f".{key.partition('/')[0].lower()}"
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            text = "kubernetes.io and k8s.io namespaces are reserved"
            causes.append(invalid(f"{at}.options[{key}]", key, text))
    return causes


def azure_disk(at: str, source: Object) -> list[FieldError]:
    causes = with_fields("diskName", "diskURI")(at, source)
    kind, uri = source.get("kind"), source.get("diskURI") or ""
    if source.get("cachingMode") is not None:
        causes += one_of(f"{at}.cachingMode", source["cachingMode"], ("None", "ReadOnly", "ReadWrite"))
    if kind is None:
        return causes
    causes += one_of(f"{at}.kind", kind, ("Dedicated", "Managed", "Shared"))
    start, wanted = ("/subscriptions/", _AZURE_DISK) if kind == "Managed" else ("https://", _AZURE_BLOB)
    return causes if uri.startswith(start) else [*causes, unsupported(f"{at}.diskURI", uri, (wanted,))]


def storage_os(at: str, source: Object) -> list[FieldError]:
    name = source.get("volumeName") or ""
    causes = named(f"{at}.volumeName", name, names.dns1123_label) if name else [required(f"{at}.volumeName")]
    if source.get("volumeNamespace"):
        causes += named(f"{at}.volumeNamespace", source["volumeNamespace"], names.dns1123_label)
    return causes


def iscsi(
    at: str, source: Object, strange: str = "must be valid format starting with iqn, eui, or naa"
) -> list[FieldError]:
    """``strange`` is said of names that are of no known form at all."""
    causes = with_fields("targetPortal")(at, source)
    name, lun = source.get("iqn") or "", source.get("lun") or 0
    causes += _initiator(f"{at}.iqn", name, strange) if name else [required(f"{at}.iqn")]
    causes += [invalid(f"{at}.lun", lun, text) for text in names.in_range(lun, 0, 255)]
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        causes.append(required(f"{at}.secretRef"))
    if source.get("initiatorName") is not None:
        causes += _initiator(f"{at}.initiatorname", source["initiatorName"], strange)
    return causes


def iscsi_in_volume(at: str, source: Object) -> list[FieldError]:
    causes = iscsi(at, source, "must be valid format")
    if source.get("secretRef") is not None and not source["secretRef"].get("name"):
        causes.append(required(f"{at}.secretRef.name"))
    return causes


def initiator_fits(at: str, source: Object, volume: str, shown: str | None = None) -> list[FieldError]:
    """With an initiator of its own, a volume's name becomes part of what the kernel knows it by."""
    portal = source.get("targetPortal") or ""
    if source.get("initiatorName") is None or len(f"{volume}:{portal}") <= 64:
        return []
    text = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName"
    return [invalid(at, portal if shown is None else shown, f"{text} is specified.")]


def _initiator(at: str, name: str, strange: str) -> list[FieldError]:
    form = _INITIATORS.get(name[:3])
    if form is None:
        return [invalid(at, name, strange)]
    found = form.search(name) if name.startswith("iqn") else form.match(name)
    return [] if found else [invalid(at, name, "must be valid format")]
