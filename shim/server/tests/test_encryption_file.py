"""Which resources a file says are encrypted, and what is refused of it."""

from __future__ import annotations

import base64

import pytest

from shim.codec.configuration import ConfigurationError
from shim.server.encryption_file import read
from shim.store.encryption import Encryption

KEY = base64.b64encode(bytes(32)).decode()
BOX = f"secretbox: {{keys: [{{name: one, secret: {KEY}}}]}}"


def _read(*rows: tuple[str, str]) -> Encryption:
    """Rows of resources and one provider each."""
    head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
    return read(head + "".join(f"- resources: {names}\n  providers: [{{{provider}}}]\n" for names, provider in rows))


def test_rows_name_resources_and_groups() -> None:
    encryption = _read(('[secrets, deployments.apps, "*.example.com"]', BOX))
    covered = [("", "secrets"), ("apps", "deployments"), ("example.com", "things")]
    assert all(encryption.sealers(*each) for each in covered)
    assert not any(encryption.sealers(*each) for each in (("", "pods"), ("apps", "replicasets"), ("com", "things")))
    assert _read(('["*.*"]', "identity: {}")).sealers("batch", "jobs")
    assert _read(('["*."]', BOX)).sealers("", "pods")


def test_every_row_that_names_a_resource_counts_and_wide_ones_for_the_others_alone() -> None:
    encryption = _read(("[secrets]", BOX), ("[secrets]", "identity: {}"), ('["*."]', "identity: {}"), ('["*.*"]', BOX))
    assert [sealer.prefix for sealer in encryption.sealers("", "secrets")] == [b"k8s:enc:secretbox:v1:one:", b""]
    assert [sealer.prefix for sealer in encryption.sealers("", "pods")] == [b""]
    assert [sealer.prefix for sealer in encryption.sealers("apps", "deployments")] == [b"k8s:enc:secretbox:v1:one:"]


REFUSED = [
    ("[secrets]", "kms: {name: x}", "resources[0].providers[0].kms: Forbidden: KMS is not built in this server"),
    ("[secrets]", "rot13: {}", 'strict decoding error: unknown field "resources[0].providers[0].rot13"'),
    ("[secrets]", "", "does not contain any of the expected providers"),
    ("[secrets]", "identity: {}, aescbc: {keys: [{name: a, secret: c2hvcnQ=}]}", "more than one provider specified"),
    ("[secrets]", "aescbc: {keys: []}", "aescbc.keys: Required value: at least one keys is required"),
    ("[secrets]", "aescbc: {keys: x}", "AESConfiguration.resources.providers.aescbc.keys of type []v1.Key"),
    ("[secrets]", "aescbc: {keys: [{name: a, secret: '???'}]}", "secrets must be base64 encoded"),
    ("[secrets]", "aesgcm: {keys: [{name: a, secret: c2hvcnQ=}]}", "got 5, expected one of [16 24 32]"),
    ("[secrets]", "aesgcm: {keys: [{secret: c2hvcnQ=}]}", "keys[0].name: Required value: name is a mandatory field"),
    ("[]", "identity: {}", "resources[0].resources: Required value: at least one resources[0].resources is required"),
    ("[Secrets]", "identity: {}", 'resources[0].resources[0]: Invalid value: "Secrets": resource name should not'),
    ("['*']", "identity: {}", "use '*.' to encrypt all the resources from core API group"),
    ("['pods.*']", "identity: {}", "encrypting the same resource across groups is not supported"),
    ("[events.events.k8s.io]", "identity: {}", "Use 'events' instead in the config file"),
    ("[deployments.extensions]", "identity: {}", "'extensions' group has been removed"),
    ("[secrets, secrets]", "identity: {}", "the same resource cannot be specified multiple times"),
    ("[secrets, '*.']", "identity: {}", "using overlapping resources such as 'secrets' and '*.'"),
]


@pytest.mark.parametrize(("resources", "provider", "why"), REFUSED)
def test_a_configuration_that_is_none_is_refused_without_showing_a_key(resources: str, provider: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        _read((resources, provider))
    assert why in str(raised.value)
    assert "c2hvcnQ" not in str(raised.value)


def test_a_row_that_would_never_be_asked_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is masked by earlier rule"):
        _read(('["*."]', BOX), ("[secrets]", "identity: {}"))
