"""A claim that names no storage class gets the default one; so does an Ingress with its class."""

from __future__ import annotations

from shim.admission.request import CREATE, Plugin, Reader, Request, refuse
from shim.api.meta import GVR, Object

STORAGE_CLASSES = GVR("storage.k8s.io", "v1", "storageclasses", namespaced=False)
INGRESS_CLASSES = GVR("networking.k8s.io", "v1", "ingressclasses", namespaced=False)
_MARKS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_OLD_FIELD = "volume.beta.kubernetes.io/storage-class"
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
            # the newest default wins, so that replacing one never leaves a gap
            marked.sort(key=lambda each: each["metadata"]["name"])
            marked.sort(key=lambda each: each["metadata"].get("creationTimestamp") or "", reverse=True)
            spec["storageClassName"] = marked[0]["metadata"]["name"]


class DefaultIngressClass(Plugin):
    resources = (("networking.k8s.io", "ingresses"),)

    async def mutate(self, request: Request, reader: Reader) -> None:
        if request.obj is None or not request.is_for("ingresses", CREATE, group="networking.k8s.io"):
            return
        spec = request.obj.setdefault("spec", {})
        if spec.get("ingressClassName") is not None or "kubernetes.io/ingress.class" in _annotations(request.obj):
            return
        marked = [each for each in reader.list(INGRESS_CLASSES) if _is_marked(each, _INGRESS_MARK)]
        if len(marked) > 1:
            raise refuse(request, f"{len(marked)} default IngressClasses were found, only 1 allowed")
        if marked:
            spec["ingressClassName"] = marked[0]["metadata"]["name"]


def _annotations(obj: Object) -> Object:
    found: Object = obj["metadata"].get("annotations") or {}
    return found


def _is_marked(obj: Object, annotation: str) -> bool:
    return bool(_annotations(obj).get(annotation) == "true")
