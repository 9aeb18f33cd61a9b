"""Bootstrap tokens: what a machine that is not yet of the cluster trusts it by, and is trusted by.

A token is ``ID.SECRET``. It is kept as a Secret of its own type in kube-system, and works in both directions: who
brings it is let in as ``system:bootstrap:ID``; and the cluster's address and CA, published for everyone, are signed
with it, so that whoever holds it can tell them from a forgery
(https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/).
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import re
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass

from shim.api.meta import Object, parse_time

NAMESPACE = "kube-system"
TYPE = "bootstrap.kubernetes.io/token"
PREFIX = "bootstrap-token-"
USER_PREFIX = "system:bootstrap:"
GROUP = "system:bootstrappers"
NODES_GROUP = "system:bootstrappers:kubeadm:default-node-token"
MASTERS_GROUP = "system:bootstrappers:shim:masters"
USAGES = ("signing", "authentication")
ID_PATTERN = r"\A([a-z0-9]{6})\z"
PATTERN = r"\A([a-z0-9]{6})\.([a-z0-9]{16})\z"
"""As upstream prints them; \\z is Python's \\Z."""

INFO_NAMESPACE, INFO_NAME = "kube-public", "cluster-info"
INFO_KEY, SIGNATURE_PREFIX = "kubeconfig", "jws-kubeconfig-"

_ID = re.compile(r"[a-z0-9]{6}")
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUP_PATTERN = r"\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z"
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
_LETTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class BootstrapToken:
    """A token, with what its Secret says of it. ``expires`` None: never."""

    id: str
    secret: str
    expires: datetime.datetime | None = None
    usages: tuple[str, ...] = USAGES
    groups: tuple[str, ...] = ()
    description: str = ""

    def __str__(self) -> str:
        return f"{self.id}.{self.secret}"

    def is_expired(self, present: datetime.datetime) -> bool:
        return self.expires is not None and self.expires <= present

    def stored(self) -> Object:
        """The Secret that keeps it."""
        said = {"token-id": self.id, "token-secret": self.secret, "description": self.description}
        if self.expires is not None:
            said["expiration"] = self.expires.strftime("%Y-%m-%dT%H:%M:%SZ")
        said |= {f"usage-bootstrap-{usage}": "true" for usage in self.usages}
        said["auth-extra-groups"] = ",".join(self.groups)
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": PREFIX + self.id, "namespace": NAMESPACE},
            "type": TYPE,
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in said.items() if value},
        }


def parse(text: str) -> tuple[str, str] | None:
    """The id and the secret of a token; None for what is none."""
    found = _TOKEN.fullmatch(text)
    return (found[1], found[2]) if found else None


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def generate() -> tuple[str, str]:
    """A new id and secret."""
    letters = [secrets.choice(_LETTERS) for _ in range(22)]
    return "".join(letters[:6]), "".join(letters[6:])


def read(secret: Object) -> BootstrapToken:
    """The token a Secret keeps. Raises ValueError for one whose parts do not fit together."""
    name = secret["metadata"]["name"]
    if secret.get("type") != TYPE or not name.startswith(PREFIX):
        raise ValueError(f"{name} is not a bootstrap token")
    data = secret.get("data") or {}
    said = {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
    token = said.get("token-id", ""), said.get("token-secret", "")
    if parse(".".join(token)) is None or name != PREFIX + token[0]:
        raise ValueError(f"{name} has no token-id that is its own and token-secret")
    expires = None
    if text := said.get("expiration"):
        expires = parse_time(text)
        if expires.tzinfo is None:
            raise ValueError(f"{name} has no time zone in its expiration")
    usages = tuple(usage for usage in USAGES if said.get(f"usage-bootstrap-{usage}") == "true")
    groups = tuple(said["auth-extra-groups"].split(",")) if said.get("auth-extra-groups") else ()
    check_groups(groups)
    return BootstrapToken(*token, expires, usages, groups, said.get("description", ""))


def check_groups(groups: Iterable[str]) -> None:
    """A token puts its bearer in groups of its own kind only. Raises ValueError in upstream's words."""
    for group in groups:
        if not _GROUP.fullmatch(group):
            raise ValueError(f"bootstrap group {json.dumps(group)} is invalid (must match {_GROUP_PATTERN})")


def check_usages(usages: Iterable[str]) -> None:
    """Raises ValueError in upstream's words."""
    if wrong := sorted(set(usages) - set(USAGES)):
        options = ",".join(USAGES)
        raise ValueError(f"invalid bootstrap token usage string: {','.join(wrong)}, valid usage options: {options}")


def sign(content: str, token_id: str, token_secret: str) -> str:
    """The JWS (RFC 7515) of a text with its content left out (appendix F)."""
    header = _base64url(json.dumps({"alg": "HS256", "kid": token_id}, separators=(",", ":")).encode())
    signed = f"{header}.{_base64url(content.encode())}".encode()
    return f"{header}..{_base64url(hmac.digest(token_secret.encode(), signed, hashlib.sha256))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
