"""Of which requests does the audit log tell, and how much? The first rule that fits a request says. Pure.

The file is upstream's (https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/#audit-k8s-io-v1-Policy).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from shim.api.meta import Object
from shim.api.names import dns1123_subdomain
from shim.api.status import FieldError
from shim.codec.configuration import (
    BOOL,
    STRING,
    STRINGS,
    ConfigurationError,
    ListOf,
    Scalar,
    Shape,
    Struct,
    read_configuration,
    refuse,
)
from shim.resources.causes import invalid, required, unsupported
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
        if self.group not in (asked.group, "*") or (self.names and asked.name not in self.names):
            return False
        wide = {"*", f"{asked.resource}/*", asked.resource}
        if asked.subresource:
            wide = {"*", f"{asked.resource}/*", f"{asked.resource}/{asked.subresource}", f"*/{asked.subresource}"}
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


_NAMED = dict.fromkeys(("users", "userGroups", "verbs", "namespaces", "nonResourceURLs"), STRINGS)
_STAGED: dict[str, Shape] = {"omitStages": ListOf(Scalar(str, "v1.Stage")), "omitManagedFields": BOOL}
_RESOURCES = Struct("v1.GroupResources", {"group": STRING, "resources": STRINGS, "resourceNames": STRINGS})
_RULE = Struct(
    "v1.PolicyRule", {"level": Scalar(str, "v1.Level"), "resources": ListOf(_RESOURCES), **_NAMED, **_STAGED}
)
_POLICY = Struct(
    "v1.Policy", {"apiVersion": STRING, "kind": STRING, "metadata": None, "rules": ListOf(_RULE), **_STAGED}
)


def read(text: str) -> Policy:
    """Raises ConfigurationError; each line of its text is one thing that is wrong."""
    policy = read_configuration(text, "Policy", ("audit.k8s.io/v1",), _POLICY, strict=False)
    rules = policy.get("rules") or []
    mistakes = _check_stages(policy, "omitStages")
    for index, rule in enumerate(rules):
        mistakes += _check(rule, f"rules[{index}]")
    refuse(mistakes)
    if not rules:
        raise ConfigurationError("loaded illegal policy with 0 rules")
    return Policy(tuple(_rule(rule, policy) for rule in rules))


def _check(rule: Object, at: str) -> list[FieldError]:
    level, urls = rule.get("level") or "", rule.get("nonResourceURLs") or []
    mistakes: list[FieldError] = []
    if not level:
        mistakes.append(required(f"{at}.level"))
    elif level not in _LEVELS:
        mistakes.append(unsupported(f"{at}.level", level, _LEVELS))
    for index, url in enumerate(urls):
        here = f"{at}.nonResourceURLs[{index}]"
        if url != "*" and not url.startswith("/"):
            mistakes.append(invalid(here, url, "non-resource URL rules must begin with a '/' character"))
        if "*" in url[:-1]:
            text = "non-resource URL wildcards '*' must be the final character of the rule"
            mistakes.append(invalid(here, url, text))
    for each in rule.get("resources") or ():
        group, names = each.get("group") or "", each.get("resourceNames")
        if group not in ("", "*") and (said := dns1123_subdomain(group)):
            mistakes.append(invalid(f"{at}.resources.group", group, ",".join(said)))
        if names and not each.get("resources"):
            text = "using resourceNames requires at least one resource"
            mistakes.append(invalid(f"{at}.resources.resourceNames", names, text))
    mistakes += _check_stages(rule, f"{at}.omitStages")
    if urls and (rule.get("resources") or rule.get("namespaces")):
        text = "rules cannot apply to both regular resources and non-resource URLs"
        mistakes.append(invalid(f"{at}.nonResourceURLs", urls, text))
    return mistakes


def _check_stages(holder: Object, at: str) -> list[FieldError]:
    said, text = enumerate(holder.get("omitStages") or ()), f"allowed stages are {','.join(STAGES)}"
    return [invalid(f"{at}[{index}]", stage, text) for index, stage in said if stage not in STAGES]


def _rule(rule: Object, policy: Object) -> Rule:
    omitted = frozenset((*(policy.get("omitStages") or ()), *(rule.get("omitStages") or ())))
    without = {**policy, **rule}.get("omitManagedFields", False)
    resources = tuple(
        Resources(each.get("group") or "", _texts(each, "resources"), _texts(each, "resourceNames"))
        for each in rule.get("resources") or ()
    )
    users, groups, verbs, namespaces = (
        frozenset(_texts(rule, name)) for name in ("users", "userGroups", "verbs", "namespaces")
    )
    choice = Choice(_LEVELS[rule["level"]], omitted, without)
    return Rule(choice, users, groups, verbs, namespaces, resources, _texts(rule, "nonResourceURLs"))


def _texts(holder: Object, name: str) -> tuple[Any, ...]:
    return tuple(holder.get(name) or ())


def _covers(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))
