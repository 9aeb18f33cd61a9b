"""Values are sealed in the store as upstream seals them, and keys are replaced by writing everything once."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shim.codec.configuration import ConfigurationError
from shim.store.contract import StoreError
from shim.store.encrypted import EncryptedStore
from shim.store.encryption import Encryption, unseal
from shim.store.sqlite import open_sqlite
from shim.store.tests.contract_suite import StoreContract, take

ONE, TWO = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


def _config(*providers: str, resources: str = "[secrets]") -> Encryption:
    lines = "".join(f"  - {provider}\n" for provider in providers)
    head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n"
    return Encryption.read(f"{head}resources:\n- resources: {resources}\n  providers:\n{lines}")


def _provider(name: str, **keys: str) -> str:
    listed = ", ".join(f"{{name: {key}, secret: {secret}}}" for key, secret in keys.items())
    return f"{name}: {{keys: [{listed}]}}"


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
    store = _store(tmp_path, _config(_provider(provider, one=ONE), "identity: {}"))
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
    store = _store(tmp_path, _config("identity: {}"))
    await store.put(SECRET, b"plain")
    await store.close()
    for providers, stale in (
        ((old, "identity: {}"), True),
        ((old, "identity: {}"), False),
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


def test_the_first_row_that_names_a_resource_counts() -> None:
    box = _provider("secretbox", one=ONE)
    encryption = _config(box, resources='[secrets, deployments.apps, "*.example.com"]')
    covered = [("", "secrets"), ("apps", "deployments"), ("example.com", "things")]
    assert all(encryption.sealers(*each) for each in covered)
    assert not any(encryption.sealers(*each) for each in (("", "pods"), ("apps", "replicasets"), ("com", "things")))
    everything = _config("identity: {}", resources='["*.*"]')
    assert everything.sealers("batch", "jobs")
    assert _config(box, resources='["*."]').sealers("", "pods")


@pytest.mark.parametrize(
    ("provider", "why"),
    [
        ("kms: {name: x}", "kms is not built in this server"),
        ("rot13: {}", 'unknown field "rot13"'),
        ("aescbc: {keys: []}", "keys: Required value"),
        ("aescbc: {keys: [{name: a, secret: '???'}]}", "secrets must be base64 encoded"),
        ("secretbox: {keys: [{name: a, secret: c2hvcnQ=}]}", "secret is not of the expected length, got 5"),
        ("aesgcm: {keys: [{secret: c2hvcnQ=}]}", "keys[0].name: Required value"),
    ],
)
def test_a_configuration_that_is_none_is_refused_without_showing_a_key(provider: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        _config(provider)
    assert why in str(raised.value)
    assert "c2hvcnQ" not in str(raised.value)
