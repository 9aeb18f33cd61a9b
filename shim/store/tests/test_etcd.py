"""The store on a real etcd: the contract, then members that die, freeze and lose each other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from shim import pki
from shim.store.contract import Compacted, Conflict, Store, StoreError, Write
from shim.store.encrypted import EncryptedStore
from shim.store.encryption import BOXES, Sealer
from shim.store.etcd import EtcdStore, members, open_etcd
from shim.store.etcd.members import Access
from shim.store.etcd.messages import message
from shim.store.tests.contract_suite import StoreContract, take
from shim.store.tests.etcd_cluster import EtcdCluster
from shim.store.tests.history_checker import History, Read, Told


@pytest.fixture
def one(tmp_path: Path) -> Iterator[EtcdCluster]:
    cluster = EtcdCluster(tmp_path)
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def three(tmp_path: Path) -> Iterator[EtcdCluster]:
    cluster = EtcdCluster(tmp_path, 3)
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
async def store(one: EtcdCluster) -> AsyncIterator[EtcdStore]:
    opened = await open_etcd(Access.of(one.url))
    yield opened
    await opened.close()


class TestContract(StoreContract):
    """The etcd store keeps the contract."""

    async def test_several_keys_are_written_all_or_none(self, store: Store) -> None:
        """As the contract has it, but that keys written together share a revision."""
        watch = store.watch(await store.put("/a", b"1"))
        assert await store.write_all([Write("/a", b"2", 2), Write("/b", b"1", 0)]) == 3
        assert [(each.key, each.revision) for each in await take(watch, 2)] == [("/a", 3), ("/b", 3)]
        with pytest.raises(Conflict) as refused:
            await store.write_all([Write("/c", b"1", 0), Write("/a", b"3", 2)])
        assert (refused.value.key, refused.value.found) == ("/a", 3)
        assert [record.key for record in (await store.range("/")).records] == ["/a", "/b"]


async def test_what_lies_in_etcd_can_be_sealed(one: EtcdCluster) -> None:
    sealers = (Sealer(b"k8s:enc:secretbox:v1:a:", BOXES["secretbox"][0](b"k" * 32)),)
    sealed = EncryptedStore(await open_etcd(Access.of(one.url)), lambda bucket: sealers)
    plain = await open_etcd(Access.of(one.url))
    watch = sealed.watch(1)
    await sealed.put("/registry/secrets/a/b", b"hidden")
    assert [change.value for change in await take(watch, 1)] == [b"hidden"]
    (record,) = (await plain.range("/")).records
    assert record.value.startswith(b"k8s:enc:secretbox:v1:a:")
    await sealed.close()
    await plain.close()


async def test_a_reopened_store_goes_on_where_it_was(one: EtcdCluster) -> None:
    first = await open_etcd(Access.of(one.url))
    await first.put("/a", b"1")
    kept = await first.put("/a", b"2")
    await first.compact(kept)
    await first.close()
    second = await open_etcd(Access.of(one.url))
    with pytest.raises(Compacted) as refused:
        second.watch(kept - 1)
    assert refused.value.oldest == kept
    assert await second.put("/a", b"3", expected=kept) > kept
    await second.close()


async def test_keys_of_others_do_not_hold_up_readers(one: EtcdCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of their changes is a revision that none of our keys has."""
    monkeypatch.setattr(members, "PROGRESS", 3600.0)  # no stream is silent for so long that it would be asked
    store = await open_etcd(Access.of(one.url))
    watch = store.watch(1)
    await store.put("/a", b"1")
    foreign = message["PutRequest"](key=b"not-ours", value=b"x")
    await store._members.write("KV/Put", foreign)
    async with asyncio.timeout(30):
        assert await store.latest() == 2
    await store.put("/b", b"1")
    assert [(change.key, change.revision) for change in await take(watch, 2)] == [("/a", 2), ("/b", 4)]
    assert (await store.range("/")).revision == 4
    await store.close()


