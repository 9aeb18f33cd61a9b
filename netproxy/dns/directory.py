"""Where DNS finds Services and endpoints: the watched copies, by name and by address."""

from __future__ import annotations

from collections.abc import Iterator

from netproxy.services.tracker import BY_SERVICE, service_of
from shim.api.meta import Object
from shim.client import Informer

BY_ADDRESS = "address"
BY_NAMESPACE = "namespace"


class Directory:
    """What the zone's records are made of."""

    def __init__(self, services: Informer, slices: Informer) -> None:
        self._services, self._slices = services, slices
        services.add_indexer(BY_ADDRESS, _cluster_ips)
        services.add_indexer(BY_NAMESPACE, lambda service: [service["metadata"]["namespace"]])
        slices.add_indexer(BY_SERVICE, service_of)
        slices.add_indexer(BY_ADDRESS, _addresses)

    def service(self, namespace: str, name: str) -> Object | None:
        return self._services.get(f"{namespace}/{name}")

    def has_namespace(self, namespace: str) -> bool:
        """Whether there is any Service in it."""
        return bool(self._services.by(BY_NAMESPACE, namespace))

    def slices(self, namespace: str, name: str) -> list[Object]:
        """The Service's endpoints with an IPv4 address."""
        found = self._slices.by(BY_SERVICE, f"{namespace}/{name}")
        return [piece for piece in found if piece.get("addressType") == "IPv4"]

    def services_at(self, address: str) -> list[Object]:
        return self._services.by(BY_ADDRESS, address)

    def slices_at(self, address: str) -> list[Object]:
        return self._slices.by(BY_ADDRESS, address)


def _cluster_ips(service: Object) -> list[str]:
    address = service["spec"].get("clusterIP") or "None"
    return [address] if address != "None" else []


def _addresses(piece: Object) -> Iterator[str]:
    for endpoint in piece.get("endpoints") or ():
        yield from endpoint["addresses"]
