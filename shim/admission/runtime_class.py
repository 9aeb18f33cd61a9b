"""A pod that names a RuntimeClass takes over its overhead, node selector and tolerations."""

from __future__ import annotations

from shim.admission.request import CREATE, Plugin, Reader, Request, refuse
from shim.api.meta import GVR, Object

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
        fixed = (found.get("overhead") or {}).get("podFixed")
        if found.get("overhead") is not None:
            if spec.get("overhead") and spec["overhead"] != fixed:
                raise refuse(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            spec["overhead"] = dict(fixed or {})
        scheduling = found.get("scheduling") or {}
        selector = dict(spec.get("nodeSelector") or {})
        for key, value in (scheduling.get("nodeSelector") or {}).items():
            if selector.setdefault(key, value) != value:
                text = f"runtimeClass.scheduling.nodeSelector[{key}] = {value}"
                raise refuse(request, f"conflict: {text}; pod.spec.nodeSelector[{key}] = {selector[key]}")
        if selector:
            spec["nodeSelector"] = selector
        added = [each for each in scheduling.get("tolerations") or () if each not in (spec.get("tolerations") or ())]
        if added:
            spec["tolerations"] = [*(spec.get("tolerations") or ()), *added]

    async def validate(self, request: Request, reader: Reader) -> None:
        if request.obj is None or not request.is_for("pods", CREATE):
            return
        spec = request.obj["spec"]
        found = _find(request, reader, spec)
        if spec.get("overhead") is not None and (found is None or found.get("overhead") is None):
            raise refuse(request, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")


def _find(request: Request, reader: Reader, spec: Object) -> Object | None:
    name = spec.get("runtimeClassName")
    if name is None:
        return None
    found = reader.get(RUNTIME_CLASSES, None, name)
    if found is None:
        raise refuse(request, f'pod rejected: RuntimeClass "{name}" not found')
    return found
