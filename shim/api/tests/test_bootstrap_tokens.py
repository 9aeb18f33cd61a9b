"""Tokens as Secrets keep them, and the signature that upstream's machines check."""

from __future__ import annotations

import base64
import datetime

import pytest

from shim.api import bootstrap_tokens
from shim.api.bootstrap_tokens import BootstrapToken

LATER = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def test_a_token_comes_back_from_its_secret() -> None:
    token = BootstrapToken("abcdef", "0123456789abcdef", LATER, ("signing",), (bootstrap_tokens.NODES_GROUP,), "mine")
    stored = token.stored()
    assert stored["metadata"] == {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}
    assert base64.b64decode(stored["data"]["expiration"]) == b"2030-01-02T03:04:05Z"
    assert bootstrap_tokens.read(stored) == token
    assert token.is_expired(LATER)
    assert not token.is_expired(LATER - datetime.timedelta(seconds=1))


def _stored(**data: str) -> dict[str, object]:
    stored = BootstrapToken("abcdef", "0123456789abcdef").stored()
    stored["data"] |= {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return stored


@pytest.mark.parametrize(
    "stored",
    [
        {**_stored(), "type": "Opaque"},
        _stored(**{"token-id": "fedcba"}),
        _stored(**{"token-secret": "short"}),
        _stored(expiration="tomorrow"),
        _stored(**{"auth-extra-groups": "system:masters"}),
    ],
)
def test_what_does_not_fit_together_is_no_token(stored: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        bootstrap_tokens.read(stored)


def test_the_signature_is_a_jws_without_its_content() -> None:
    # the value of upstream's own test (cluster-bootstrap/token/jws)
    wanted = "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8"
    content = "Hello from the other side. I must have called a thousand times."
    assert bootstrap_tokens.sign(content, "joshua", "my voice is my passcode") == wanted


def test_random_tokens_are_well_formed() -> None:
    assert bootstrap_tokens.parse(".".join(bootstrap_tokens.generate())) is not None
    for wrong in ("abcdef.0123456789ABCDEF", "abcdef0123456789abcdef", "abcdef.0123456789abcdef ", ""):
        assert bootstrap_tokens.parse(wrong) is None
