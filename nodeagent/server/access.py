"""Who may use the kubelet's API? Whoever the API server knows, and lets use this node's subresource.

A client certificate of the cluster's CA or a token says who asks; a SubjectAccessReview says whether that one may.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from shim.api.status import ApiError
from shim.client import Client
from shim.client import resource as r

MASTERS = "system:masters"
ALLOWED_FOR, DENIED_FOR, KNOWN_FOR = 300.0, 30.0, 120.0  # seconds an answer holds; as upstream
MOST = 1000  # answers that are kept
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "HEAD": "get"}
_OWN = {  # the first part of a path -> the subresources of the node, any of which suffices
    "pods": ("pods", "proxy"),
    "runningpods": ("pods", "proxy"),
    "healthz": ("healthz", "proxy"),
    "configz": ("configz", "proxy"),
    "stats": ("stats",),
    "metrics": ("metrics",),
    "logs": ("log",),
}


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


class Access:
    """Asks the API server, and remembers for a while what it said."""

    def __init__(self, client: Client, node_name: str) -> None:
        self._client, self._node = client, node_name
        self._users: dict[str, tuple[float, User | None]] = {}
        self._answers: dict[tuple[User, str, str], tuple[float, bool]] = {}

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """401 for nobody known, 403 for who may not, both in a kubelet's words."""
        try:
            user = await self._user(request)
            if user is None:
                return web.Response(status=401, text="Unauthorized")
            verb, subresources = VERBS.get(request.method, ""), subresources_of(request.path)
            if not await self._may(user, verb, subresources):
                listed = " ".join(subresources)
                said = f"Forbidden (user={user.name}, verb={verb}, resource=nodes, subresource(s)=[{listed}])\n"
                return web.Response(status=403, text=said)
        except ApiError as error:
            return web.Response(status=500, text=f"Authorization error: {error.message}")
        return await handler(request)

    async def _user(self, request: web.Request) -> User | None:
        tls = request.transport.get_extra_info("ssl_object") if request.transport else None
        if isinstance(tls, ssl.SSLObject) and (certificate := tls.getpeercert()):
            return user_of(certificate)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return await self._of_token(token.strip()) if scheme.lower() == "bearer" and token.strip() else None

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

    async def _may(self, user: User, verb: str, subresources: Sequence[str]) -> bool:
        if MASTERS in user.groups:  # they may do anything, and the API server itself is one of them
            return True
        for subresource in subresources:
            if await self._reviewed(user, verb, subresource):
                return True
        return False

    async def _reviewed(self, user: User, verb: str, subresource: str) -> bool:
        key = (user, verb, subresource)
        known = self._answers.get(key)
        if known and known[0] > time.monotonic():
            return known[1]
        asked = {"verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource, "name": self._node}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user.name, "groups": list(user.groups), "uid": user.uid, "resourceAttributes": asked},
        }
        allowed = bool(((await self._client.create(r.SUBJECTACCESSREVIEWS, review)).get("status") or {}).get("allowed"))
        _keep(self._answers, key, (time.monotonic() + (ALLOWED_FOR if allowed else DENIED_FOR), allowed))
        return allowed


def subresources_of(path: str) -> tuple[str, ...]:
    """Of the node: what one must be allowed to use (any of them) for a path of the kubelet's API. Pure."""
    return _OWN.get(path.strip("/").partition("/")[0], ("proxy",))


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
