"""Classes and what names them: claims and Ingresses get the default one; only some classes let a claim grow."""

from __future__ import annotations

from shim.admission.request import CREATE, UPDATE, Plugin, Reader, Request, refuse
from shim.api.meta import GVR, Object
from shim.api.quantity import Quantity
from shim.resources.amounts import amount

STORAGE_CLASSES = GVR("storage.k8s.io", "v1", "storageclasses", namespaced=False)
INGRESS_CLASSES = GVR("networking.k8s.io", "v1", "ingressclasses", namespaced=False)
_MARKS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_OLD_FIELD = "volume.beta.kubernetes.io/storage-class"
_ATTRIBUTES = "volumeattributesclasses"
PROTECTED = {
    "persistentvolumes": "kubernetes.io/pv-protection",
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    _ATTRIBUTES: "kubernetes.io/vac-protection",
}
_INGRESS_MARK = "ingressclass.kubernetes.io/is-default-class"


class DefaultStorageClass(Plugin):
    resources = (("", "persistentvolumeclaims"),)

    async def mutate(self, request: Request, reader: Reader) -> None:
        if request.obj is None or not request.is_for("persistentvolumeclaims", CREATE):
            return
        spec = request.obj.setdefault("spec", {})
        if spec.get("storageClassName") is not None or _OLD_FIELD in _annotations(request.obj):
            return
        marked = [each for each in reader.list(STORAGE_CLASSES) if any(_is_marked(each, mark) for mark in _MARKS)]
        if marked:
            spec["storageClassName"] = _newest(marked)


class DefaultIngressClass(Plugin):
    resources = (("networking.k8s.io", "ingresses"),)

    async def mutate(self, request: Request, reader: Reader) -> None:
        if request.obj is None or not request.is_for("ingresses", CREATE, group="networking.k8s.io"):
            return
        spec = request.obj.setdefault("spec", {})
        if spec.get("ingressClassName") is not None or "kubernetes.io/ingress.class" in _annotations(request.obj):
            return
        marked = [each for each in reader.list(INGRESS_CLASSES) if _is_marked(each, _INGRESS_MARK)]
        if marked:
            spec["ingressClassName"] = _newest(marked)


class PersistentVolumeClaimResize(Plugin):
    """A claim may ask for more when it is bound and its class says that its volumes can grow."""

    resources = (("", "persistentvolumeclaims"),)

    async def validate(self, request: Request, reader: Reader) -> None:
        new, old = request.obj, request.old
        if new is None or old is None or not request.is_for("persistentvolumeclaims", UPDATE):
            return
        if _size(new) <= _size(old):
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise refuse(request, "Only bound persistent volume claims can be expanded")
        name = _class_of(new)
        found = reader.get(STORAGE_CLASSES, None, name) if name and name == _class_of(old) else None
        if found is None or not found.get("allowVolumeExpansion"):
            text = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
            raise refuse(request, f"{text}support resize")


class StorageObjectInUseProtection(Plugin):
    """Volumes and claims are born with a finalizer: who uses them keeps them, whatever is deleted."""

    resources = (("", "persistentvolumes"), ("", "persistentvolumeclaims"), ("storage.k8s.io", _ATTRIBUTES))

    async def mutate(self, request: Request, reader: Reader) -> None:
        if request.obj is None or request.operation != CREATE or request.subresource:
            return
        finalizer, metadata = PROTECTED[request.resource.name], request.obj["metadata"]
        if finalizer not in (metadata.get("finalizers") or ()):
            metadata["finalizers"] = [*(metadata.get("finalizers") or ()), finalizer]


def _newest(marked: list[Object]) -> str:
    """The newest default wins, so that replacing one never leaves a gap."""
    marked.sort(key=lambda each: each["metadata"]["name"])
    marked.sort(key=lambda each: each["metadata"].get("creationTimestamp") or "", reverse=True)
    name: str = marked[0]["metadata"]["name"]
    return name


def _size(claim: Object) -> Quantity:
    return amount(((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", "0"))


def _class_of(claim: Object) -> str:
    """The older annotation counts before the field, as upstream."""
    name: str = _annotations(claim).get(_OLD_FIELD, claim["spec"].get("storageClassName") or "")
    return name


def _annotations(obj: Object) -> Object:
    found: Object = obj["metadata"].get("annotations") or {}
    return found


def _is_marked(obj: Object, annotation: str) -> bool:
    return bool(_annotations(obj).get(annotation) == "true")