async def test_writes_that_expire_share_leases_and_a_lost_lease_is_replaced(one: EtcdCluster) -> None:
    store = await open_etcd(Access.of(one.url))
    await asyncio.gather(*(store.put(f"/registry/events/{number}", b"x", ttl=3600) for number in range(50)))
    (lease,) = store._leases._newest.values()
    assert lease.used == 50
    store._leases._newest[3600] = type(lease)(12345, lease.ends)  # one that etcd does not know
    await store.put("/registry/events/more", b"x", ttl=3600)
    (replaced,) = store._leases._newest.values()
    assert replaced.number not in (12345, lease.number)
    await store.close()


async def test_one_of_several_servers_compacts_each_time(one: EtcdCluster) -> None:
    left, right = await open_etcd(Access.of(one.url)), await open_etcd(Access.of(one.url))
    first = await left.put("/a", b"1")
    second = await left.put("/a", b"2")
    await left.compact(first)
    await right.compact(second)  # it did not know that somebody had
    assert right.compacted == first
    assert (await right.range("/", revision=first)).records[0].value == b"1"
    await right.compact(second)
    assert right.compacted == second
    with pytest.raises(Compacted):
        await left.range("/", revision=first)
    await left.close()
    await right.close()


async def test_two_servers_see_each_other_and_one_of_two_writers_wins(one: EtcdCluster) -> None:
    left, right = await open_etcd(Access.of(one.url)), await open_etcd(Access.of(one.url))
    watch = right.watch(1)
    revision = await left.put("/a", b"1")
    assert await right.latest() >= revision
    assert [change.value for change in await take(watch, 1)] == [b"1"]
    results = await asyncio.gather(
        *(store.put("/a", b"2", expected=revision) for store in (left, right)), return_exceptions=True
    )
    assert sorted(type(result) for result in results if not isinstance(result, int)) == [Conflict]
    await left.close()
    await right.close()


@pytest.mark.parametrize("url", ["http://localhost:2379", "etcd://", "etcd://a:1/path", "etcd://a:1?x=y"])
def test_what_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="does not name a store"):
        Access.of(url)


async def test_members_are_asked_by_tls_as_a_user_with_a_password(tmp_path: Path) -> None:
    pki.ensure_pki(tmp_path, addresses=[], service_ip="10.96.0.1")
    certificate, key = pki.ensure_serving(tmp_path, "etcd", "etcd", ["127.0.0.1"])
    ca, own = tmp_path / "pki" / "ca.crt", tmp_path / "pki" / "kubelet-client"
    shown = own.with_suffix(".crt"), own.with_suffix(".key")
    flags = [f"--cert-file={certificate}", f"--key-file={key}", f"--trusted-ca-file={ca}", "--client-cert-auth"]
    cluster = EtcdCluster(tmp_path, 1, *flags, scheme="https")
    cluster.start()
    try:
        credentials = grpc.ssl_channel_credentials(ca.read_bytes(), shown[1].read_bytes(), shown[0].read_bytes())
        async with grpc.aio.secure_channel(cluster.clients[0], credentials) as channel:
            # messages by hand: field 1 is the user's or role's name, field 2 the password or the user's role
            for method, request in (
                ("UserAdd", b"\x0a\x04root\x12\x06secret"),
                ("RoleAdd", b"\x0a\x04root"),
                ("UserGrantRole", b"\x0a\x04root\x12\x04root"),
                ("AuthEnable", b""),
            ):
                await channel.unary_unary(f"/etcdserverpb.Auth/{method}")(request, wait_for_ready=True)
        url = cluster.url.replace("etcd://", "etcd://root:{}@")
        store = await open_etcd(Access.of(url.format("secret"), ca, *shown))
        watch = store.watch(await store.put("/a", b"1"))
        revision = await store.put("/a", b"2")
        assert [(each.key, each.revision) for each in await take(watch, 1)] == [("/a", revision)]
        await store.close()
        for wrong in (url.format("guess"), cluster.url):
            with pytest.raises(StoreError, match="etcd: "):
                await (await open_etcd(Access.of(wrong, ca, *shown))).put("/a", b"3")
    finally:
        cluster.stop()


def test_users_and_ports_are_read_from_the_url() -> None:
    access = Access.of("etcd://root:secret@one,two:4001")
    assert (access.endpoints, access.user, access.password) == (("one:2379", "two:4001"), "root", "secret")


