"""Which API servers are there? The Service ``kubernetes``, by which pods reach one, and what tells of all of them.

Every server that shares its store keeps a key there, as upstream's do: ``/registry/masterleases/ADDRESS``, which the
store deletes when it is not written again in time. The endpoints of the Service are those whose keys are there. A
server that dies is out of them after ``FRESH`` seconds; one that is stopped takes itself out. All must listen on the
same port, because the Service has one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging

from shim.api.keys import ENDPOINTS, MASTER_LEASES, SERVICES, prefix_of
from shim.api.meta import Object
from shim.server.allocators import Unavailable
from shim.server.bootstrap import born, create
from shim.server.service_addresses import ServiceAddresses, first_address
from shim.settings import ApiServerSettings
from shim.store.cache import Also, Cache
from shim.store.contract import Conflict, StoreError

log = logging.getLogger(__name__)

NAME, NAMESPACE = "kubernetes", "default"
INTERVAL = 5.0  # seconds between looks whether all is as it should be
FRESH = 15.0  # seconds a key of ours is there after it was written, as upstream
_SKIP_MIRROR = {"endpointslice.kubernetes.io/skip-mirror": "true"}
_OF_SERVICE = {"kubernetes.io/service-name": NAME}


class Masters:
    """This server among all that share its store."""

    def __init__(self, cache: Cache, settings: ApiServerSettings, addresses: ServiceAddresses, port: int) -> None:
        self._cache, self._addresses, self._port = cache, addresses, port
        self._service_ip = first_address(settings.service_cidr)
        self._own = settings.advertise_address or settings.bind[0]
        self._key = MASTER_LEASES + self._own

    async def run(self) -> None:
        """Keep the key and the Service until cancelled: whoever deletes the Service gets it back."""
        try:
            while True:
                await asyncio.sleep(INTERVAL)
                try:
                    await self.publish()
                except (StoreError, TimeoutError) as error:
                    log.warning("publishing the kubernetes Service: %s", error)
        finally:
            await self._withdraw()

    async def publish(self) -> None:
        """Tell that this server is there, and bring the Service up to date. Raises StoreError."""
        if self._cache.shared:
            await self._renew()
        await self._bring_up_to_date({self._own, *self._others()})

    def _others(self) -> set[str]:
        present = {entry.key.removeprefix(MASTER_LEASES) for entry in self._cache.range(MASTER_LEASES)}
        return present - {self._own}

    async def _bring_up_to_date(self, addresses: set[str]) -> None:
        for key, obj, paths in self._objects(sorted(addresses)):
            await self._ensure(key, obj, *paths)

    async def _withdraw(self) -> None:
        """This server stops: take it out of the Service at once, unless it is the only one."""
        entry = self._cache.get(self._key)
        if entry is None:
            return
        try:
            await self._cache.delete(self._key, entry.decode(), expected=entry.revision)
            if others := self._others():
                await self._bring_up_to_date(others)
        except (StoreError, TimeoutError) as error:
            log.info("this server stays in the kubernetes Service until others see that it is gone: %s", error)

    async def _renew(self) -> None:
        """Write our key again: that counts its time anew. Its content is that of upstream's."""
        entry = self._cache.get(self._key)
        generation = entry.decode()["metadata"]["generation"] if entry else 0
        lease: Object = {
            "kind": "Endpoints",
            "apiVersion": "v1",
            "metadata": {"name": self._own, "generation": generation + 1},
            "subsets": [{"addresses": [{"ip": self._own}]}],
        }
        try:
            if entry is None:
                await self._cache.create(self._key, lease)
            else:
                await self._cache.update(self._key, lease, expected=entry.revision)
        except Conflict as error:  # it has expired just now
            log.info("the key of this server: %s", error)

    def _objects(self, addresses: list[str]) -> list[tuple[str, Object, tuple[tuple[str, ...], ...]]]:
        """Key, object, and the paths of what must be so in one that is there already."""
        meta: Object = {"name": NAME, "namespace": NAMESPACE}
        port = {"name": "https", "protocol": "TCP", "port": self._port}
        service: Object = {
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": meta | {"labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {
                "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": self._port}],
                "clusterIP": self._service_ip,
                "clusterIPs": [self._service_ip],
                "type": "ClusterIP",
                "sessionAffinity": "None",
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
                "internalTrafficPolicy": "Cluster",
            },
            "status": {"loadBalancer": {}},
        }
        endpoints: Object = {
            "kind": "Endpoints",
            "apiVersion": "v1",
            "metadata": meta | {"labels": _SKIP_MIRROR},
            "subsets": [{"addresses": [{"ip": address} for address in addresses], "ports": [port]}],
        }
        slice_: Object = {
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": meta | {"labels": _OF_SERVICE, "generation": 1},
            "addressType": f"IPv{ipaddress.ip_address(self._own).version}",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
            "ports": [port],
        }
        where = f"{NAMESPACE}/{NAME}"
        return [
            (SERVICES + where, service, (("spec", "ports"),)),
            (ENDPOINTS + where, endpoints, (("subsets",),)),
            (prefix_of("discovery.k8s.io", "endpointslices") + where, slice_, (("endpoints",), ("ports",))),
        ]

    async def _ensure(self, key: str, obj: Object, *paths: tuple[str, ...]) -> None:
        """Create an object, or bring the fields at these paths up to date."""
        entry = self._cache.get(key)
        if entry is None:
            await create(self._cache, key, born(obj, NAMESPACE), self._taken(obj))
            return
        present = entry.decode()
        changed = False
        for path in paths:
            have, want = present, obj
            for name in path[:-1]:
                have, want = have[name], want[name]
            if have.get(path[-1]) != want[path[-1]]:
                have[path[-1]] = want[path[-1]]
                changed = True
        if not changed:
            return
        try:
            await self._cache.update(key, present, expected=entry.revision)
        except Conflict as lost:  # another server does the same at this moment: see what it has written
            await self._cache.wait(lost.found or self._cache.revision + 1)
            await self._ensure(key, obj, *paths)

    def _taken(self, obj: Object) -> list[Also]:
        """What takes the Service's address, unless it is the Service's already."""
        try:
            return [self._addresses.take(self._service_ip, obj)] if obj["kind"] == "Service" else []
        except Unavailable as why:
            log.warning("the address of the kubernetes Service, %s: %s", self._service_ip, why)
            return []
