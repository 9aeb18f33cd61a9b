"""May this user do this? RBAC over the roles and bindings in the cache.

Bindings are compiled into an index from subject to rules, and decisions are remembered; both are thrown away when a
role or a binding changes, which a watch tells. Rules only ever add: there is no deny.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from shim.api.meta import Object
from shim.api.status import ApiError
from shim.server.node_access import NodeAccess
from shim.server.routes import RequestInfo
from shim.server.users import MASTERS, NODE_PREFIX, NODES, User, split_account
from shim.store.cache import Cache
from shim.store.contract import StoreError

log = logging.getLogger(__name__)

ROLES, CLUSTER_ROLES = "/registry/roles/", "/registry/clusterroles/"
ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS = "/registry/rolebindings/", "/registry/clusterrolebindings/"
WATCHED = (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS)
REMEMBERED = 20_000
NODE_ROLE = "system:node"


class Decision(NamedTuple):
    """An answer and why, in upstream's words; ``why`` of a refusal holds only errors met on the way."""

    allowed: bool
    why: str = ""


ALLOWED = Decision(True)


@dataclass(frozen=True, slots=True)
class Rule:
    """One PolicyRule, ready to be matched."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    urls: tuple[str, ...]

    @classmethod
    def of(cls, rule: Object) -> Rule:
        return cls(
            frozenset(rule.get("verbs") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("resources") or ()),
            frozenset(rule.get("resourceNames") or ()),
            tuple(rule.get("nonResourceURLs") or ()),
        )

    def allows(self, asked: RequestInfo) -> bool:
        if asked.verb not in self.verbs and "*" not in self.verbs:
            return False
        if not asked.resource:
            return any(_url_matches(url, asked.path) for url in self.urls)
        if asked.group not in self.groups and "*" not in self.groups:
            return False
        wanted = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        matched = wanted in self.resources or "*" in self.resources
        matched = matched or (bool(asked.subresource) and f"*/{asked.subresource}" in self.resources)
        return matched and (not self.names or asked.name in self.names)


class Grant(NamedTuple):
    """Rules someone has, and where from. ``namespace`` is empty when they hold everywhere."""

    namespace: str
    rules: tuple[Rule, ...]
    raw: tuple[Object, ...]
    why: str
    error: str = ""  # the role is missing


class Authorizer:
    """Judges requests. ``open`` lets everyone do everything (``--authorization-mode AlwaysAllow``)."""

    def __init__(self, cache: Cache, *, open: bool = False) -> None:
        self._cache = cache
        self._open = open
        self._nodes = NodeAccess(cache)
        self._grants: dict[tuple[str, str], list[Grant]] | None = None
        self._decisions: dict[tuple[Any, ...], Decision] = {}
        self.allowed: Counter[str] = Counter()
        """Requests by what has allowed them: Node, RBAC. Masters need neither."""

    async def follow(self) -> None:
        """Forget what was compiled whenever a role or a binding changes; runs until cancelled."""
        await asyncio.gather(*(self._follow(prefix) for prefix in WATCHED))

    async def _follow(self, prefix: str) -> None:
        while True:
            try:
                async for _ in self._cache.watch(prefix, since=self._cache.revision):
                    self.forget()
            except StoreError as error:
                log.warning("watching %s: %s", prefix, error)
                await asyncio.sleep(1.0)
            self.forget()  # something may have been missed
            await asyncio.sleep(0)

    def forget(self) -> None:
        """Compile anew at the next question."""
        self._grants = None
        self._decisions.clear()

    def require(self, user: User, asked: RequestInfo) -> None:
        """Raise upstream's 403 when the user may not."""
        decision = self.decide(user, asked)
        if not decision.allowed:
            raise forbidden(user, asked, decision.why)

    def decide(self, user: User, asked: RequestInfo) -> Decision:
        """The answer, remembered until a role or binding changes."""
        if self._open or MASTERS in user.groups:
            return ALLOWED
        found = self._nodes.judge(user, asked)
        if found is None:
            return self._by_roles(user, asked)
        if found.allowed or (found.allowed is None and self._any_node_may(asked)):
            self.allowed["Node"] += 1
            return ALLOWED
        decision = self._by_roles(user, asked)
        if decision.allowed:
            return decision
        return Decision(False, "\n".join(text for text in (found.why, decision.why) if text))

    def is_node(self, user: User) -> bool:
        """Whether rights of this user are not all written in roles."""
        return NODES in user.groups and user.name.startswith(NODE_PREFIX)

    def _any_node_may(self, asked: RequestInfo) -> bool:
        return any(rule.allows(asked) for grant in self._index()["Node", ""] for rule in grant.rules)

    def _by_roles(self, user: User, asked: RequestInfo) -> Decision:
        key = (
            user,
            asked.verb,
            asked.group,
            asked.namespace,
            asked.resource or asked.path,
            asked.subresource,
            asked.name,
        )
        decision = self._decisions.get(key)
        if decision is None:
            if len(self._decisions) >= REMEMBERED:
                self._decisions.clear()
            decision = self._decisions[key] = self._judge(user, asked)
        if decision.allowed:
            self.allowed["RBAC"] += 1
        return decision

    def grants_of(self, user: User, namespace: str) -> Iterator[Grant]:
        """Every grant a user has in a namespace (or, with ``""``, in the cluster alone)."""
        index = self._index()
        for subject in _subjects(user):
            for grant in index.get(subject, ()):
                if not grant.namespace or grant.namespace == namespace:
                    yield grant

    def _judge(self, user: User, asked: RequestInfo) -> Decision:
        problems: dict[str, None] = {}
        for grant in self.grants_of(user, asked.namespace):
            if grant.error:
                problems[grant.error] = None
            elif any(rule.allows(asked) for rule in grant.rules):
                return Decision(True, grant.why)
        if not problems:
            return Decision(False)
        joined = next(iter(problems)) if len(problems) == 1 else f"[{', '.join(problems)}]"
        return Decision(False, f"RBAC: {joined}")

    def _index(self) -> dict[tuple[str, str], list[Grant]]:
        if self._grants is None:
            self._grants = self._compile()
        return self._grants

    def _compile(self) -> dict[tuple[str, str], list[Grant]]:
        roles: dict[tuple[str, str], tuple[Object, ...]] = {}
        for prefix in (CLUSTER_ROLES, ROLES):
            for entry in self._cache.range(prefix):
                role = entry.decode()
                meta = role["metadata"]
                roles[meta.get("namespace", ""), meta["name"]] = tuple(role.get("rules") or ())
        compiled = {key: tuple(map(Rule.of, rules)) for key, rules in roles.items()}
        index: dict[tuple[str, str], list[Grant]] = {}
        for prefix in (CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS):
            for entry in self._cache.range(prefix):
                binding = entry.decode()
                meta, ref = binding["metadata"], binding["roleRef"]
                namespace = meta.get("namespace", "")
                key = (namespace if ref["kind"] == "Role" else "", ref["name"])
                shown = f"{meta['name']}/{namespace}" if namespace else meta["name"]
                for subject in binding.get("subjects") or ():
                    why = f'RBAC: allowed by {binding["kind"]} "{shown}" of {ref["kind"]} "{ref["name"]}" to '
                    why += _show(subject, namespace)
                    error = "" if key in roles else _missing(ref)
                    grant = Grant(namespace, compiled.get(key, ()), roles.get(key, ()), why, error)
                    index.setdefault(_subject_key(subject, namespace), []).append(grant)
        # what node_access has no rule for is judged by the role written for nodes
        index["Node", ""] = [Grant("", compiled.get(("", NODE_ROLE), ()), (), "")]
        return index


