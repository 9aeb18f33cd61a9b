"""A pod's quality of service class: who is killed first when a node runs out of memory."""

from __future__ import annotations

from shim.api.meta import Object
from shim.api.quantity import amount

_COMPUTE = ("cpu", "memory")


def qos_class(spec: Object) -> str:
    """Guaranteed: every container limits CPU and memory and asks for all of it. BestEffort: none asks anything."""
    if spec.get("resources") is not None:
        everyone = [spec["resources"]]
    else:
        containers = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
        everyone = [container.get("resources") or {} for container in containers]
    asks, guaranteed = False, bool(everyone)
    for resources in everyone:
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in _COMPUTE:
            request, limit = requests.get(name), limits.get(name)
            asks = asks or bool(request and amount(request)) or bool(limit and amount(limit))
            if not limit or not amount(limit) or (request is not None and amount(request) != amount(limit)):
                guaranteed = False
    if not asks:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
