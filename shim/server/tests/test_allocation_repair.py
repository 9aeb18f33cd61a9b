"""Services and what is recorded as theirs are brought to agree, and users are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from shim.codec.definitions import load_schema
from shim.resources.table import RESOURCES
from shim.server.allocation_repair import AllocationRepair
from shim.server.bootstrap import born
from shim.server.default_range import DefaultRange
from shim.server.own_events import OwnEvents
from shim.server.parts import index
from shim.server.routes import Routes
from shim.server.service_addresses import ADDRESSES
from shim.server.service_allocator import ServiceAllocator
from shim.store.cache import Cache
from shim.store.sqlite import open_sqlite

LONG_AGO = "2020-01-01T00:00:00Z"


class World:
    """A store, what hands out numbers in it, and the repair."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.services = ServiceAllocator(cache, load_schema(), "30000-30100")
        self.repair = AllocationRepair(cache, self.services, OwnEvents(cache))

    async def service(self, name: str, address: str, *ports: int) -> None:
        """A Service as another version left it: without any record of what it has."""
        spec = {"clusterIP": address, "clusterIPs": [address], "ports": [{"nodePort": port} for port in ports]}
        obj = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": name}, "spec": spec}
        await self.cache.create(f"/registry/services/specs/ns/{name}", born(obj, "ns"))

    async def address(self, name: str, service: str, **parent: str) -> None:
        obj = self.services.addresses.address_of(name, {"metadata": {"namespace": "ns", "name": service}})
        obj["metadata"]["creationTimestamp"] = LONG_AGO
        obj["spec"]["parentRef"].update(parent)
        await self.cache.create(f"{ADDRESSES}{name}", obj)

    async def told(self) -> list[tuple[str, str]]:
        """Look once; the reasons and messages of all events."""
        await self.repair.check()
        for recorder in (self.repair._of_addresses, self.repair._of_ports):
            await recorder.flush()
        events = [entry.decode() for entry in self.cache.range("/registry/events/")]
        return sorted((event["reason"], event["message"]) for event in events)

    def parents(self) -> dict[str, str]:
        addresses = [entry.decode() for entry in self.cache.range(ADDRESSES)]
        return {each["metadata"]["name"]: each["spec"]["parentRef"]["name"] for each in addresses}


@pytest_asyncio.fixture(loop_scope="session")
async def world(tmp_path: Path) -> AsyncIterator[World]:
    cache = Cache(open_sqlite(tmp_path / "store.db"), partial(index, Routes(RESOURCES)))
    await cache.start()
    await DefaultRange(cache, "10.96.0.0/24", OwnEvents(cache)).publish()
    yield World(cache)
    await cache.close()


async def test_a_service_without_records_gets_them(world: World) -> None:
    await world.service("a", "10.96.0.7", 30007)
    assert await world.told() == [
        ("ClusterIPNotAllocated", "Cluster IP [IPv4]: 10.96.0.7 is not allocated; repairing"),
        ("PortNotAllocated", "Port 30007 is not allocated; repairing"),
    ]
    assert world.parents() == {"10.96.0.7": "a"}
    assert dict(world.services.ports.taken()) == {30007: "ns/a"}
    assert len(await world.told()) == 2  # and nothing more to say


async def test_what_belongs_to_no_service_is_freed(world: World) -> None:
    await world.service("b", "10.96.0.8")
    await world.address("10.96.0.8", "b")
    await world.address("10.96.0.7", "gone")
    await world.address("10.96.0.9", "b")
    await world.address("10.96.0.10", "b", resource="gateways", group="example.com")
    claims = world.services.ports.claims("ns/gone")
    claims.take(30001)
    [part] = claims.also()
    await world.cache.create(part.key, part.obj or {})
    assert await world.told() == [
        (
            "IPAddressNotAllocated",
            "IPAddress 10.96.0.10 appears to have been modified, not referencing a Service "
            "{example.com gateways ns b}: cleaning up",
        ),
        ("IPAddressNotAllocated", "IPAddress: 10.96.0.7 for Service ns/gone appears to have leaked: cleaning up"),
        ("IPAddressWrongReference", "IPAddress: 10.96.0.9 for Service ns/b has a wrong reference; cleaning up"),
    ]
    assert world.parents() == {"10.96.0.8": "b"}
    assert dict(world.services.ports.taken()) == {}


async def test_an_address_may_be_there_a_little_before_its_service(world: World) -> None:
    taken = world.services.addresses.take("10.96.0.7", {"metadata": {"namespace": "ns", "name": "soon"}})
    await world.cache.create(taken.key, taken.obj or {})
    assert await world.told() == []
    assert world.parents() == {"10.96.0.7": "soon"}


async def test_two_services_with_one_number_are_told_and_left(world: World) -> None:
    for name in ("a", "b"):
        await world.service(name, "10.96.0.7", 30007)
    assert await world.told() == [
        (
            "ClusterIPAlreadyAllocated",
            "Cluster IP [IPv4]:10.96.0.7 was assigned to multiple services; please recreate service",
        ),
        ("ClusterIPNotAllocated", "Cluster IP [IPv4]: 10.96.0.7 is not allocated; repairing"),
        ("PortAlreadyAllocated", "Port 30007 was assigned to multiple services; please recreate service"),
        ("PortNotAllocated", "Port 30007 is not allocated; repairing"),
    ]
    assert world.parents() == {"10.96.0.7": "a"}


async def test_an_address_that_refers_to_another_is_written_anew(world: World) -> None:
    await world.service("a", "10.96.0.7")
    await world.address("10.96.0.7", "gone")
    text = "the ClusterIP [IPv4]: 10.96.0.7 for Service ns/a has a wrong reference; repairing"
    assert await world.told() == [("ClusterIPNotAllocated", text)]
    assert world.parents() == {"10.96.0.7": "a"}


@pytest.mark.parametrize(
    ("address", "ports", "told"),
    [
        (
            "10.97.0.7",
            (),
            (
                "ClusterIPOutOfRange",
                "Cluster IP [IPv4]: 10.97.0.7 is not within any configured Service CIDR; please recreate service",
            ),
        ),
        (
            "None",
            (20000,),
            ("PortOutOfRange", "Port 20000 is not within the port range 30000-30100; please recreate service"),
        ),
    ],
)
async def test_what_is_in_no_range_is_only_told(world: World, address: str, ports: Any, told: Any) -> None:
    await world.service("a", address, *ports)
    assert await world.told() == [told]
    assert world.parents() == {}


async def test_a_server_with_another_range_says_so(world: World) -> None:
    other = DefaultRange(world.cache, "10.1.0.0/24", OwnEvents(world.cache))
    await other.publish()
    await other.publish()
    await other._recorder.flush()
    [event] = [entry.decode() for entry in world.cache.range("/registry/events/")]
    text = "The default ServiceCIDR [10.96.0.0/24] does not match the controller flag configurations [10.1.0.0/24]"
    assert (event["reason"], event["message"]) == ("KubernetesDefaultServiceCIDRInconsistent", text)