OPERATIONS = 100  # of each client at least; it goes on until the cluster was disturbed enough


class Recorder:
    """Clients of a store at work, each noting what it is told; a watcher notes what it is shown."""

    def __init__(self, store: EtcdStore, seed: int) -> None:
        self.store, self.history, self.unknown = store, History(), 0
        self.enough = asyncio.Event()
        self._random = random.Random(seed)
        self._watch = store.watch(store._revision, previous=True)

    async def work(self, worker: int) -> None:
        """Create, change, delete and read keys, some of one's own and some that all share, in any order."""
        at: dict[str, int] = {}  # the revisions this worker believes its keys to be at
        number = 0
        while number < OPERATIONS or not self.enough.is_set():
            number += 1
            key = self._random.choice((f"/own/{worker}", "/shared/1", "/shared/2"))
            try:
                if key not in at:  # it was not quick enough, or was told nothing
                    at[key] = await self._read(key)
                await self._one(key, b"%d %d" % (worker, number), at)
            except Conflict:
                del at[key]
            except StoreError:  # nobody knows, or no member could be reached: a client would be told just that
                self.unknown += 1
                at.pop(key, None)
                await asyncio.sleep(0.05)

    async def _one(self, key: str, value: bytes, at: dict[str, int]) -> None:
        match self._random.choices(("put", "delete", "read"), (6, 2, 4))[0]:
            case "put":
                at[key] = await self.store.put(key, value, expected=at[key])
                self.history.tell(Told(key, value, at[key]))
            case "delete" if at[key]:
                gone = await self.store.delete(key, expected=at[key])
                at[key] = 0
                self.history.tell(Told(key, None, gone))
            case _:
                at[key] = await self._read(key)

    async def _read(self, key: str) -> int:
        """The key's revision, 0 where it is not."""
        known = self.history.known
        page = await self.store.range(key, limit=1)
        found = (page.records[0].value, page.records[0].revision) if page.records else None
        self.history.answer(Read(key, found, page.revision, known))
        return found[1] if found else 0

    async def follow(self) -> None:
        async for changes in self._watch:
            for change in changes:
                self.history.show(change)

    async def check(self, following: asyncio.Task[None]) -> None:
        """Everything fits together, once all has been shown."""
        latest = await self.store.latest()
        async with asyncio.timeout(30):
            while not self.history.shown or self.history.shown[-1].revision < latest:  # it is no event
                if following.done():
                    following.result()
                await asyncio.sleep(0.02)
        records = (await self.store.range("/")).records
        self.history.judge({record.key: (record.value, record.revision) for record in records})


async def disturbed(three: EtcdCluster, disturb: Callable[[EtcdCluster, EtcdStore], Awaitable[None]]) -> History:
    """Writers, readers and a watcher at work while ``disturb`` does its worst; what they were told fits together."""
    store = await open_etcd(Access.of(three.url))
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # pytest shows it where the test fails
    recorder = Recorder(store, seed)
    following = asyncio.create_task(recorder.follow())
    try:
        workers = [asyncio.create_task(recorder.work(worker)) for worker in range(4)]
        await disturb(three, store)
        recorder.enough.set()
        await asyncio.gather(*workers)
        await recorder.check(following)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await store.close()
    return recorder.history


async def acknowledged_more(store: EtcdStore) -> None:
    """Wait until the store has moved on."""
    began = store._revision
    async with asyncio.timeout(60):
        while store._revision < began + 5:  # noqa: ASYNC110  # the store tells nobody
            await asyncio.sleep(0.02)


async def test_members_are_killed_one_after_the_other(three: EtcdCluster) -> None:
    """One of them leads: the others elect a new leader, and nothing that was acknowledged is lost."""

    async def disturb(cluster: EtcdCluster, store: EtcdStore) -> None:
        for number in range(3):
            await acknowledged_more(store)
            await asyncio.to_thread(cluster.kill, number)
            await acknowledged_more(store)
            await asyncio.to_thread(cluster.start, number)

    history = await disturbed(three, disturb)
    assert len(history.told) > 100


