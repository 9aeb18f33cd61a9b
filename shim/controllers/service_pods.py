"""Which pods stand behind a Service, and which Services does a pod's change concern? Pure.

Shared by the EndpointSlice and the Endpoints controller.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from shim.api import conditions
from shim.api.meta import Object, key_of, parse_time
from shim.controllers.pod_readiness import is_deleted, is_finished

TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
HEADLESS_LABEL = "service.kubernetes.io/headless"


def selects(service: Object, pod: Object) -> bool:
    """Whether the Service's selector matches the pod; a Service without one selects nothing."""
    selector = service["spec"].get("selector")
    return (
        bool(selector)
        and service["metadata"]["namespace"] == pod["metadata"]["namespace"]
        and selector.items() <= (pod["metadata"].get("labels") or {}).items()
    )


def is_managed(service: Object) -> bool:
    """Whether the endpoints are found by selector: not for external names, nor where somebody else writes them."""
    spec = service["spec"]
    return spec.get("type") != "ExternalName" and bool(spec.get("selector"))


def is_headless(service: Object) -> bool:
    return service["spec"].get("clusterIP") in (None, "", "None")


def addresses(pod: Object) -> list[str]:
    """The pod's addresses of every family."""
    status = pod.get("status") or {}
    several = [each["ip"] for each in status.get("podIPs") or () if each.get("ip")]
    return several or ([status["podIP"]] if status.get("podIP") else [])


def has_endpoint(pod: Object, *, include_terminating: bool) -> bool:
    """Whether the pod can be reached at all: it has an address and has not ended."""
    if is_finished(pod) or not addresses(pod):
        return False
    return include_terminating or not is_deleted(pod)


def port_of(pod: Object, service_port: Object) -> int | None:
    """The number of a Service's target port in this pod; a named one is looked up in its containers."""
    target = service_port.get("targetPort", service_port["port"])
    if isinstance(target, int):
        return target or int(service_port["port"])
    sidecars = [each for each in pod["spec"].get("initContainers") or () if each.get("restartPolicy") == "Always"]
    for container in [*(pod["spec"].get("containers") or ()), *sidecars]:
        for port in container.get("ports") or ():
            same_protocol = port.get("protocol", "TCP") == service_port.get("protocol", "TCP")
            if port.get("name") == target and same_protocol:
                return int(port["containerPort"])
    return None


def hostname_of(pod: Object, service: Object) -> str | None:
    """The name DNS gives the pod within the Service, if the pod asks for one."""
    spec = pod["spec"]
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        return str(spec["hostname"])
    return None


def endpoint_facts(pod: Object) -> tuple[object, ...]:
    """All of a pod that its endpoints depend on: when this is the same, no Service needs work."""
    ready = conditions.find(pod, "Ready") or {}
    spec = pod["spec"]
    return (
        addresses(pod),
        is_deleted(pod),
        is_finished(pod),
        ready.get("status"),
        spec.get("nodeName"),
        spec.get("hostname"),
        spec.get("subdomain"),
    )


def concerned(services: Iterable[Object], old: Object | None, new: Object | None) -> set[str]:
    """The keys of the Services that a pod's change matters to."""
    if old is not None and new is not None:
        moved = old["metadata"].get("labels") != new["metadata"].get("labels")
        if not moved and endpoint_facts(old) == endpoint_facts(new):
            return set()
    found = set()
    for service in services:
        if is_managed(service) and any(selects(service, pod) for pod in (old, new) if pod is not None):
            found.add(key_of(service))
    return found


class TriggerTimes:
    """When did what changed happen? Lets users measure the way from a pod's readiness to its traffic.

    For each Service the newest known time of every pod (when it became or stopped being ready) and of itself.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[str, datetime.datetime]] = {}

    def changed(self, service: Object, pods: list[Object]) -> str | None:
        """The earliest time among those that are newer than last time; None if none is."""
        key = key_of(service)
        known = self._known.get(key, {})
        times = {"": parse_time(service["metadata"]["creationTimestamp"])}
        for pod in pods:
            ready = conditions.find(pod, "Ready")
            if ready is not None and ready.get("lastTransitionTime"):
                times[pod["metadata"]["name"]] = parse_time(ready["lastTransitionTime"])
        newer = [time for name, time in times.items() if name not in known or time > known[name]]
        self._known[key] = times
        return min(newer).strftime("%Y-%m-%dT%H:%M:%SZ") if newer else None

    def forget(self, key: str) -> None:
        self._known.pop(key, None)
