"""Do Services and what they take still agree? They are written together, so only others can make them disagree.

Somebody deletes an IPAddress, or writes one that claims to be a Service's; a store comes from a version that kept no
such objects. At start, and every minute from then on, each Service gets what it lacks and whatever belongs to no
Service is freed. Two Services with one address or port (which only an older version can have made) are told of, and
left to their owners. Events have upstream's words.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import logging
import platform
from collections.abc import AsyncIterator, Iterator

from shim.api.keys import SERVICES
from shim.api.meta import Object, parse_time
from shim.client.events import EventRecorder, Sink
from shim.server.node_ports import PortClaims
from shim.server.service_addresses import ADDRESSES, FAMILY, MANAGED_BY, MANAGER, is_for
from shim.server.service_allocator import ServiceAllocator, cluster_ips, owner_of, ports_of
from shim.store.cache import Also, Cache, Entry
from shim.store.contract import Conflict, StoreError

log = logging.getLogger(__name__)

INTERVAL = 60.0
LEAKED = datetime.timedelta(seconds=60)  # an address may be there this long before its Service, as upstream
WRONG = datetime.timedelta(seconds=5)
AT_ONCE = 100  # objects looked at before others have their turn


class AllocationRepair:
    """Compares what Services have with what is recorded as theirs."""

    def __init__(self, cache: Cache, services: ServiceAllocator, events: Sink) -> None:
        self._cache, self._services = cache, services
        self.failures = 0
        self._of_addresses, self._of_ports = (
            EventRecorder(events, f"{what}allocator-repair-controller", platform.node(), series=True)
            for what in ("ip", "port")
        )

    async def run(self) -> None:
        """Look every minute until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.check()
            except (StoreError, TimeoutError) as error:
                self.failures += 1
                log.warning("repairing allocations: %s", error)

    async def check(self) -> None:
        """Look at everything once, and put right what can be. Raises StoreError."""
        async for entry in self._each(SERVICES):
            service = entry.decode()
            await self._check_addresses(service)
            await self._check_ports(service)
        async for entry in self._each(ADDRESSES):
            await self._check_parent(entry)
        await self._free_ports()

    async def _each(self, prefix: str) -> AsyncIterator[Entry]:
        """Everything under a prefix, each as it is when its turn comes."""
        for number, found in enumerate(self._cache.range(prefix)):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
            entry = self._cache.get(found.key)
            if entry is not None:
                yield entry

    async def _check_addresses(self, service: Object) -> None:
        """Every cluster IP of a Service has an IPAddress that says so."""
        ranges = self._services.addresses.ranges()
        for address in cluster_ips(service):
            shown = f"Cluster IP [IPv4]: {address}"
            number = int(ipaddress.IPv4Address(address))
            if not any(number in each.span for each in ranges):
                text = f"{shown} is not within any configured Service CIDR; please recreate service"
                self._say_address(service, "ClusterIPOutOfRange", "ClusterIPAllocation", text)
                continue
            entry = self._cache.get(ADDRESSES + address)
            if entry is None:
                text = f"{shown} is not allocated; repairing"
                self._say_address(service, "ClusterIPNotAllocated", "ClusterIPAllocation", text)
                await self._write([self._address(address, service)])
                continue
            obj = entry.decode()
            if not is_for(obj, service):
                if self._owned(obj, address):
                    text = f"Cluster IP [IPv4]:{address} was assigned to multiple services; please recreate service"
                    self._say_address(service, "ClusterIPAlreadyAllocated", "ClusterIPAllocation", text)
                    continue
                name = owner_of(service)
                text = f"the ClusterIP [IPv4]: {address} for Service {name} has a wrong reference; repairing"
                self._say_address(service, "ClusterIPNotAllocated", "ClusterIPAllocation", text)
            elif _labelled(obj):
                continue
            await self._delete(entry)
            await self._write([self._address(address, service)])

    async def _check_ports(self, service: Object) -> None:
        """Every node port of a Service is recorded as its."""
        owner = owner_of(service)
        claims = self._services.ports.claims(owner)
        for port in sorted(set(ports_of(service))):
            found = claims.owner(port)
            if port not in self._services.ports.span:
                text = self._services.ports.text
                text = f"Port {port} is not within the port range {text}; please recreate service"
                self._say_port(service, "PortOutOfRange", text)
            elif found is None or (found != owner and port not in self._ports(found)):
                self._say_port(service, "PortNotAllocated", f"Port {port} is not allocated; repairing")
                claims.set(port, owner)
            elif found != owner:
                text = f"Port {port} was assigned to multiple services; please recreate service"
                self._say_port(service, "PortAlreadyAllocated", text)
        await self._write_claims(claims)

    async def _check_parent(self, entry: Entry) -> None:
        """An IPAddress that is said to be a Service's is one."""
        obj = entry.decode()
        metadata, parent = obj["metadata"], obj["spec"].get("parentRef") or {}
        if entry.labels.get(MANAGED_BY) != MANAGER or metadata.get("deletionTimestamp"):
            return
        address = metadata["name"]
        name = f"{parent.get('namespace', '')}/{parent.get('name', '')}"
        service = self._cache.get(f"{SERVICES}{name}")
        grace, reason = datetime.timedelta(), "IPAddressNotAllocated"
        if parent.get("group") or parent.get("resource") != "services":
            shown = "{{{} {} {} {}}}".format(*(parent.get(field, "") for field in _PARENT))
            text = f"IPAddress {address} appears to have been modified, not referencing a Service {shown}: cleaning up"
        elif service is None:
            grace = LEAKED
            text = f"IPAddress: {address} for Service {name} appears to have leaked: cleaning up"
        elif address in cluster_ips(service.decode()):
            return
        else:
            grace, reason = WRONG, "IPAddressWrongReference"
            text = f"IPAddress: {address} for Service {name} has a wrong reference; cleaning up"
        if datetime.datetime.now(datetime.UTC) - parse_time(metadata["creationTimestamp"]) >= grace:
            self._say_address(obj, reason, "IPAddressAllocation", text)
            await self._delete(entry)

    async def _free_ports(self) -> None:
        """Every port that is recorded is its owner's."""
        leaked: dict[str, list[int]] = {}
        for port, owner in self._services.ports.taken():
            if self._cache.get(f"{SERVICES}{owner}") is None or port not in self._ports(owner):
                leaked.setdefault(owner, []).append(port)
        for owner, ports in leaked.items():
            log.warning("the node ports %s, recorded as those of %s, belong to no Service: cleaning up", ports, owner)
            claims = self._services.ports.claims(owner)
            for port in ports:
                claims.free(port)
            await self._write_claims(claims)

    def _owned(self, address: Object, name: str) -> bool:
        """Whether the Service an IPAddress refers to has that address."""
        parent = address["spec"]["parentRef"]
        if parent.get("group") or parent.get("resource") != "services":
            return False
        entry = self._cache.get(f"{SERVICES}{parent.get('namespace')}/{parent.get('name')}")
        return entry is not None and name in cluster_ips(entry.decode())

    def _ports(self, owner: str) -> Iterator[int]:
        entry = self._cache.get(f"{SERVICES}{owner}")
        return ports_of(entry.decode()) if entry else iter(())

    def _address(self, address: str, service: Object) -> Also:
        return Also(ADDRESSES + address, self._services.addresses.address_of(address, service), 0)

    async def _delete(self, entry: Entry) -> None:
        try:
            await self._cache.delete(entry.key, entry.decode(), expected=entry.revision)
        except Conflict as lost:
            log.debug("repairing allocations: %s", lost)  # the next look sees what it has become

    async def _write_claims(self, claims: PortClaims) -> None:
        if changes := claims.also():
            await self._write(changes)

    async def _write(self, changes: list[Also]) -> None:
        first, *rest = changes
        assert first.obj is not None
        try:
            await self._cache.update(first.key, first.obj, expected=first.expected, also=rest)
        except Conflict as lost:
            log.debug("repairing allocations: %s", lost)

    def _say_address(self, obj: Object, reason: str, action: str, text: str) -> None:
        log.warning("%s %s: %s", obj["kind"], obj["metadata"]["name"], text)
        self._of_addresses.event(obj, "Warning", reason, text, action=action)

    def _say_port(self, service: Object, reason: str, text: str) -> None:
        log.warning("Service %s: %s", owner_of(service), text)
        self._of_ports.event(service, "Warning", reason, text, action="PortAllocation")


_PARENT = ("group", "resource", "namespace", "name")


def _labelled(address: Object) -> bool:
    labels = address["metadata"].get("labels") or {}
    return (labels.get(FAMILY), labels.get(MANAGED_BY)) == ("IPv4", MANAGER)
