"""A pod's priority is the number of its PriorityClass, resolved once, when the pod is made."""

from __future__ import annotations

from shim.admission.request import CREATE, UPDATE, Plugin, Reader, Request, refuse
from shim.api.meta import GVR, Object

PRIORITY_CLASSES = GVR("scheduling.k8s.io", "v1", "priorityclasses", namespaced=False)


class Priority(Plugin):
    resources = (("", "pods"), ("scheduling.k8s.io", "priorityclasses"))

    async def mutate(self, request: Request, reader: Reader) -> None:
        pod = request.obj
        if pod is None:
            return
        if request.is_for("pods", UPDATE) and request.old is not None:
            for field in ("priority", "preemptionPolicy"):
                before = request.old["spec"].get(field)
                if pod["spec"].get(field) is None and before is not None:
                    pod["spec"][field] = before
        elif request.is_for("pods", CREATE):
            _resolve(request, reader, pod["spec"])

    async def validate(self, request: Request, reader: Reader) -> None:
        if not request.is_for("priorityclasses", CREATE, UPDATE, group="scheduling.k8s.io") or request.obj is None:
            return
        if request.obj.get("globalDefault"):
            default = _default(reader)
            if default and (request.operation == CREATE or default["metadata"]["name"] != request.name):
                name = default["metadata"]["name"]
                raise refuse(request, f"PriorityClass {name} is already marked as default. Only one default can exist")


def _resolve(request: Request, reader: Reader, spec: Object) -> None:
    name = spec.get("priorityClassName")
    found: Object | None
    if name:
        found = reader.get(PRIORITY_CLASSES, None, name)
        if found is None:
            raise refuse(request, f"no PriorityClass with name {name} was found")
    else:
        found = _default(reader)
        if found is not None:
            spec["priorityClassName"] = found["metadata"]["name"]
    value = int(found.get("value") or 0) if found else 0
    policy = (found.get("preemptionPolicy") if found else None) or "PreemptLowerPriority"
    computed = "priority admission controller computed"
    if spec.get("priority") is not None and spec["priority"] != value:
        text = f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; "
        raise refuse(request, f"{text}{computed} {value} from the given PriorityClass name")
    if spec.get("preemptionPolicy") is not None and spec["preemptionPolicy"] != policy:
        text = f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; "
        raise refuse(request, f"{text}{computed} {policy} from the given PriorityClass name")
    spec["priority"], spec["preemptionPolicy"] = value, policy


def _default(reader: Reader) -> Object | None:
    """The class of pods that name none: the lowest of those marked so."""
    marked = [each for each in reader.list(PRIORITY_CLASSES) if each.get("globalDefault")]
    return min(marked, key=lambda each: each.get("value") or 0) if marked else None
