"""Service-account tokens: signed here, believed here, and only while what they are bound to exists.

The claims are upstream's (https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/), so that a
token can be read by anything that reads Kubernetes tokens. One key signs; any number are believed, so that keys can be
replaced: first the new one is believed everywhere, then it signs, and the old one goes when its tokens have.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import jwt

from shim.api import legacy_tokens
from shim.api.keys import NODES
from shim.api.meta import Object, new_uid
from shim.api.timing import USUAL, Histograms
from shim.api.token_keys import ALGORITHMS, SigningKey, VerificationKey
from shim.server.accounts import Accounts, Refused
from shim.server.legacy_tokens import LegacyTokens
from shim.server.users import ACCOUNT_PREFIX, User, account_groups
from shim.store.cache import Cache

KEPT = 4096  # verified tokens remembered: a check of the signature costs 50 us, a dictionary look-up 0.1
LEEWAY = 60.0  # seconds clocks may differ, as upstream has it
_BOUND_KINDS = {"pod": "pods", "secret": "secrets", "node": "nodes"}
_FORGED = "go-jose/go-jose: error in cryptographic primitive"
"""Upstream's words, of the library it uses."""

Claims = dict[str, Any]


class Tokens:
    """Signs and checks the tokens of service accounts."""

    def __init__(
        self,
        cache: Cache,
        signing: SigningKey,
        believed: Iterable[VerificationKey] = (),
        issuers: Sequence[str] = ("https://kubernetes.default.svc",),
        audiences: Sequence[str] = (),
        keys_url: str = "",
    ) -> None:
        """The first of ``issuers`` signs; those that have signed before are believed still."""
        self._cache, self._signing, self._keys_url = cache, signing, keys_url
        keys = {key.id: key for key in (*believed, signing.verification)}
        self._keys = list(keys.values())
        self._issuers = tuple(issuers)
        self.audiences = tuple(audiences or issuers)
        self._accounts = Accounts(cache)
        self.uses: Counter[str] = Counter()
        """How often tokens were good, by what kind they are."""
        self._legacy = LegacyTokens(cache, self._accounts, self.uses)
        self._verified: dict[str, Claims] = {}
        self.cached: Counter[str] = Counter()
        """How often a token was known already (hit), or had to be verified (miss)."""
        self.verified = Histograms(USUAL)
        """How long that took, by what it came to (ok, error)."""

    def sign(
        self,
        account: Object,
        *,
        audiences: Sequence[str],
        seconds: int,
        bound: Object | None = None,
        warn_after: int = 0,
    ) -> tuple[str, str]:
        """A token for an account, good for so many seconds; and its own id."""
        meta, now = account["metadata"], int(time.time())
        kubernetes: Claims = {
            "namespace": meta["namespace"],
            "serviceaccount": {"name": meta["name"], "uid": meta["uid"]},
        }
        if bound is not None:
            reference = {"name": bound["metadata"]["name"], "uid": bound["metadata"]["uid"]}
            kubernetes[bound["kind"].lower()] = reference
            if node := (bound.get("spec") or {}).get("nodeName") if bound["kind"] == "Pod" else None:
                kubernetes["node"] = self._node_reference(node)
        if warn_after:
            kubernetes["warnafter"] = now + warn_after
        claims = {
            "aud": list(audiences or self.audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": self._issuers[0],
            "jti": new_uid(),
            "kubernetes.io": kubernetes,
            "nbf": now,
            "sub": f"{ACCOUNT_PREFIX}{meta['namespace']}:{meta['name']}",
        }
        return self._signing.sign(claims), str(claims["jti"])

    def check(self, token: str, audiences: Sequence[str]) -> tuple[User, list[str]] | None:
        """Whose token this is and for which of these audiences; None when it is of another kind. Raises Refused."""
        claims = self._claims(token)
        if claims is None:
            return None
        own = claims.get("aud") or self.audiences  # the old ones name none
        common = [audience for audience in audiences if audience in own]
        if not common:
            raise Refused(f"token audiences {_listed(own)} is invalid for the target audiences {_listed(audiences)}")
        if claims["iss"] == legacy_tokens.ISSUER:
            return self._legacy.user(token, claims), common
        return self._user(claims), common

    def public_keys(self) -> dict[str, Any]:
        """The JSON Web Key Set others check tokens with."""
        return {"keys": [key.jwk() for key in self._keys]}

    def configuration(self) -> dict[str, Any]:
        """The OpenID discovery document of this issuer."""
        return {
            "issuer": self._issuers[0],
            "jwks_uri": self._keys_url or f"{self._issuers[0]}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({key.algorithm for key in self._keys}),
        }

    def _user(self, claims: Claims) -> User:
        """Raises Refused."""
        _check_times(claims)
        kubernetes = claims["kubernetes.io"]
        namespace, account = kubernetes["namespace"], kubernetes["serviceaccount"]
        self._accounts.require_account(namespace, account["name"], account["uid"])
        extra = {}
        if "jti" in claims:
            extra["authentication.kubernetes.io/credential-id"] = (f"JTI={claims['jti']}",)
        for kind, resource in _BOUND_KINDS.items():
            if (reference := kubernetes.get(kind)) is None:
                continue
            # a pod's token names the pod's node as well, for information: that node may be gone without harm
            if kind != "node" or "pod" not in kubernetes:
                self._accounts.require_bound(kind, resource, "" if kind == "node" else namespace, reference)
            if kind in ("pod", "node"):
                extra[f"authentication.kubernetes.io/{kind}-name"] = (reference["name"],)
                if reference.get("uid"):
                    extra[f"authentication.kubernetes.io/{kind}-uid"] = (reference["uid"],)
        self.uses["stale" if time.time() > kubernetes.get("warnafter", math.inf) else "valid"] += 1
        return User(claims["sub"], account_groups(namespace), account["uid"], extra)

    def _claims(self, token: str) -> Claims | None:
        """What a token says, once it was found to be ours. Raises Refused for a forged one."""
        if (known := self._verified.get(token)) is not None:
            self.cached["hit"] += 1
            return known
        self.cached["miss"] += 1
        try:
            said: Claims = jwt.decode(token, options={"verify_signature": False})
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            return None
        if said.get("iss") not in (*self._issuers, legacy_tokens.ISSUER):
            return None
        began = time.perf_counter()
        try:
            claims = self._verify(token, header)
        except Refused:
            self.verified[("error",)].add(time.perf_counter() - began)
            raise
        self.verified[("ok",)].add(time.perf_counter() - began)
        if isinstance(claims.get("aud"), str):
            claims["aud"] = [claims["aud"]]
        if claims["iss"] != legacy_tokens.ISSUER:
            try:
                claims["kubernetes.io"]["serviceaccount"]["uid"], claims["exp"], claims["nbf"]
            except (KeyError, TypeError):
                text = "service account token claims could not be validated due to unexpected validation error"
                raise Refused(text) from None
        if len(self._verified) >= KEPT:
            self._verified.pop(next(iter(self._verified)))
        self._verified[token] = claims
        return claims

    def _verify(self, token: str, header: dict[str, Any]) -> Claims:
        """Raises Refused unless one of our keys has signed it, by an algorithm that is of such a key."""
        algorithm = header.get("alg", "")
        fitting = [key for key in self._keys if algorithm in ALGORITHMS and key.may_be_of(algorithm)]
        named = [key for key in fitting if key.id == header.get("kid")]
        # times are judged on every use; the audience depends on who asks
        options: Any = {f"verify_{name}": False for name in ("aud", "exp", "nbf", "iat", "sub", "jti")}
        for key in named or fitting:
            try:
                found: Claims = jwt.decode(token, key.public, [algorithm], options=options)
            except jwt.PyJWTError:
                continue
            return found
        raise Refused(_FORGED)

    def _node_reference(self, name: str) -> dict[str, str]:
        entry = self._cache.get(NODES + name)
        return {"name": name, "uid": entry.decode()["metadata"]["uid"]} if entry else {"name": name}


def _check_times(claims: Claims) -> None:
    now = time.time()
    if now - LEEWAY > claims["exp"]:
        raise Refused("service account token has expired")
    if now + LEEWAY < claims["nbf"]:
        raise Refused("service account token is not valid yet")
    if now + LEEWAY < claims.get("iat", 0):
        raise Refused("service account token is issued in the future")


def _listed(texts: Iterable[str]) -> str:
    return f"[{' '.join(map(json.dumps, texts))}]"
