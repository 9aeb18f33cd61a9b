"""Keeps the zone equal to the watched Services and EndpointSlices."""

from __future__ import annotations

from netproxy.dns.zone import Zone
from shim.api.meta import Object
from shim.client import Informer


def follow(services: Informer, slices: Informer, zone: Zone) -> Zone:
    """Bring every change into the zone, from what is there already on."""

    def on_service(old: Object | None, new: Object | None) -> None:
        if new is not None:
            zone.set_service(new)
        elif old is not None:
            zone.remove_service(old["metadata"]["namespace"], old["metadata"]["name"])

    def on_slice(old: Object | None, new: Object | None) -> None:
        if old is not None:  # it may have been another Service's
            zone.remove_slice(old)
        if new is not None:
            zone.set_slice(new)

    services.on_change(on_service)
    slices.on_change(on_slice)
    return zone
