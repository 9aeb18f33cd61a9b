"""Can an extension server be asked? What the cluster says of its Service; pure, in upstream's reasons and words."""

from __future__ import annotations

from collections.abc import Iterable

from shim.api.meta import Object


def condition(status: str, reason: str, message: str) -> Object:
    return {"type": "Available", "status": status, "reason": reason, "message": message}


PASSED = condition("True", "Passed", "all checks passed")


def failed_discovery(why: str) -> Object:
    return condition("False", "FailedDiscoveryCheck", why)


def obstacle(namespace: str, name: str, port: int, service: Object | None, slices: Iterable[Object]) -> Object | None:
    """Why there is no use in asking the server behind a Service, as a condition; None when it may answer."""
    shown = f'service/{name} in "{namespace}"'
    if service is None:
        return condition("False", "ServiceNotFound", f"{shown} is not present")
    if service["spec"].get("type", "ClusterIP") != "ClusterIP":
        return None
    port_name = next(
        (each.get("name") or "" for each in service["spec"].get("ports") or () if each["port"] == port), None
    )
    if port_name is None:
        return condition("False", "ServicePortError", f"{shown} is not listening on port {port}")
    slices = list(slices)
    if not slices:
        return condition("False", "EndpointsNotFound", f"cannot find endpointslices for {shown}")
    if not any(_leads_somewhere(each, port_name) for each in slices):
        message = f'endpointslices for {shown} have no addresses with port name "{port_name}"'
        return condition("False", "MissingEndpoints", message)
    return None


def _leads_somewhere(slice_: Object, port_name: str) -> bool:
    """Whether a slice has a ready endpoint and the port."""
    ready = any((each.get("conditions") or {}).get("ready") in (None, True) for each in slice_.get("endpoints") or ())
    ports = slice_.get("ports") or ()
    return ready and any((each.get("name") or "") == port_name and each.get("port") for each in ports)
