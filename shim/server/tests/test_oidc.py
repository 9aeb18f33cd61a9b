"""Tokens of another issuer, which is a real one over HTTPS: discovery, keys that are replaced, and forgeries."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jwt
import yaml
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from shim import pki
from shim.server.oidc import keys as issuers_keys
from shim.server.tests.conftest import serving

DEAR = "lists.range(160).all(a, lists.range(160).all(b, a + b != -1))"
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class _Issuer:
    """Serves its discovery document and its keys."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: dict[str, tuple[str, object]] = {}
        self.asked = 0

    def add(self, name: str, algorithm: str) -> None:
        rsa_key = algorithm.startswith("RS")
        key = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048)
            if rsa_key
            else ec.generate_private_key(ec.SECP256R1())
        )
        self.keys[name] = (algorithm, key)

    def sign(self, key: str, **claims: object) -> str:
        algorithm, private = self.keys[key]
        now = int(time.time())
        said = {"iss": self.url, "aud": "kube", "sub": "jane", "iat": now, "exp": now + 600, **claims}
        return jwt.encode(said, private, algorithm, headers={"kid": key})

    async def discovery(self, request: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def jwks(self, request: web.Request) -> web.Response:
        self.asked += 1
        keys = []
        for name, (algorithm, private) in self.keys.items():
            maker = RSAAlgorithm if algorithm.startswith("RS") else ECAlgorithm
            keys.append({**json.loads(maker.to_jwk(private.public_key())), "kid": name, "alg": algorithm, "use": "sig"})
        return web.json_response({"keys": keys})

    async def elsewhere(self, request: web.Request) -> web.Response:
        """Claims of which a token says that they are here."""
        if request.headers.get("Authorization") != "Bearer let me in":
            return web.Response(status=403)
        answers = {
            "groups": self.sign("one", groups=["far"]),
            "nothing": self.sign("one"),
            "ended": self.sign("one", groups=["far"], exp=1),
            "junk": "junk",
            "strange": self.sign("one", iss="https://127.0.0.1:1", groups=["far"]),
        }
        return web.Response(text=answers[request.match_info["what"]])


@asynccontextmanager
async def _issuing(directory: Path) -> AsyncIterator[_Issuer]:
    issuer = _Issuer()
    app = web.Application()
    app.add_routes([web.get("/.well-known/openid-configuration", issuer.discovery), web.get("/keys", issuer.jwks)])
    app.add_routes([web.get("/claims/{what}", issuer.elsewhere)])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pki.ensure_serving(directory, "issuer", "issuer", ["127.0.0.1"]))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    issuer.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield issuer
    finally:
        await runner.cleanup()


async def _who(api, token):
    answer = await api.post(WHO, {}, anonymous=True, headers={"Authorization": f"Bearer {token}"})
    return answer.json["status"]["userInfo"] if answer.status == 201 else answer.status


async def _why(api, token):
    review = await api.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
    return review.json["status"].get("error", "")


