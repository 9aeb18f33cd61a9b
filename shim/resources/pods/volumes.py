"""Volumes of a pod: exactly one source each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shim.api import names
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.amounts import amount
from shim.resources.causes import duplicate, forbidden, invalid, named, one_of, required, shown
from shim.resources.claim_rules import claim_spec
from shim.resources.metadata import validate_template
from shim.resources.pods import projected, sources
from shim.resources.pods.projected import downward_file, items, mode
from shim.resources.pods.sources import descending_path, with_fields


def _empty_dir(at: str, source: Object) -> list[FieldError]:
    if source.get("sizeLimit") is not None and amount(source["sizeLimit"]).nanos < 0:
        return [forbidden(f"{at}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
    return []


def _secret(at: str, source: Object) -> list[FieldError]:
    causes = [] if source.get("secretName") else [required(f"{at}.secretName")]
    return causes + mode(f"{at}.defaultMode", source.get("defaultMode")) + items(at, source)


def _config_map(at: str, source: Object) -> list[FieldError]:
    causes = [] if source.get("name") else [required(f"{at}.name")]
    return causes + mode(f"{at}.defaultMode", source.get("defaultMode")) + items(at, source)


def _downward_api(at: str, source: Object) -> list[FieldError]:
    causes = mode(f"{at}.defaultMode", source.get("defaultMode"))
    for item in source.get("items") or ():
        causes += downward_file(at, item)
    return causes


def _git_repo(at: str, source: Object) -> list[FieldError]:
    return with_fields("repository")(at, source) + descending_path(f"{at}.directory", source.get("directory") or "")


def _csi(at: str, source: Object) -> list[FieldError]:
    causes = sources.csi_driver(f"{at}.driver", source.get("driver") or "")
    secret = source.get("nodePublishSecretRef")
    if secret is None:
        return causes
    if not secret.get("name"):
        return [*causes, required(f"{at}.nodePublishSecretRef.name")]
    return causes + named(f"{at}.name", secret["name"], names.dns1123_subdomain)


def _ephemeral(at: str, source: Object) -> list[FieldError]:
    here, template = f"{at}.volumeClaimTemplate", source.get("volumeClaimTemplate")
    if template is None:
        return [required(here)]
    causes = validate_template(f"{here}.metadata", template.get("metadata") or {})
    return causes + claim_spec(f"{here}.spec", template.get("spec") or {})


def _image(at: str, source: Object) -> list[FieldError]:
    policy = source.get("pullPolicy") or ""
    here = f"{at}.pullPolicy"
    return one_of(here, policy, ("Always", "IfNotPresent", "Never")) if policy else [required(here)]


SOURCES: dict[str, sources.Rule] = {
    # in the order in which they are looked at: the first one counts
    "emptyDir": _empty_dir,
    "hostPath": sources.host_path,
    "gitRepo": _git_repo,
    "gcePersistentDisk": sources.disk("pdName"),
    "awsElasticBlockStore": sources.disk("volumeID"),
    "secret": _secret,
    "nfs": sources.nfs,
    "iscsi": sources.iscsi,
    "glusterfs": sources.glusterfs,
    "flocker": sources.flocker,
    "persistentVolumeClaim": with_fields("claimName"),
    "rbd": with_fields("monitors", "image"),
    "cinder": sources.with_secret("", with_fields("volumeID")),
    "cephfs": with_fields("monitors"),
    "quobyte": sources.quobyte,
    "downwardAPI": _downward_api,
    "fc": sources.fibre_channel,
    "flexVolume": sources.flex_volume,
    "configMap": _config_map,
    "azureFile": sources.azure_file,
    "vsphereVolume": with_fields("volumePath"),
    "photonPersistentDisk": with_fields("pdID"),
    "portworxVolume": with_fields("volumeID"),
    "azureDisk": sources.azure_disk,
    "storageos": sources.with_secret("", sources.storage_os),
    "projected": projected.volume,
    "scaleIO": with_fields("gateway", "system", "volumeName"),
    "csi": _csi,
    "ephemeral": _ephemeral,
    "image": _image,
}
_PATHS = {"gcePersistentDisk": "persistentDisk"}  # where upstream's paths differ from the fields' names
_REPEATED_PATHS = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}


def validate(at: str, volumes: list[Object], pod: str = "") -> tuple[Mapping[str, Object], list[FieldError]]:
    """The volumes that containers can mount, by name, and what is wrong with the others.

    ``pod`` is the pod's name where it is known: claims made for its ephemeral volumes are named after it.
    """
    known: dict[str, Any] = {}
    causes: list[FieldError] = []
    made = {f"{pod}-{each.get('name') or ''}" for each in volumes if pod and each.get("ephemeral") is not None}
    for index, volume in enumerate(volumes):
        here, name = f"{at}[{index}]", volume.get("name") or ""
        own = _one_source(here, volume, name, pod)
        own += named(f"{here}.name", name, names.dns1123_label) if name else [required(f"{here}.name")]
        if name in known:
            own.append(duplicate(f"{here}.name", name))
        if own:
            causes += own
        else:
            known[name] = volume
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName") or ""
        if claim in made:
            text = "must not reference a PVC that gets created for an ephemeral volume"
            causes.append(invalid(f"{here}.persistentVolumeClaim.claimName", claim, text))
    return known, causes


def _one_source(at: str, volume: Object, name: str, pod: str) -> list[FieldError]:
    causes: list[FieldError] = []
    found = [kind for kind in SOURCES if volume.get(kind) is not None]
    for kind in found[:1]:
        if kind == "image" and pod and not volume[kind].get("reference"):  # a template may leave it to others
            causes.append(required(f"{at}.image.reference"))
        causes += SOURCES[kind](f"{at}.{_PATHS.get(kind, kind)}", volume[kind])
        if kind == "ephemeral" and pod and name:
            claim = f"{pod}-{name}"
            for text in names.dns1123_subdomain(claim):
                causes.append(invalid(f"{at}.name", name, f"PVC name {shown(claim)}: {text}"))
    causes += [
        forbidden(f"{at}.{_REPEATED_PATHS.get(kind, kind)}", "may not specify more than 1 volume type")
        for kind in found[1:]
    ]
    if "iscsi" in found:
        causes += sources.initiator_fits(f"{at}.name", volume["iscsi"], name, name)
    return causes if found else [required(at, "must specify a volume type")]
