"""Who asks a part of the cluster for something, and may they? The API server says; its answers hold for a while.

So kubelets, the scheduler and the controllers need no users and no rules of their own: a client certificate of the
cluster's CA or a token says who asks, a SubjectAccessReview whether that one may.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from shim.api.meta import Object
from shim.client import resource as r
from shim.client.transport import Client

MASTERS = "system:masters"
ALLOWED_FOR, DENIED_FOR, KNOWN_FOR = 300.0, 30.0, 120.0  # seconds an answer holds; as upstream
MOST = 1000  # answers that are kept
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "HEAD": "get"}


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


class Reviews:
    """Asks the API server, and remembers for a while what it said. All raise ApiError where it cannot be asked."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._users: dict[str, tuple[float, User | None]] = {}
        self._answers: dict[tuple[Any, ...], tuple[float, bool]] = {}

    async def user(self, request: web.BaseRequest) -> User | None:
        """Who sends a request; None for nobody who is known."""
        tls = request.transport.get_extra_info("ssl_object") if request.transport else None
        if isinstance(tls, ssl.SSLObject) and (certificate := tls.getpeercert()):
            return user_of(certificate)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return await self._of_token(token.strip()) if scheme.lower() == "bearer" and token.strip() else None

    async def may(self, user: User, **attributes: Object) -> bool:
        """Whether a user may do what ``resourceAttributes`` or ``nonResourceAttributes`` say."""
        if MASTERS in user.groups:  # they may do anything, and the API server itself is one of them
            return True
        key = (user, *((kind, *sorted(values.items())) for kind, values in attributes.items()))
        known = self._answers.get(key)
        if known and known[0] > time.monotonic():
            return known[1]
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user.name, "groups": list(user.groups), "uid": user.uid, **attributes},
        }
        allowed = bool(((await self._client.create(r.SUBJECTACCESSREVIEWS, review)).get("status") or {}).get("allowed"))
        _keep(self._answers, key, (time.monotonic() + (ALLOWED_FOR if allowed else DENIED_FOR), allowed))
        return allowed

    async def _of_token(self, token: str) -> User | None:
        known = self._users.get(token)
        if known and known[0] > time.monotonic():
            return known[1]
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        status = (await self._client.create(r.TOKENREVIEWS, review)).get("status") or {}
        told = status.get("user") or {}
        user = None
        if status.get("authenticated"):
            user = User(told.get("username", ""), tuple(told.get("groups") or ()), told.get("uid", ""))
        _keep(self._users, token, (time.monotonic() + KNOWN_FOR, user))
        return user


def user_of(certificate: Any) -> User:
    """Common name and organizations, as everywhere in Kubernetes. Pure."""
    parts = [pair for name in certificate.get("subject", ()) for pair in name]
    name = next((value for key, value in parts if key == "commonName"), "")
    groups = [value for key, value in parts if key == "organizationName"]
    return User(name, (*groups, "system:authenticated"))


def _keep(table: dict[Any, Any], key: Any, value: Any) -> None:
    if len(table) >= MOST:
        table.clear()
    table[key] = value
