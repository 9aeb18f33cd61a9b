"""Of which requests does the audit log tell, and how much? The first rule that fits a request says. Pure.

The file is upstream's (https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/#audit-k8s-io-v1-Policy).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from shim.api.meta import Object
from shim.codec.configuration import ConfigurationError, read_configuration
from shim.server.routes import RequestInfo
from shim.server.users import User

STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")


class Level(IntEnum):
    NONE, METADATA, REQUEST, REQUEST_RESPONSE = range(4)


_LEVELS = {"None": Level.NONE, "Metadata": Level.METADATA, "Request": Level.REQUEST}
_LEVELS["RequestResponse"] = Level.REQUEST_RESPONSE
NAMES = {level: name for name, level in _LEVELS.items()}


@dataclass(frozen=True, slots=True)
class Choice:
    """What is told of a request."""

    level: Level
    omitted: frozenset[str] = frozenset()
    """Stages that are left out."""
    without_managed_fields: bool = False


NOTHING = Choice(Level.NONE)


@dataclass(frozen=True, slots=True)
class Resources:
    """Some resources of one group."""

    group: str
    resources: tuple[str, ...]
    names: tuple[str, ...]

    def fit(self, asked: RequestInfo) -> bool:
        if self.group != asked.group or (self.names and asked.name not in self.names):
            return False
        whole = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        wide = {whole, "*", f"{asked.resource}/*", f"*/{asked.subresource}"} if asked.subresource else {whole, "*"}
        return not self.resources or not wide.isdisjoint(self.resources)


@dataclass(frozen=True, slots=True)
class Rule:
    choice: Choice
    users: frozenset[str]
    groups: frozenset[str]
    verbs: frozenset[str]
    namespaces: frozenset[str]
    resources: tuple[Resources, ...]
    urls: tuple[str, ...]

    def fits(self, user: User, asked: RequestInfo) -> bool:
        if self.users and user.name not in self.users:
            return False
        if self.groups and self.groups.isdisjoint(user.groups):
            return False
        if self.verbs and asked.verb not in self.verbs:
            return False
        if not (self.namespaces or self.resources or self.urls):
            return True
        if not asked.resource:
            return any(_covers(url, asked.path) for url in self.urls)
        if self.urls and not (self.namespaces or self.resources):
            return False
        if self.namespaces and asked.namespace not in self.namespaces:
            return False
        return not self.resources or any(each.fit(asked) for each in self.resources)


@dataclass(frozen=True, slots=True)
class Policy:
    rules: tuple[Rule, ...]

    def choose(self, user: User, asked: RequestInfo) -> Choice:
        for rule in self.rules:
            if rule.fits(user, asked):
                return rule.choice
        return NOTHING


def read(text: str) -> Policy:
    """Raises ConfigurationError."""
    policy = read_configuration(text, "Policy", ("audit.k8s.io/v1",))
    unknown = set(policy) - {"apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields"}
    if unknown:
        raise ConfigurationError(f'unknown field "{sorted(unknown)[0]}"')
    if not policy.get("rules"):
        raise ConfigurationError("loaded illegal policy with 0 rules")
    _check_stages(policy, "omitStages")
    return Policy(tuple(_rule(rule, f"rules[{index}]", policy) for index, rule in enumerate(policy["rules"])))


_FIELDS = {"level", "users", "userGroups", "verbs", "resources", "namespaces", "nonResourceURLs", "omitStages"}
_FIELDS |= {"omitManagedFields"}


def _rule(rule: Object, at: str, policy: Object) -> Rule:
    if unknown := set(rule) - _FIELDS:
        raise ConfigurationError(f'unknown field "{at}.{sorted(unknown)[0]}"')
    level = rule.get("level")
    if level not in _LEVELS:
        supported = ", ".join(f'"{name}"' for name in _LEVELS)
        raise ConfigurationError(f'{at}.level: Unsupported value: "{level or ""}": supported values: {supported}')
    if rule.get("nonResourceURLs") and (rule.get("resources") or rule.get("namespaces")):
        raise ConfigurationError(
            f"{at}.nonResourceURLs: Invalid value: rules cannot apply to both regular resources and non-resource URLs"
        )
    for url in rule.get("nonResourceURLs") or ():
        if url != "*" and (not url.startswith("/") or "*" in url[:-1]):
            raise ConfigurationError(
                f'{at}.nonResourceURLs: Invalid value: "{url}": it begins with a slash, and "*" may end it'
            )
    _check_stages(rule, f"{at}.omitStages")
    omitted = frozenset((*(policy.get("omitStages") or ()), *(rule.get("omitStages") or ())))
    without = rule.get("omitManagedFields")
    choice = Choice(_LEVELS[level], omitted, bool(policy.get("omitManagedFields") if without is None else without))
    resources = tuple(
        Resources(each.get("group") or "", _texts(each, "resources"), _texts(each, "resourceNames"))
        for each in rule.get("resources") or ()
    )
    users, groups, verbs, namespaces = (
        frozenset(_texts(rule, name)) for name in ("users", "userGroups", "verbs", "namespaces")
    )
    return Rule(choice, users, groups, verbs, namespaces, resources, _texts(rule, "nonResourceURLs"))


def _check_stages(holder: Object, at: str) -> None:
    for stage in holder.get("omitStages") or ():
        if stage not in STAGES:
            supported = ", ".join(f'"{name}"' for name in STAGES)
            raise ConfigurationError(f'{at}: Invalid value: "{stage}": allowed stages are {supported}')


def _texts(holder: Object, name: str) -> tuple[Any, ...]:
    return tuple(holder.get(name) or ())


def _covers(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))
