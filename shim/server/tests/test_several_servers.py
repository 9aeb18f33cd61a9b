"""Two API servers on one etcd: whichever a client asks, it hears of everything that any has acknowledged."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from shim.api.keys import MASTER_LEASES
from shim.server.app import prepare, run
from shim.server.tests.conftest import Api, serving
from shim.settings import ApiServerSettings
from shim.store.cache import Cache
from shim.store.contract import StoreError
from shim.store.etcd import open_etcd
from shim.store.etcd.members import Access
from shim.store.tests.etcd_cluster import EtcdCluster

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Api, Api]]:
    folder = tmp_path_factory.mktemp("several")
    etcd = EtcdCluster(folder, 3)
    etcd.start()
    flags: dict[str, Any] = {"store": etcd.url, "event_ttl": 2.0}
    try:
        async with serving(folder / "left", **flags, bind=("127.0.0.2",)) as left:
            shutil.copytree(folder / "left" / "pki", folder / "right" / "pki")  # one authority, one key for tokens
            port = int(left.url.rpartition(":")[2])
            async with serving(folder / "right", **flags, bind=("127.0.0.3",), port=port) as right:
                yield left, right
    finally:
        etcd.stop()


async def test_what_one_acknowledged_the_other_shows_at_once(both: tuple[Api, Api]) -> None:
    left, right = both
    for number in range(20):
        assert (await left.post(MAPS, left.configmap(f"seen-{number}"))).status == 201
        assert (await right.get(f"{MAPS}/seen-{number}")).status == 200
        assert f"seen-{number}" in [item["metadata"]["name"] for item in (await right.get(MAPS)).json["items"]]
        assert (await right.delete(f"{MAPS}/seen-{number}")).status == 200
        assert (await left.get(f"{MAPS}/seen-{number}")).status == 404


async def test_an_object_is_changed_by_way_of_either(both: tuple[Api, Api]) -> None:
    left, right = both
    made = (await left.post(MAPS, left.configmap("turns"))).json
    for number in range(10):
        server = (left, right)[number % 2]
        answer = await server.put(f"{MAPS}/turns", {**made, "data": {"turn": str(number)}})
        assert answer.status == 200, answer.message
        stale, made = made, answer.json
    refused = await right.put(f"{MAPS}/turns", {**stale, "data": {}})
    assert (refused.status, refused.json["reason"]) == (409, "Conflict")


async def test_patches_by_way_of_both_are_all_applied(both: tuple[Api, Api]) -> None:
    left, right = both
    await left.post(MAPS, left.configmap("sum"))
    patches = [(server, {"data": {f"{server.directory.name}-{n}": "x"}}) for n in range(8) for server in both]
    answers = await asyncio.gather(*(server.patch(f"{MAPS}/sum", patch) for server, patch in patches))
    assert [answer.status for answer in answers] == [200] * 16
    assert len((await right.get(f"{MAPS}/sum")).json["data"]) == 16


async def test_a_watch_shows_what_comes_by_way_of_the_other(both: tuple[Api, Api]) -> None:
    left, right = both
    since = (await left.get(MAPS)).json["metadata"]["resourceVersion"]
    watching = asyncio.create_task(right.watch(f"{MAPS}?resourceVersion={since}", seconds=2))
    for number in range(3):
        await left.post(MAPS, left.configmap(f"watched-{number}"))
    assert [event["object"]["metadata"]["name"] for event in await watching] == [f"watched-{n}" for n in range(3)]


async def test_one_of_two_creators_of_a_name_is_refused(both: tuple[Api, Api]) -> None:
    for number in range(5):
        answers = await asyncio.gather(*(server.post(MAPS, server.configmap(f"once-{number}")) for server in both))
        assert sorted(answer.status for answer in answers) == [201, 409]


async def test_no_address_and_no_node_port_is_given_twice(both: tuple[Api, Api]) -> None:
    """Many at once by way of both: those who name an address or a port, and those who leave it to the server."""
    services = "/api/v1/namespaces/default/services"

    def service(name: str, port: int | None = None, **spec: Any) -> Any:
        ports = [{"port": 80} | ({"nodePort": port} if port else {})]
        return {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": ports, **spec}}

    named = [
        (server, service(f"named-{n}-{i}", 30010 + n, clusterIP=f"10.96.0.{20 + n}"))
        for n in range(8)
        for i, server in enumerate(both)
    ]
    answers = await asyncio.gather(*(server.post(services, body) for server, body in named))
    assert [sorted(answers[n : n + 2], key=lambda a: a.status)[0].status for n in range(0, 16, 2)] == [201] * 8
    refused = [answer for answer in answers if answer.status != 201]
    assert [answer.status for answer in refused] == [422] * 8
    assert all("provided IP is already allocated" in answer.message for answer in refused)
    bodies = [(server, service(f"any-{n}-{i}")) for n in range(30) for i, server in enumerate(both)]
    made = await asyncio.gather(*(server.post(services, body) for server, body in bodies))
    assert [answer.status for answer in made] == [201] * 60
    items = (await both[0].get(services)).json["items"]
    addresses = [item["spec"]["clusterIP"] for item in items]
    assert len(set(addresses)) == len(addresses)
    ports = [port["nodePort"] for item in items for port in item["spec"]["ports"] if "nodePort" in port]
    assert len(set(ports)) == len(ports) == 68
    listed = (await both[1].get("/apis/networking.k8s.io/v1/ipaddresses")).json["items"]
    assert {item["metadata"]["name"] for item in listed} == set(addresses)
    names = [item["metadata"]["name"] for item in items if item["metadata"]["name"] != "kubernetes"]
    gone = await asyncio.gather(*(both[n % 2].delete(f"{services}/{name}") for n, name in enumerate(names)))
    assert {answer.status for answer in gone} == {200}
    left = (await both[1].get("/apis/networking.k8s.io/v1/ipaddresses")).json["items"]
    assert [item["metadata"]["name"] for item in left] == ["10.96.0.1"]


async def addresses_of(server: Api) -> list[str]:
    """Of all API servers, as the Service tells pods."""
    found = (await server.get("/api/v1/namespaces/default/endpoints/kubernetes")).json
    return [each["ip"] for each in found["subsets"][0]["addresses"]]


async def test_the_kubernetes_service_lists_the_servers_that_are_there(both: tuple[Api, Api], tmp_path: Path) -> None:
    left, _ = both
    assert await addresses_of(left) == ["127.0.0.2", "127.0.0.3"]
    shutil.copytree(left.directory / "pki", tmp_path / "third" / "pki")
    port, url = int(left.url.rpartition(":")[2]), left.flags["store"]
    async with serving(tmp_path / "third", store=url, bind=("127.0.0.4",), port=port):
        assert await addresses_of(left) == ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    async with asyncio.timeout(60):
        while await addresses_of(left) != ["127.0.0.2", "127.0.0.3"]:  # noqa: ASYNC110  # the next look of one that stays
            await asyncio.sleep(0.1)


async def test_a_server_that_stops_renewing_its_key_is_out_of_the_service(both: tuple[Api, Api]) -> None:
    """A killed one does not take itself out: the store does."""
    left, right = both
    store = await open_etcd(Access.of(left.flags["store"]))
    lease = {"kind": "Endpoints", "metadata": {"name": "127.0.0.9"}, "subsets": [{"addresses": [{"ip": "127.0.0.9"}]}]}
    for there, ttl in ((True, 3600), (False, 1)):  # the last time it renews its key
        await store.put(f"{MASTER_LEASES}127.0.0.9", orjson.dumps(lease), ttl=ttl)
        async with asyncio.timeout(60):
            while ("127.0.0.9" in await addresses_of(right)) is not there:  # noqa: ASYNC110  # at their next looks
                await asyncio.sleep(0.1)
    await store.close()


async def test_events_are_deleted_by_the_store_and_watchers_see_it(both: tuple[Api, Api]) -> None:
    left, right = both
    events = "/api/v1/namespaces/default/events"
    about = {"kind": "Pod", "name": "p", "namespace": "default"}
    made = await left.post(events, {"metadata": {"name": "short"}, "involvedObject": about, "reason": "Tried"})
    assert made.status == 201, made.message
    since = made.json["metadata"]["resourceVersion"]
    seen: list[Any] = []
    async with asyncio.timeout(60):
        while not seen:
            seen = await right.watch(f"{events}?resourceVersion={since}&fieldSelector=metadata.name=short", seconds=2)
    assert [(event["type"], event["object"]["reason"]) for event in seen] == [("DELETED", "Tried")]
    assert int(seen[0]["object"]["metadata"]["resourceVersion"]) > int(since)
    assert (await left.get(f"{events}/short")).status == 404


async def test_what_lies_in_etcd_lies_where_upstream_puts_it_and_can_be_read(both: tuple[Api, Api]) -> None:
    left, _ = both
    await left.post(MAPS, left.configmap("plain", data={"a": "b"}))
    store = await open_etcd(Access.of(left.flags["store"]))
    found = {record.key: record.value for record in (await store.range("/registry/")).records}
    assert {
        "/registry/configmaps/default/plain",
        "/registry/services/specs/default/kubernetes",
        "/registry/services/endpoints/default/kubernetes",
        "/registry/endpointslices/default/kubernetes",
        "/registry/masterleases/127.0.0.2",
        "/registry/clusterroles/cluster-admin",
        "/registry/apiregistration.k8s.io/apiservices/v1.apps",
        "/registry/ipaddresses/10.96.0.1",
    } <= found.keys()
    assert orjson.loads(found["/registry/configmaps/default/plain"])["data"] == {"a": "b"}
    await store.close()


async def test_a_server_that_can_no_longer_follow_its_store_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever started it starts it again, and that one knows what is true."""

    async def lost(_: Cache) -> None:
        raise StoreError("the store can no longer be followed")

    monkeypatch.setattr(Cache, "lost", lost)
    with pytest.raises(StoreError):
        await run(prepare(ApiServerSettings(data_dir=tmp_path, port=0)), lambda: None)