def _subjects(user: User) -> Iterable[tuple[str, str]]:
    yield "User", user.name
    if account := split_account(user.name):
        yield "ServiceAccount", f"{account[0]}/{account[1]}"
    for group in user.groups:
        yield "Group", group


def _subject_key(subject: Object, namespace: str) -> tuple[str, str]:
    if subject["kind"] == "ServiceAccount":
        return "ServiceAccount", f"{subject.get('namespace') or namespace}/{subject['name']}"
    return subject["kind"], subject["name"]


def _show(subject: Object, namespace: str) -> str:
    if subject["kind"] == "ServiceAccount":
        return f'ServiceAccount "{subject["name"]}/{subject.get("namespace") or namespace}"'
    return f'{subject["kind"]} "{subject["name"]}"'


def _missing(ref: Object) -> str:
    return f'{ref["kind"].lower()}.rbac.authorization.k8s.io "{ref["name"]}" not found'


def _url_matches(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1].rstrip("*")))


def forbidden(user: User, asked: RequestInfo, why: str) -> ApiError:
    """Upstream's 403."""
    shown = f'User "{user.name}" cannot {asked.verb} '
    if not asked.resource:
        text, details = f'forbidden: {shown}path "{asked.path}"', {}
    else:
        resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        qualified = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
        scope = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
        named = f'{qualified} "{asked.name}"' if asked.name else qualified
        text = f'{named} is forbidden: {shown}resource "{resource}" in API group "{asked.group}" {scope}'
        details = {"name": asked.name, "group": asked.group, "kind": asked.resource}
        details = {key: value for key, value in details.items() if value}
    if why:
        text += f": {why}"
    return ApiError(403, "Forbidden", text, details)
