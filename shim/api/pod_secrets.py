"""Which Secrets does a pod name? By every path that a pod can name one."""

from __future__ import annotations

from collections.abc import Iterator

from shim.api.meta import Object

_BY_REFERENCE = {
    "cephfs": "secretRef",
    "cinder": "secretRef",
    "flexVolume": "secretRef",
    "rbd": "secretRef",
    "scaleIO": "secretRef",
    "iscsi": "secretRef",
    "storageos": "secretRef",
    "csi": "nodePublishSecretRef",
}
"""Kinds of volumes, and the field that refers to a Secret with what the storage asks for."""


def of_pod(spec: Object) -> Iterator[str]:
    """The names of all Secrets a pod names, in its containers, volumes and pull secrets."""
    for each in spec.get("imagePullSecrets") or ():
        yield each.get("name", "")
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for _, _, name in of_containers(spec, field):
            yield name
    for volume in spec.get("volumes") or ():
        yield from _of_volume(volume)


def of_containers(spec: Object, field: str) -> Iterator[tuple[str, str, str]]:
    """(container, variable, Secret) of each reference in an environment; the variable is "" for a whole Secret."""
    for container in spec.get(field) or ():
        owner = container.get("name", "")
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if reference is not None:
                yield owner, variable.get("name", ""), reference.get("name", "")
        for source in container.get("envFrom") or ():
            if source.get("secretRef") is not None:
                yield owner, "", source["secretRef"].get("name", "")


def _of_volume(volume: Object) -> Iterator[str]:
    if volume.get("secret") is not None:
        yield volume["secret"].get("secretName", "")
    if (volume.get("azureFile") or {}).get("secretName"):
        yield volume["azureFile"]["secretName"]
    for source in (volume.get("projected") or {}).get("sources") or ():
        if source.get("secret") is not None:
            yield source["secret"].get("name", "")
    for kind, field in _BY_REFERENCE.items():
        reference = (volume.get(kind) or {}).get(field)
        if reference is not None:
            yield reference.get("name", "")
