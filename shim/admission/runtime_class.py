"""A pod that names a RuntimeClass takes over its overhead, node selector and tolerations."""

from __future__ import annotations

from shim.admission.request import CREATE, Plugin, Reader, Request, refuse, unusable
from shim.admission.tolerations import merge
from shim.api.meta import GVR, Object
from shim.api.pod_amounts import parsed
from shim.api.status import ApiError

RUNTIME_CLASSES = GVR("node.k8s.io", "v1", "runtimeclasses", namespaced=False)


class RuntimeClass(Plugin):
    resources = (("", "pods"),)

    async def mutate(self, request: Request, reader: Reader) -> None:
        if request.obj is None or not request.is_for("pods", CREATE):
            return
        spec = request.obj["spec"]
        found = _find(request, reader, spec)
        if found is None:
            return
        if found.get("overhead") is not None:
            fixed = found["overhead"].get("podFixed") or {}
            if spec.get("overhead"):
                _must_match(request, spec, found)
            spec["overhead"] = dict(fixed)
        scheduling = found.get("scheduling")
        if scheduling is None:
            return
        selector = dict(spec.get("nodeSelector") or {})
        for key, value in (scheduling.get("nodeSelector") or {}).items():
            if selector.setdefault(key, value) != value:
                text = f"runtimeClass.scheduling.nodeSelector[{key}] = {value}"
                raise refuse(request, f"conflict: {text}; pod.spec.nodeSelector[{key}] = {selector[key]}")
        if selector:
            spec["nodeSelector"] = selector
        if tolerations := merge([*(spec.get("tolerations") or ()), *(scheduling.get("tolerations") or ())]):
            spec["tolerations"] = tolerations

    async def validate(self, request: Request, reader: Reader) -> None:
        if request.obj is None or not request.is_for("pods", CREATE):
            return
        spec = request.obj["spec"]
        found = _find(request, reader, spec)
        if found is not None and found.get("overhead") is not None:
            _must_match(request, spec, found)
        elif spec.get("overhead") is not None:
            raise refuse(request, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")


def _must_match(request: Request, spec: Object, found: Object) -> None:
    if parsed(spec.get("overhead")) != parsed(found["overhead"].get("podFixed")):
        raise refuse(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")


def _find(request: Request, reader: Reader, spec: Object) -> Object | None:
    name = spec.get("runtimeClassName")
    if name is None:
        return None
    if why := unusable(name):
        raise ApiError(500, "", why)
    found = reader.get(RUNTIME_CLASSES, None, name)
    if found is None:
        raise refuse(request, f'pod rejected: RuntimeClass "{name}" not found')
    return found
