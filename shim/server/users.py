"""Who asks: a user's name, groups and extras, as authentication found them and authorisation judges them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
NODES = "system:nodes"
ACCOUNT_PREFIX = "system:serviceaccount:"
NODE_PREFIX = "system:node:"


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated (or anonymous) caller."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False, compare=False)

    def info(self) -> dict[str, Any]:
        """``UserInfo`` of authentication.k8s.io, empty fields left out."""
        info: dict[str, Any] = {"username": self.name}
        if self.uid:
            info["uid"] = self.uid
        if self.groups:
            info["groups"] = list(self.groups)
        if self.extra:
            info["extra"] = {key: list(values) for key, values in self.extra.items()}
        return info


ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))
"""Who a request without credentials comes from."""

SERVER = User("system:apiserver", (MASTERS,))
"""The API server itself, when it writes what it starts with."""


def account_groups(namespace: str) -> tuple[str, ...]:
    """The groups every service account of a namespace is in."""
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)


def split_account(name: str) -> tuple[str, str] | None:
    """``system:serviceaccount:NAMESPACE:NAME`` -> (namespace, name); None for any other user."""
    if not name.startswith(ACCOUNT_PREFIX):
        return None
    namespace, _, account = name[len(ACCOUNT_PREFIX) :].partition(":")
    return (namespace, account) if namespace and account else None
