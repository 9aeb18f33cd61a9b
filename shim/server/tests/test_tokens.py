"""Tokens of service accounts: whose word is believed, for how long, and what is said of one that is not."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shim.api import legacy_tokens
from shim.server.tests.conftest import serving

TOKENS = "/api/v1/namespaces/{ns}/serviceaccounts/default/token"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
FORGED = "go-jose/go-jose: error in cryptographic primitive"


async def _token(api, **spec):
    made = await api.post(TOKENS, {"spec": {"expirationSeconds": 600, **spec}})
    assert made.status == 201, made.json
    return made.json["status"]["token"]


async def _review(api, token, *audiences):
    review = await api.post(REVIEWS, {"spec": {"token": token, "audiences": list(audiences)}})
    status = review.json["status"]
    return "good" if status.get("authenticated") else status["error"]


def _pem(key) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


async def test_what_is_wrong_with_a_token_is_said_to_reviewers_only(api):
    good = await _token(api)
    claims, header = jwt.decode(good, options={"verify_signature": False}), jwt.get_unverified_header(good)
    own = (api.directory / "pki" / "sa.key").read_bytes()
    other = _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    now = int(time.time())

    def forged(key=own, algorithm="RS256", **changed):
        return jwt.encode({**claims, **changed}, key, algorithm, headers={"kid": header["kid"]})

    def named(**account):
        kubernetes = claims["kubernetes.io"]
        return {"kubernetes.io": {**kubernetes, "serviceaccount": {**kubernetes["serviceaccount"], **account}}}

    public = (api.directory / "pki" / "sa.pub").read_bytes()
    uid = claims["kubernetes.io"]["serviceaccount"]["uid"]
    assert await _review(api, good) == "good"
    assert await _review(api, forged(exp=now - 30)) == "good"  # clocks differ
    for token, why in (
        (forged(exp=now - 100), "service account token has expired"),
        (forged(nbf=now + 100), "service account token is not valid yet"),
        (forged(iat=now + 100), "service account token is issued in the future"),
        (forged(key=other), FORGED),
        (jwt.encode(claims, "", "none"), FORGED),
        # the public key as a shared secret: PyJWT itself would refuse to make this one
        (jwt.encode(claims, base64.b64encode(public), "HS256"), FORGED),
        (forged(**named(name="gone")), 'serviceaccounts "gone" not found'),
        (forged(**named(uid="x")), f"service account UID ({uid}) does not match claim (x)"),
        (
            forged(aud=["other"]),
            'token audiences ["other"] is invalid for the target audiences ["https://kubernetes.default.svc"]',
        ),
    ):
        assert await _review(api, token) == f"[invalid bearer token, {why}]"
        answer = await api.get("/api/v1/nodes", anonymous=True, headers={"Authorization": f"Bearer {token}"})
        assert (answer.status, answer.message) == (401, "Unauthorized")
    for strange in ("bogus", forged(iss="https://elsewhere"), good[:-4] + "AAAA.x", "a.b.c"):
        assert await _review(api, strange) == "invalid bearer token"


async def test_a_token_is_for_its_audience(api):
    token = await _token(api, audiences=["vault", "https://kubernetes.default.svc"])
    assert await _review(api, token) == "good"
    assert await _review(api, token, "vault", "bank") == "good"
    why = 'token audiences ["vault" "https://kubernetes.default.svc"] is invalid for the target audiences ["bank"]'
    assert await _review(api, token, "bank") == f"[invalid bearer token, {why}]"


@pytest.mark.parametrize(("kind", "path"), [("Secret", "/api/v1/namespaces/{ns}/secrets"), ("Node", "/api/v1/nodes")])
async def test_a_token_ends_with_what_it_is_bound_to(api, kind, path):
    name = f"bound-{api.namespace}"
    assert (await api.post(path, {"metadata": {"name": name}})).status == 201
    token = await _token(api, boundObjectRef={"kind": kind, "apiVersion": "v1", "name": name})
    assert await _review(api, token) == "good"
    await api.delete(f"{path}/{name}")
    assert await _review(api, token) == "[invalid bearer token, service account token has been invalidated]"
    await api.post(path, {"metadata": {"name": name}})  # another one of that name
    assert "UID" in await _review(api, token)
    await api.delete(f"{path}/{name}")


@pytest.mark.parametrize(
    ("asked", "code", "why"),
    [
        ({"spec": {"boundObjectRef": {}}}, 400, "cannot bind token to object of type /, Kind="),
        (
            {"metadata": {"namespace": "other"}},
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        ({"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1"}}}, 400, "Name parameter required."),
        (
            {"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "a/b"}}},
            400,
            "Name parameter invalid: \"a/b\": may not contain '/'",
        ),
        ({"spec": {"expirationSeconds": 599}}, 422, "may not specify a duration less than 10 minutes"),
    ],
)
async def test_what_is_no_request_for_a_token(api, asked, code, why):
    refused = await api.post(TOKENS, asked)
    assert (refused.status, why in refused.message) == (code, True), refused.data


async def test_a_pods_own_token_is_for_an_hour_but_lives_a_year(api):
    await api.post("/api/v1/namespaces/{ns}/pods", api.pod("p"))
    token = await _token(api, expirationSeconds=3607, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "p"})
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 365 * 86400
    assert claims["kubernetes.io"]["warnafter"] - claims["iat"] == 3607


async def test_a_token_in_a_secret_is_good_while_it_lies_there(api):
    account = (await api.get("/api/v1/namespaces/{ns}/serviceaccounts/default")).json
    token = jwt.encode(legacy_tokens.claims(account, "t"), (api.directory / "pki" / "sa.key").read_bytes(), "RS256")
    assert await _review(api, token) == "[invalid bearer token, Token has been invalidated]"
    annotations = {legacy_tokens.NAME: "default"}
    secret = {"metadata": {"name": "t", "annotations": annotations}, "type": legacy_tokens.TYPE}
    secrets = "/api/v1/namespaces/{ns}/secrets"
    assert (await api.post(secrets, secret)).status == 201
    assert await _review(api, token) == "[invalid bearer token, Token does not match server's copy]"
    data = {"token": base64.b64encode(token.encode()).decode()}
    assert (await api.patch(f"{secrets}/t", {"data": data})).status == 200
    assert await _review(api, token) == "good"
    watched = await api.watch(f"{secrets}?fieldSelector=metadata.name%3Dt")
    labels = watched[-1]["object"]["metadata"]["labels"]
    assert labels[legacy_tokens.LAST_USED] == time.strftime("%Y-%m-%d", time.gmtime())
    await api.patch(f"{secrets}/t", {"metadata": {"labels": {legacy_tokens.INVALID_SINCE: "2026-01-01"}}})
    assert "has been marked invalid" in await _review(api, token)


async def test_keys_are_replaced_one_after_the_other(tmp_path: Path):
    """The old key's tokens are believed while it is named, and no longer."""
    old, new = tmp_path / "old.key", tmp_path / "new.key"
    old.write_bytes(_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    new.write_bytes(_pem(ec.generate_private_key(ec.SECP256R1())))

    async def first(api):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        await api.post("/api/v1/namespaces/{ns}/serviceaccounts", account)
        return await _token(api)

    data = tmp_path / "data"
    async with serving(data, service_account_signing_key_file=old) as api:
        before = await first(api)
        assert await _review(api, before) == "good"
    async with serving(
        data,
        service_account_signing_key_file=new,
        service_account_key_file=(str(old),),
        service_account_issuer=("https://new", "https://kubernetes.default.svc"),
        api_audiences=("https://kubernetes.default.svc",),
    ) as api:
        after = await _token(api)
        assert jwt.get_unverified_header(after)["alg"] == "ES256"
        assert [await _review(api, token) for token in (before, after)] == ["good", "good"]
        keys = (await api.get("/openid/v1/jwks", accept="application/jwk-set+json")).json["keys"]
        assert [(key["kty"], key["alg"]) for key in keys] == [("RSA", "RS256"), ("EC", "ES256")]
        found = (await api.get("/.well-known/openid-configuration")).json
        assert found["issuer"] == "https://new"
        assert found["id_token_signing_alg_values_supported"] == ["ES256", "RS256"]
    async with serving(data, service_account_signing_key_file=new) as api:
        assert await _review(api, before) == f"[invalid bearer token, {FORGED}]"
