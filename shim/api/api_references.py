"""Which kinds of objects does a pod name? Who runs a pod could read them by way of it."""

from __future__ import annotations

from collections.abc import Iterator

from shim.api.meta import Object
from shim.api.pod_secrets import of_pod

_VOLUMES = {
    "csi": "csidrivers (via CSI volumes)",
    "glusterfs": "endpoints (via glusterFS volumes)",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims (via ephemeral volumes)",
}
_PROJECTIONS = {
    "serviceAccountToken": "serviceaccounts (via projected volumes)",
    "clusterTrustBundle": "clustertrustbundles",
    "podCertificate": "podcertificates",
}
_FIELDS = ("initContainers", "containers", "ephemeralContainers")


def named_by(spec: Object) -> Iterator[str]:
    """Each kind, in upstream's order and words."""
    if spec.get("serviceAccountName"):
        yield "serviceaccounts"
    if any(of_pod(spec)):
        yield "secrets"
    if any(_config_maps(spec)):
        yield "configmaps"
    if spec.get("resourceClaims"):
        yield "resourceclaims"
    for volume in spec.get("volumes") or ():
        yield from (what for kind, what in _VOLUMES.items() if volume.get(kind) is not None)
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield from (what for kind, what in _PROJECTIONS.items() if source.get(kind) is not None)


def _config_maps(spec: Object) -> Iterator[bool]:
    for field in _FIELDS:
        for container in spec.get(field) or ():
            for variable in container.get("env") or ():
                yield (variable.get("valueFrom") or {}).get("configMapKeyRef") is not None
            for source in container.get("envFrom") or ():
                yield source.get("configMapRef") is not None
    for volume in spec.get("volumes") or ():
        yield volume.get("configMap") is not None
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield source.get("configMap") is not None
