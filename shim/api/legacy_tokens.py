"""Tokens of service accounts that lie in Secrets and never expire: what they claim, and what their Secrets say.

https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets
"""

from __future__ import annotations

from shim.api.meta import Object

ISSUER = "kubernetes/serviceaccount"
TYPE = "kubernetes.io/service-account-token"
NAME, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
_CLAIM = "kubernetes.io/serviceaccount/"
CLAIMS = tuple(
    f"{_CLAIM}{name}" for name in ("namespace", "secret.name", "service-account.name", "service-account.uid")
)
"""Namespace, Secret, account and the account's uid."""


def claims(account: Object, secret_name: str) -> dict[str, str]:
    """What the token of an account in a Secret of this name says."""
    meta = account["metadata"]
    values = (meta["namespace"], secret_name, meta["name"], meta["uid"])
    subject = f"system:serviceaccount:{meta['namespace']}:{meta['name']}"
    return {"iss": ISSUER, **dict(zip(CLAIMS, values, strict=True)), "sub": subject}
