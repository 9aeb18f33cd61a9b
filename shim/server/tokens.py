"""Service-account tokens: signed here, believed here, and only while what they are bound to exists.

The claims are upstream's (https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/), so that a
token can be read by anything that reads Kubernetes tokens.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shim.api.meta import Object, new_uid
from shim.server.users import ACCOUNT_PREFIX, User, account_groups
from shim.store.cache import Cache, Entry

ISSUER = "https://kubernetes.default.svc"
AUDIENCES = (ISSUER,)
KEPT = 4096  # verified tokens remembered: a check of the signature costs 50 us, a dictionary look-up 0.1
_BOUND_KINDS = {"pod": "pods", "secret": "secrets", "node": "nodes"}


class Tokens:
    """Signs and checks the tokens of service accounts."""

    def __init__(self, cache: Cache, key_file: Path) -> None:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self._key, self._public = key, key.public_key()
        self._key_id = _key_id(self._public)
        self._cache = cache
        self._verified: dict[str, dict[str, Any]] = {}

    def sign(
        self, account: Object, *, audiences: Sequence[str], seconds: int, bound: Object | None = None
    ) -> tuple[str, int]:
        """A token for an account, and when it expires (seconds since the epoch)."""
        meta, now = account["metadata"], int(time.time())
        kubernetes: dict[str, Any] = {
            "namespace": meta["namespace"],
            "serviceaccount": {"name": meta["name"], "uid": meta["uid"]},
        }
        if bound is not None:
            reference = {"name": bound["metadata"]["name"], "uid": bound["metadata"]["uid"]}
            kubernetes[bound["kind"].lower()] = reference
            if node := (bound.get("spec") or {}).get("nodeName") if bound["kind"] == "Pod" else None:
                kubernetes["node"] = self._node_reference(node)
        claims = {
            "aud": list(audiences or AUDIENCES),
            "exp": now + seconds,
            "iat": now,
            "iss": ISSUER,
            "jti": new_uid(),
            "kubernetes.io": kubernetes,
            "nbf": now,
            "sub": f"{ACCOUNT_PREFIX}{meta['namespace']}:{meta['name']}",
        }
        return jwt.encode(claims, self._key, "RS256", headers={"kid": self._key_id}), now + seconds

    def check(self, token: str, audiences: Sequence[str] = AUDIENCES) -> tuple[User, list[str]] | None:
        """Whose token this is and for which of these audiences; None when it is not (or no longer) good."""
        claims = self._claims(token)
        if claims is None or not claims["nbf"] - 5 <= time.time() < claims["exp"]:
            return None
        common = [audience for audience in audiences if audience in claims["aud"]]
        if not common:
            return None
        kubernetes = claims["kubernetes.io"]
        namespace, account = kubernetes["namespace"], kubernetes["serviceaccount"]
        if not self._lives("serviceaccounts", namespace, account):
            return None
        extra = {"authentication.kubernetes.io/credential-id": (f"JTI={claims['jti']}",)}
        for kind, resource in _BOUND_KINDS.items():
            if (reference := kubernetes.get(kind)) is None:
                continue
            # a pod's token names the pod's node as well, for information: that node may be gone without harm
            bound = kind != "node" or "pod" not in kubernetes
            if bound and not self._lives(resource, "" if kind == "node" else namespace, reference):
                return None
            if kind in ("pod", "node"):
                extra[f"authentication.kubernetes.io/{kind}-name"] = (reference["name"],)
                if reference.get("uid"):
                    extra[f"authentication.kubernetes.io/{kind}-uid"] = (reference["uid"],)
        return User(claims["sub"], account_groups(namespace), account["uid"], extra), common

    def public_keys(self) -> dict[str, Any]:
        """The JSON Web Key Set others check tokens with."""
        numbers = self._public.public_numbers()
        key = {
            "use": "sig",
            "kty": "RSA",
            "kid": self._key_id,
            "alg": "RS256",
            "n": _base64url(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
            "e": _base64url(numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")),
        }
        return {"keys": [key]}

    def configuration(self) -> dict[str, Any]:
        """The OpenID discovery document of this issuer."""
        return {
            "issuer": ISSUER,
            "jwks_uri": f"{ISSUER}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def _claims(self, token: str) -> dict[str, Any] | None:
        if (known := self._verified.get(token)) is not None:
            return known
        try:
            # times are judged on every use, in check(); the audience depends on who asks
            options: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
            claims = jwt.decode(token, self._public, ["RS256"], options=options, issuer=ISSUER)
            claims["kubernetes.io"]["serviceaccount"]["uid"], claims["exp"], claims["nbf"], claims["jti"]
        except (jwt.PyJWTError, KeyError, TypeError):
            return None
        if isinstance(claims.get("aud"), str):
            claims["aud"] = [claims["aud"]]
        if len(self._verified) >= KEPT:
            self._verified.pop(next(iter(self._verified)))
        self._verified[token] = claims
        return claims

    def _lives(self, resource: str, namespace: str, reference: dict[str, str]) -> bool:
        path = f"{namespace}/{reference['name']}" if namespace else reference["name"]
        entry = self._cache.get(f"/registry/{resource}/{path}")
        return entry is not None and _uid(entry) == reference["uid"]

    def _node_reference(self, name: str) -> dict[str, str]:
        entry = self._cache.get(f"/registry/nodes/{name}")
        return {"name": name, "uid": _uid(entry)} if entry else {"name": name}


def _uid(entry: Entry) -> str:
    return str(entry.decode()["metadata"]["uid"])


def _key_id(key: rsa.RSAPublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return _base64url(hashlib.sha256(der).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
