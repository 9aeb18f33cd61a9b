"""Who is asking? A client certificate, a bearer token, or nobody (anonymous), in this order; then impersonation.

A connection's certificate cannot change, so what it says is read once and kept with the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from shim.api.status import ApiError, bad_request, unauthorized
from shim.server.accounts import Refused
from shim.server.bearers import Bearers
from shim.server.connection import Connection
from shim.server.routes import RequestInfo
from shim.server.users import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User, account_groups, split_account

_EXTRA = "impersonate-extra-"


class Authenticator:
    """Finds the user of a request. Raises 401 for credentials that are not good."""

    def __init__(self, bearers: Bearers, authorize: Callable[[User, RequestInfo], None]) -> None:
        self._bearers = bearers
        self._authorize = authorize

    def user_of(self, request: web.BaseRequest) -> User:
        """The user a request is made as."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        user = connection.user
        if user is None:
            user = connection.user = certificate_user(connection.transport)
        headers = request.headers
        if "Authorization" in headers and user is ANONYMOUS:
            user = self._bearer(headers["Authorization"])
        if "Impersonate-User" in headers or "Impersonate-Group" in headers:
            return self._impersonated(user, headers)
        return user

    def _bearer(self, header: str) -> User:
        scheme, _, token = header.strip().partition(" ")
        if not header.strip() or scheme.lower() != "bearer" or not token.strip():
            return ANONYMOUS  # upstream too ignores schemes it does not know
        try:
            return self._bearers.check(token.strip())[0]
        except Refused:
            raise unauthorized() from None

    def _impersonated(self, user: User, headers: Mapping[str, str]) -> User:
        """The user named by Impersonate-* headers, when ``user`` may speak for it."""
        name, uid = "", ""
        groups: list[str] = []
        extra: dict[str, list[str]] = {}
        for header, value in headers.items():
            lowered = header.lower()
            if lowered == "impersonate-user":
                name = value
            elif lowered == "impersonate-group":
                groups.append(value)
            elif lowered == "impersonate-uid":
                uid = value
            elif lowered.startswith(_EXTRA):
                extra.setdefault(unquote(lowered[len(_EXTRA) :]), []).append(value)
        if not name:
            if groups or extra or uid:
                raise ApiError(500, "", "Internal Server Error: requested impersonation without impersonating a user")
            return user
        account = split_account(name)
        if name.startswith("system:serviceaccount:") and account is None:
            raise bad_request(f"invalid service account name: {name}")
        if account:
            self._may(user, "serviceaccounts", account[1], namespace=account[0])
        else:
            self._may(user, "users", name)
        for group in groups:
            self._may(user, "groups", group)
        for key, values in extra.items():
            for value in values:
                self._may(user, "userextras", value, subresource=key, group="authentication.k8s.io")
        if uid:
            self._may(user, "uids", uid, group="authentication.k8s.io")
        if account and not groups:
            groups = list(account_groups(account[0])[:2])
        if name == ANONYMOUS.name:
            groups += [UNAUTHENTICATED] * (UNAUTHENTICATED not in groups)
        elif AUTHENTICATED not in groups and UNAUTHENTICATED not in groups:
            groups.append(AUTHENTICATED)
        return User(name, tuple(groups), uid, {key: tuple(values) for key, values in extra.items()})

    def _may(
        self, user: User, resource: str, name: str, *, namespace: str = "", subresource: str = "", group: str = ""
    ) -> None:
        version = "v1" if group else ""
        info = RequestInfo("impersonate", "", group, version, namespace, resource, name, subresource)
        self._authorize(user, info)


def certificate_user(transport: Any) -> User:
    """The user a connection's verified client certificate names; anonymous without one."""
    peer = transport.get_extra_info("peercert") if transport is not None else None
    if not peer:
        return ANONYMOUS
    name, groups = "", []
    for attributes in peer.get("subject", ()):
        for key, value in attributes:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    if not name:
        return ANONYMOUS
    return User(name, (*groups, AUTHENTICATED))