async def test_a_member_falls_silent_and_comes_back(three: EtcdCluster) -> None:
    """Its connections stay open: only time tells that it is cut off."""

    async def disturb(cluster: EtcdCluster, store: EtcdStore) -> None:
        await acknowledged_more(store)
        cluster.freeze(0)  # whom the store talks to
        await acknowledged_more(store)
        cluster.thaw(0)

    await disturbed(three, disturb)


async def test_without_a_majority_nothing_is_acknowledged_and_afterwards_all_goes_on(three: EtcdCluster) -> None:
    async def disturb(cluster: EtcdCluster, store: EtcdStore) -> None:
        await acknowledged_more(store)
        cluster.freeze(1, 2)
        async with asyncio.timeout(60):
            while store.reachable:  # noqa: ASYNC110  # it finds out when it waits for an answer in vain
                await asyncio.sleep(0.1)
        cluster.thaw(1, 2)
        await acknowledged_more(store)
        assert store.reachable

    await disturbed(three, disturb)


async def test_a_stream_that_ends_while_it_is_written_to_is_opened_again(
    one: EtcdCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """grpc then says that the call is in a wrong state, and not that it failed."""
    answers, ended = members._answers, 0

    async def ends(stream: Any, create: Any) -> AsyncIterator[Any]:
        nonlocal ended
        if not ended:
            ended += 1
            raise asyncio.InvalidStateError("RPC already finished.")
        async for answer in answers(stream, create):
            yield answer

    monkeypatch.setattr(members, "_answers", ends)
    store = await open_etcd(Access.of(one.url))
    try:
        watch = store.watch(await store.latest())
        revision = await store.put("/after", b"1")
        assert [change.revision for change in await anext(watch)] == [revision]
        assert ended == 1
    finally:
        await store.close()


async def test_history_is_compacted_under_a_watch(three: EtcdCluster) -> None:
    async def disturb(cluster: EtcdCluster, store: EtcdStore) -> None:
        for number in range(3):
            await acknowledged_more(store)
            await store.compact(store._revision)
            await asyncio.to_thread(cluster.kill, number)  # the stream is opened again after a compaction
            await asyncio.to_thread(cluster.start, number)

    await disturbed(three, disturb)


async def leader(cluster: EtcdCluster) -> int:
    """The number of the member that leads, once one does."""
    async with asyncio.timeout(60):
        while True:
            for number, client in enumerate(cluster.clients):
                async with grpc.aio.insecure_channel(client) as channel:
                    # messages by hand: of the answer, field 4 is who leads, and the header's field 2 is who answers
                    status = channel.unary_unary("/etcdserverpb.Maintenance/Status")
                    answer = _fields(await status(b"", wait_for_ready=True, timeout=30))
                    if answer.get(4) == _fields(answer[1])[2]:
                        return number
            await asyncio.sleep(0.05)


def _fields(data: bytes) -> dict[int, Any]:
    """A message's fields by their numbers: integers, and bytes of what is longer."""
    found: dict[int, Any] = {}

    def integer() -> int:
        nonlocal data
        value = shift = 0
        while True:
            byte, data = data[0], data[1:]
            value, shift = value | (byte & 0x7F) << shift, shift + 7
            if not byte & 0x80:
                return value

    while data:
        key = integer()
        value: Any = integer()
        if key & 7 == 2:
            value, data = data[:value], data[value:]
        found[key >> 3] = value
    return found


@pytest.mark.needs_root
async def test_the_leader_is_cut_off_from_the_others_but_not_from_us(tmp_path: Path) -> None:
    """It believes for a while that it leads; nothing it says then may be believed. Its connections stay open."""
    cluster = EtcdCluster(tmp_path, 3, apart=True)
    try:
        cluster.start()

        async def disturb(cluster: EtcdCluster, store: EtcdStore) -> None:
            for _ in range(2):
                await acknowledged_more(store)
                number = await leader(cluster)
                store._members._current = number  # the one we talk to is the one that is cut off
                await asyncio.to_thread(cluster.cut_off, number)
                await acknowledged_more(store)
                await asyncio.to_thread(cluster.heal, number)

        history = await disturbed(cluster, disturb)
        assert len(history.told) > 50
    finally:
        cluster.stop()
