"""Which API servers are there? The Service ``kubernetes``, by which pods reach one, and the leases that tell of all.

Every server that shares its store keeps a Lease in kube-system, labelled as upstream's API servers label theirs; the
endpoints of the Service are those whose leases are fresh. A server that dies is out of them after ``FRESH`` seconds;
one that is stopped takes its lease with it. All must listen on the same port, because the Service has one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from datetime import UTC, datetime

from shim.api.meta import Object, now_micro
from shim.server.allocators import Unavailable
from shim.server.bootstrap import born, create
from shim.server.service_addresses import ServiceAddresses, first_address
from shim.settings import ApiServerSettings
from shim.store.cache import Also, Cache, Entry
from shim.store.contract import Conflict, StoreError

log = logging.getLogger(__name__)

NAME, NAMESPACE = "kubernetes", "default"
INTERVAL = 5.0  # seconds between looks whether all is as it should be
FRESH = 15.0  # seconds a lease counts after its last renewal; clocks of masters must agree better than this
LEASES = "/registry/leases/kube-system/"
_IDENTITY = {"apiserver.kubernetes.io/identity": "kube-apiserver"}
_ADDRESS = "kubeshim/address"  # annotation: where a server is reached
_SKIP_MIRROR = {"endpointslice.kubernetes.io/skip-mirror": "true"}
_OF_SERVICE = {"kubernetes.io/service-name": NAME}


class Masters:
    """This server among all that share its store."""

    def __init__(self, cache: Cache, settings: ApiServerSettings, addresses: ServiceAddresses, port: int) -> None:
        self._cache, self._addresses, self._port = cache, addresses, port
        self._service_ip = first_address(settings.service_cidr)
        self._own = settings.advertise_address or settings.bind[0]
        self._lease = f"{LEASES}apiserver-{self._own.replace(':', '-')}"

    async def run(self) -> None:
        """Keep the lease and the Service until cancelled: whoever deletes the Service gets it back."""
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
        addresses = {self._own}
        if self._cache.shared:
            await self._renew()
            addresses |= {address for address in map(_address, self._cache.range(LEASES)) if address}
        for key, obj, paths in self._objects(sorted(addresses)):
            await self._ensure(key, obj, *paths)

    async def _withdraw(self) -> None:
        """This server stops: take it out of the Service at once."""
        entry = self._cache.get(self._lease)
        if entry is not None:
            try:
                await self._cache.delete(self._lease, entry.decode(), expected=entry.revision)
            except (StoreError, TimeoutError) as error:
                log.info("the lease of this server stays until it is stale: %s", error)

    async def _renew(self) -> None:
        entry = self._cache.get(self._lease)
        if entry is not None:
            lease = entry.decode()
            lease["spec"]["renewTime"] = now_micro()
            try:
                await self._cache.update(self._lease, lease, expected=entry.revision)
            except Conflict:
                pass  # somebody has changed it; next time
            return
        name = self._lease.removeprefix(LEASES)
        lease = {
            "kind": "Lease",
            "apiVersion": "coordination.k8s.io/v1",
            "metadata": {"name": name, "labels": _IDENTITY, "annotations": {_ADDRESS: self._own}},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": int(FRESH), "renewTime": now_micro()},
        }
        await create(self._cache, self._lease, born(lease, "kube-system"))

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
            (f"/registry/services/{where}", service, (("spec", "ports"),)),
            (f"/registry/endpoints/{where}", endpoints, (("subsets",),)),
            (f"/registry/endpointslices/{where}", slice_, (("endpoints",), ("ports",))),
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
        if changed:
            await self._cache.update(key, present, expected=entry.revision)

    def _taken(self, obj: Object) -> list[Also]:
        """What takes the Service's address, unless it is the Service's already."""
        try:
            return [self._addresses.take(self._service_ip, obj)] if obj["kind"] == "Service" else []
        except Unavailable as why:
            log.warning("the address of the kubernetes Service, %s: %s", self._service_ip, why)
            return []


def _address(entry: Entry) -> str:
    """Where the server of a fresh lease is reached; empty for a stale one, and for other leases."""
    if not _IDENTITY.items() <= entry.labels.items():
        return ""
    lease = entry.decode()
    address = (lease["metadata"].get("annotations") or {}).get(_ADDRESS, "")
    renewed = (lease.get("spec") or {}).get("renewTime")
    if not address or not renewed:
        return ""
    age = datetime.now(UTC) - datetime.fromisoformat(renewed)
    return address if abs(age.total_seconds()) <= FRESH else ""
