"""A pod is not made larger than its node could ever bear: the client hears so at once, not from the kubelet later."""

from __future__ import annotations

from shim.admission.request import UPDATE, Plugin, Reader, Request, refuse
from shim.api.meta import GVR, Object
from shim.api.pod_amounts import parsed, with_overhead
from shim.api.quantity import ZERO
from shim.api.status import ApiError

NODES = GVR("", "v1", "nodes", namespaced=False)


class PodResizeValidator(Plugin):
    resources = (("", "pods"),)

    async def validate(self, request: Request, reader: Reader) -> None:
        pod, old = request.obj, request.old
        if pod is None or old is None or not request.is_for("pods", UPDATE, subresource="resize"):
            return
        name = pod["spec"].get("nodeName")
        if not name or pod["metadata"].get("generation") == old["metadata"].get("generation"):
            return
        node = reader.get(NODES, None, name)
        if node is None:
            raise refuse(request, f'node "{name}" not found')
        system = (node["metadata"].get("labels") or {}).get("kubernetes.io/os", "linux")
        if system != "linux":
            why = f'pod resize is only supported on linux nodes, node "{name}" is "{system}"'
            raise _because(refuse(request, why), "UnsupportedPlatform")
        if lacking := _lacking(pod["spec"], node):
            why = f"node didn't have enough allocatable resources: {'; '.join(lacking)}"
            raise _because(refuse(request, why), "NodeCapacity")


def _lacking(spec: Object, node: Object) -> list[str]:
    there = parsed((node.get("status") or {}).get("allocatable"))
    asked = with_overhead(spec, "requests")
    lacking = []
    for name, unit in (("cpu", "milli"), ("memory", "value")):
        wanted, limit = asked.get(name, ZERO), there.get(name, ZERO)
        if wanted > limit:
            lacking.append(f"{name}, requested: {getattr(wanted, unit)}, allocatable: {getattr(limit, unit)}")
    return lacking


def _because(error: ApiError, reason: str) -> ApiError:
    error.details = {**(error.details or {}), "causes": [{"reason": reason}]}
    return error