async def test_tokens_of_another_issuer(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(issuers_keys, "RETRY", 0.0)
    pki.ensure_pki(tmp_path, addresses=[], service_ip="10.96.0.1")
    async with _issuing(tmp_path) as issuer:
        issuer.add("one", "RS256")
        config = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [
                {
                    "issuer": {
                        "url": issuer.url,
                        "audiences": ["kube"],
                        "certificateAuthority": (tmp_path / "pki" / "ca.crt").read_text(),
                    },
                    "claimMappings": {
                        "username": {"expression": "'oidc:' + claims.sub"},
                        "groups": {"claim": "groups", "prefix": "oidc:"},
                    },
                    "claimValidationRules": [{"expression": "claims.exp - claims.iat <= 3600", "message": "too long"}],
                    "userValidationRules": [
                        {"expression": f"user.username != 'oidc:slow' || {DEAR}", "message": "never"},
                        {"expression": "user.username != 'oidc:root'", "message": "not root"},
                    ],
                }
            ],
            "anonymous": {"enabled": True, "conditions": [{"path": "/healthz"}]},
        }
        file = tmp_path / "authentication.yaml"
        file.write_text(yaml.safe_dump(config))
        async with serving(tmp_path, authentication_config=file) as api:
            token = issuer.sign("one", groups=["dev"])
            while await _who(api, token) == 401:  # until the issuer was found
                pass
            assert await _who(api, token) == {
                "username": "oidc:jane",
                "groups": ["oidc:dev", "system:authenticated"],
            }
            slow, answered = asyncio.create_task(_who(api, issuer.sign("one", sub="slow"))), 0
            while not slow.done():  # what is dear to find out holds up nobody
                assert (await api.get("/healthz", anonymous=True)).status == 200
                answered += 1
            assert (slow.result()["username"], answered > 3) == ("oidc:slow", True)
            asked = issuer.asked
            issuer.add("two", "ES256")  # a new key is asked for when it is seen first
            assert (await _who(api, issuer.sign("two")))["username"] == "oidc:jane"
            assert issuer.asked == asked + 1

            now = int(time.time())
            prefix = "[invalid bearer token, oidc: "
            for wrong, why in (
                (issuer.sign("one", aud="other"), 'verify token: oidc: expected audience "kube" got ["other"]'),
                (issuer.sign("one", exp=now - 1), "verify token: oidc: token is expired"),
                (
                    issuer.sign("one", exp=None),
                    "verify token: oidc: token is expired (Token Expiry: 0001-01-01 00:00:00",
                ),
                (issuer.sign("one", nbf=now + 120), "verify token: oidc: current time "),
                (issuer.sign("one")[:-1], "verify token: oidc: malformed jwt: illegal base64 data at input byte "),
                (issuer.sign("one", exp=now + 7200), "error evaluating claim validation expression"),
                (issuer.sign("one", sub="root"), "error evaluating user info validation rule"),
                (issuer.sign("one", sub=5), "error evaluating username claim expression"),
                (jwt.encode({"iss": issuer.url, "aud": "kube", "sub": "x"}, "", "none"), "verify token"),
                (
                    jwt.encode({"iss": issuer.url, "aud": "kube", "sub": "x"}, "k" * 32, "HS256"),
                    "verify token",
                ),
            ):
                assert await _who(api, wrong) == 401
                assert (await _why(api, wrong)).startswith(prefix + why), await _why(api, wrong)
            thief = _Issuer()
            thief.url = issuer.url
            thief.add("one", "RS256")
            assert "failed to verify signature" in await _why(api, thief.sign("one"))
            assert await _why(api, issuer.sign("one", iss="https://elsewhere")) == "invalid bearer token"

            def far(what, secret="let me in", name="groups", source="s"):
                sources = {"s": {"endpoint": f"{issuer.url}/claims/{what}", "access_token": secret}}
                return issuer.sign("one", _claim_names={name: source}, _claim_sources=sources, jti=f"{what}{secret}")

            assert await _who(api, far("groups")) == {
                "username": "oidc:jane",
                "groups": ["oidc:far", "system:authenticated"],
                "extra": {"authentication.kubernetes.io/credential-id": ["JTI=groupslet me in"]},
            }
            assert (await _who(api, far("groups", name="other")))["groups"] == ["system:authenticated"]
            assert (await _who(api, issuer.sign("one", groups=["near"], _claim_names=5)))["groups"][0] == "oidc:near"
            getting = (
                'while getting distributed claim "groups": error while getting distributed claim JWT: 403 Forbidden'
            )
            for wrong, why in (
                (far("groups", secret="hello"), getting),
                (far("nothing"), f'jwt returned by distributed claim endpoint "{issuer.url}/claims/nothing" did not '),
                (far("ended"), "verify distributed claim token: "),
                (far("junk"), f"getting untrusted issuer from endpoint {issuer.url}/claims/junk failed for claim "),
                (far("strange"), "verifying untrusted issuer https://127.0.0.1:1 failed: verifier not initialized"),
                (far("groups", source="t"), "id token _claim_names contained a source t missing in _claims_sources"),
                (issuer.sign("one", _claim_names={"groups": "s"}), "oidc: no claim sources"),
                (issuer.sign("one", _claim_names=5), "oidc: error parsing distributed claim names: "),
            ):
                said = await _why(api, wrong)
                assert said.startswith(f"[invalid bearer token, oidc: could not expand distributed claims: {why}"), said
                assert await _who(api, wrong) == 401

            assert (await api.get("/healthz", anonymous=True)).status == 200
            assert (await api.get("/version", anonymous=True)).status == 401
