"""Values are sealed in the store as upstream seals them, and keys are replaced by writing everything once."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shim.store.contract import StoreError
from shim.store.encrypted import EncryptedStore
from shim.store.encryption import BOXES, Encryption, Sealer, unseal
from shim.store.sqlite import open_sqlite
from shim.store.tests.contract_suite import StoreContract, take

ONE, TWO = (bytes([number]) * 32 for number in (1, 2))


def _config(*sealers: Sealer) -> Encryption:
    return Encryption([(("secrets",), sealers)])


def _provider(name: str, **keys: bytes) -> Sealer:
    ((key, secret),) = keys.items()
    return Sealer(f"k8s:enc:{name}:v1:{key}:".encode(), BOXES[name][0](secret))


IDENTITY = Sealer(b"")


def _store(tmp_path: Path, encryption: Encryption) -> EncryptedStore:
    store = open_sqlite(tmp_path / "store.db")
    return EncryptedStore(store, lambda bucket: encryption.sealers("", bucket.split("/")[2] if bucket else "secrets"))


class TestContract(StoreContract):
    """An encrypted store keeps the contract."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[EncryptedStore]:
        opened = _store(tmp_path, _config(_provider("secretbox", one=ONE)))
        yield opened
        await opened.close()


SECRET = "/registry/secrets/a/b"


@pytest.mark.parametrize("provider", ["aescbc", "aesgcm", "secretbox"])
async def test_what_lies_on_the_disk_is_sealed_and_named(tmp_path: Path, provider: str) -> None:
    store = _store(tmp_path, _config(_provider(provider, one=ONE), IDENTITY))
    await store.put(SECRET, b'{"password"}')
    await store.put("/registry/configmaps/a/b", b'{"open"}')
    assert [record.value for record in (await store.range("/")).records] == [b'{"open"}', b'{"password"}']
    assert [change.value for change in await take(store.watch(1), 2)] == [b'{"password"}', b'{"open"}']
    await store.close()
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert f"k8s:enc:{provider}:v1:one:".encode() in on_disk
    assert b"password" not in on_disk
    assert b"open" in on_disk


async def test_a_key_is_replaced_by_writing_everything_once(tmp_path: Path) -> None:
    old, new = _provider("aescbc", one=ONE), _provider("aesgcm", two=TWO)
    store = _store(tmp_path, _config(IDENTITY))
    await store.put(SECRET, b"plain")
    await store.close()
    for providers, stale in (
        ((old, IDENTITY), True),
        ((old, IDENTITY), False),
        ((new, old), True),
        ((new,), False),
    ):
        store = _store(tmp_path, _config(*providers))
        assert [record.value for record in (await store.range("/")).records] == [b"plain"]
        assert (SECRET in store.stale) is stale
        following = store.watch(await store.latest())
        await store.put(SECRET, b"plain")
        await take(following, 1)
        assert SECRET not in store.stale
        await store.close()
    store = _store(tmp_path, _config(old))
    with pytest.raises(StoreError, match="/registry/secrets/a/b: no key of the encryption configuration opens it"):
        await store.range("/")
    await store.close()


async def test_a_sealed_value_cannot_be_passed_off_as_another(tmp_path: Path) -> None:
    config = _config(_provider("aesgcm", one=ONE))
    store = _store(tmp_path, config)
    await store.put(SECRET, b"mine")
    await store.close()
    with sqlite3.connect(tmp_path / "store.db") as database:
        names = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
    assert names
    sealed = next(
        line for path in tmp_path.iterdir() for line in [path.read_bytes()] if b"k8s:enc:aesgcm:v1:one:" in line
    )
    start = sealed.index(b"k8s:enc:aesgcm")
    value = sealed[start : start + len(b"k8s:enc:aesgcm:v1:one:") + 12 + 4 + 16]
    assert unseal(config.sealers("", "secrets"), SECRET, value) == (b"mine", False)
    with pytest.raises(StoreError, match="changed, or is of another key"):
        unseal(config.sealers("", "secrets"), "/registry/secrets/other/b", value)
