"""Who may act as whom? The Impersonate-* headers name a user; some way of impersonating must be open to who asks.

The narrow ways come first: each asks for the right to ``impersonate:WAY`` that user, and for the right to do the very
request on its behalf, ``impersonate-on:WAY:VERB`` (KEP-5284). The wide one, ``impersonate``, lets everything be done.
What is said to who may do nothing of this is about the first way that fits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from shim.admission.request import together
from shim.api.names import dns1123_subdomain
from shim.api.status import ApiError, bad_request
from shim.resources.causes import domain_prefixed_path
from shim.server.authz import forbidden
from shim.server.routes import RequestInfo
from shim.server.users import (
    ANONYMOUS,
    AUTHENTICATED,
    MASTERS,
    NODE_PREFIX,
    NODES,
    UNAUTHENTICATED,
    User,
    account_groups,
    split_account,
)

_EXTRA = "impersonate-extra-"
_NODE_NAME = "authentication.kubernetes.io/node-name"
GROUP = "authentication.k8s.io"

MANY = 4  # groups, or extra values: whether all are allowed is asked first

Authorize = Callable[[User, RequestInfo], None]
"""Raises 403."""


@dataclass(slots=True)
class Wanted:
    """The user the headers name."""

    name: str = ""
    uid: str = ""
    groups: list[str] = field(default_factory=list)
    extra: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Wanted:
        """Raises 400 for one without a name."""
        wanted = cls()
        for header, value in headers.items():
            lowered = header.lower()
            if lowered == "impersonate-user":
                wanted.name = wanted.name or value
            elif lowered == "impersonate-uid":
                wanted.uid = wanted.uid or value
            elif lowered == "impersonate-group":
                wanted.groups.append(value)
            elif lowered.startswith(_EXTRA):
                wanted.extra.setdefault(unquote(lowered[len(_EXTRA) :]), []).append(value)
        if not wanted.name and (wanted.uid or wanted.groups or wanted.extra):
            raise bad_request(f"requested {wanted._shown()} without impersonating a user name")
        return wanted

    @property
    def is_bare(self) -> bool:
        """Whether it has a name and nothing else."""
        return not (self.uid or self.groups or self.extra)

    @property
    def node(self) -> str:
        """The node this is the identity of; "" for other users."""
        node = self.name.removeprefix(NODE_PREFIX)
        return node if self.name.startswith(NODE_PREFIX) and not dns1123_subdomain(node) else ""

    @property
    def account(self) -> tuple[str, str] | None:
        return split_account(self.name)

    def _shown(self) -> str:
        """As Go prints it."""
        groups = "[]string" + ("{" + ", ".join(map(json.dumps, self.groups)) + "}" if self.groups else "(nil)")
        entries = [
            f"{json.dumps(key)}:[]string{{{', '.join(map(json.dumps, self.extra[key]))}}}" for key in sorted(self.extra)
        ]
        extra = "map[string][]string" + ("{" + ", ".join(entries) + "}" if entries else "(nil)")
        uid = json.dumps(self.uid)
        return f'&user.DefaultInfo{{Name:"", UID:{uid}, Groups:{groups}, Extra:{extra}}}'


@dataclass(frozen=True, slots=True)
class Way:
    """A way of impersonating, all narrow but one."""

    name: str
    fits: Callable[[Wanted, User], bool]


def _is_own_node(wanted: Wanted, user: User) -> bool:
    """Pods may act as the node they are on, when they are let: their tokens say which it is."""
    names = user.extra.get(_NODE_NAME, ())
    return wanted.is_bare and bool(wanted.node) and bool(split_account(user.name)) and names == (wanted.node,)


WIDE = Way("", lambda wanted, user: True)
REMEMBERED = 10_000  # users; upstream's
WAYS = (
    Way("associated-node", _is_own_node),
    Way("arbitrary-node", lambda wanted, user: wanted.is_bare and bool(wanted.node)),
    Way("serviceaccount", lambda wanted, user: wanted.is_bare and wanted.account is not None),
    Way("user-info", lambda wanted, user: not wanted.node and wanted.account is None),
    WIDE,
)


def is_asked(headers: Mapping[str, str]) -> bool:
    """Whether any of the headers is there; asked of every request."""
    for name in headers:  # noqa: SIM110  # three times as fast as any()
        if name[0] in "iI" and name[:12].lower() == "impersonate-":
            return True
    return False


class Impersonation:
    """Finds a way by which a user may act as another.

    The way that let a user the last time is tried first, and if none does, its refusal is the one that is told.
    """

    def __init__(self, authorize: Authorize) -> None:
        self._authorize = authorize
        self._last: dict[str, Way] = {}

    def user(self, user: User, headers: Mapping[str, str], request: RequestInfo) -> tuple[User, str]:
        """The user the request is made as, and what it was let by ("" for the wide way). Raises 400 and 403."""
        wanted = Wanted.of(headers)
        if not wanted.name:
            return user, ""
        refusal: ApiError | None = None
        last = self._last.get(user.name)
        for way in sorted(WAYS, key=lambda each: each is not last):
            if not way.fits(wanted, user):
                continue
            try:
                if way is WIDE:
                    made, told = _widely(wanted, user, self._authorize), ""
                else:
                    made, told = _by_way(way, wanted, user, request, self._authorize), f"impersonate:{way.name}"
            except ApiError as error:
                refusal = refusal or error
                continue
            if way is not last:
                if len(self._last) >= REMEMBERED:
                    del self._last[next(iter(self._last))]
                self._last[user.name] = way
            return made, told
        assert refusal is not None  # the wide way fits everybody
        raise refusal


def _by_way(way: Way, wanted: Wanted, user: User, request: RequestInfo, authorize: Authorize) -> User:
    asking = user
    if way.name == "associated-node":  # judged alike on every node
        asking = replace(user, extra={"authentication.kubernetes.io/associated-node-keys": tuple(sorted(user.extra))})
    authorize(asking, replace(request, verb=f"impersonate-on:{way.name}:{request.verb}"))
    verb = f"impersonate:{way.name}"

    def may(resource: str, name: str, namespace: str = "", subresource: str = "") -> None:
        authorize(asking, RequestInfo(verb, "", GROUP, "v1", namespace, resource, name, subresource))

    def may_all(resource: str, subresource: str = "") -> bool:
        try:
            may(resource, "*", subresource=subresource)
        except ApiError:
            return False
        return True

    groups = list(wanted.groups)
    if wanted.node:
        may("nodes", "*" if way.name == "associated-node" else wanted.node)
        groups = [NODES]
    elif wanted.account:
        may("serviceaccounts", wanted.account[1], wanted.account[0])
        groups = list(account_groups(wanted.account[0])[:2])
    else:
        may("users", wanted.name)
    if wanted.uid:
        may("uids", wanted.uid)
    for group in wanted.groups:
        if group in ("", MASTERS):
            asked = RequestInfo(verb, "", GROUP, "v1", "", "groups", group)
            what = "the system:masters group" if group else "the empty string group"
            raise forbidden(user, asked, f"impersonating {what} is not allowed")
    if not (len(wanted.groups) >= MANY and may_all("groups")):
        for group in wanted.groups:
            may("groups", group)
    if why := _odd_extra(wanted.extra):
        raise forbidden(user, RequestInfo(verb, "", GROUP, "v1", "", "userextras"), why)
    if not (sum(map(len, wanted.extra.values())) >= MANY and may_all("userextras", "*")):
        for key, values in wanted.extra.items():
            for value in values:
                may("userextras", value, subresource=key)
    return _made(wanted, groups)


def _odd_extra(extra: Mapping[str, list[str]]) -> str:
    """What only the wide way lets pass, for it has always done so; "" for nothing."""
    for key, values in extra.items():
        if not key:
            return "impersonating the empty string key in extra is not allowed"
        if causes := domain_prefixed_path("extra.key", key):
            told = together([f"{each.field}: {each.message}" for each in causes])
            return f"impersonating an invalid key in extra is not allowed: {told}"
        if "" in values:
            return "impersonating the empty string value in extra is not allowed"
    return ""


def _widely(wanted: Wanted, user: User, authorize: Authorize) -> User:
    def may(resource: str, name: str, namespace: str = "", subresource: str = "", group: str = "") -> None:
        version = "v1"
        authorize(user, RequestInfo("impersonate", "", group, version, namespace, resource, name, subresource))

    groups = list(wanted.groups)
    if wanted.account:
        may("serviceaccounts", wanted.account[1], wanted.account[0])
        groups = groups or list(account_groups(wanted.account[0])[:2])
    else:
        may("users", wanted.name)
    if wanted.uid:
        may("uids", wanted.uid, group=GROUP)
    for group in wanted.groups:
        may("groups", group)
    for key, values in wanted.extra.items():
        for value in values:
            may("userextras", value, subresource=key, group=GROUP)
    return _made(wanted, groups)


def _made(wanted: Wanted, groups: list[str]) -> User:
    if wanted.name == ANONYMOUS.name:
        groups += [UNAUTHENTICATED] * (UNAUTHENTICATED not in groups)
    elif not {AUTHENTICATED, UNAUTHENTICATED} & set(groups):
        groups.append(AUTHENTICATED)
    return User(wanted.name, tuple(groups), wanted.uid, {key: tuple(each) for key, each in wanted.extra.items()})
