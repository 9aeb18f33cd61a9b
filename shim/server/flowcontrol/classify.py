"""Which FlowSchema is a request's? The first whose rules match both who asks and what is asked.

Schemas are asked by ``matchingPrecedence``, lowest number first, and by name where that is the same
(https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#flowschema).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shim.api.meta import Object
from shim.server.routes import RequestInfo
from shim.server.users import ACCOUNT_PREFIX, User

CATCH_ALL = "catch-all"
_ANY = "*"


@dataclass(frozen=True, slots=True)
class FlowSchema:
    """One FlowSchema, as far as it matters here. ``distinguisher``: ``ByUser``, ``ByNamespace`` or empty."""

    name: str
    uid: str
    precedence: int
    level: str
    distinguisher: str
    rules: Sequence[Object]

    @classmethod
    def of(cls, obj: Object) -> FlowSchema:
        spec, metadata = obj.get("spec") or {}, obj["metadata"]
        level = (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
        distinguisher = (spec.get("distinguisherMethod") or {}).get("type") or ""
        precedence, rules = spec.get("matchingPrecedence") or 0, spec.get("rules") or ()
        return cls(metadata["name"], metadata.get("uid") or "", precedence, level, distinguisher, rules)

    def distinguish(self, user: User, info: RequestInfo) -> str:
        """What tells the flows of one schema apart."""
        if self.distinguisher == "ByUser":
            return user.name
        return info.namespace if self.distinguisher == "ByNamespace" else ""


def in_order(schemas: Iterable[FlowSchema]) -> list[FlowSchema]:
    """As they are asked."""
    return sorted(schemas, key=lambda schema: (schema.precedence, schema.name))


def schema_of(user: User, info: RequestInfo, schemas: Sequence[FlowSchema]) -> FlowSchema:
    """The first of these that matches; one named ``catch-all`` is among them, and takes what no other does."""
    for schema in schemas:
        if any(matches(rule, user, info) for rule in schema.rules):
            return schema
    return next(schema for schema in schemas if schema.name == CATCH_ALL)


def hash_of(schema: str, distinguisher: str) -> int:
    """A flow as 64 bits, from which its queues are dealt; the same as upstream's, so that they are the same queues."""
    return int.from_bytes(hashlib.sha256(f"{schema}\0{distinguisher}".encode()).digest()[:8], "little")


def matches(rule: Object, user: User, info: RequestInfo) -> bool:
    """Whether a rule (PolicyRulesWithSubjects) is about this user and this request."""
    if not any(_is(subject, user) for subject in rule.get("subjects") or ()):
        return False
    if info.resource:
        return any(_resource(each, info) for each in rule.get("resourceRules") or ())
    return any(_path(each, info) for each in rule.get("nonResourceRules") or ())


def _is(subject: Object, user: User) -> bool:
    kind = subject.get("kind")
    if kind == "User":
        return (subject.get("user") or {}).get("name") in (_ANY, user.name)
    if kind == "Group":
        name = (subject.get("group") or {}).get("name")
        return name == _ANY or name in user.groups
    account = subject.get("serviceAccount") or {}
    namespaced = f"{ACCOUNT_PREFIX}{account.get('namespace')}:"
    if account.get("name") == _ANY:
        return user.name.startswith(namespaced)
    return user.name == f"{namespaced}{account.get('name')}"


def _resource(rule: Object, info: RequestInfo) -> bool:
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    if not (_among(info.verb, rule, "verbs") and _among(resource, rule, "resources")):
        return False
    if not _among(info.group, rule, "apiGroups"):
        return False
    return _among(info.namespace, rule, "namespaces") if info.namespace else bool(rule.get("clusterScope"))


def _path(rule: Object, info: RequestInfo) -> bool:
    return _among(info.verb, rule, "verbs") and any(_below(info.path, url) for url in rule["nonResourceURLs"])


def _below(path: str, url: str) -> bool:
    """``/healthz`` is also everything below it, as ``/healthz/*`` is; neither is ``/healthzz``."""
    return url in (_ANY, path) or path.startswith(f"{url.removesuffix('*').removesuffix('/')}/")


def _among(value: str, rule: Object, field: str) -> bool:
    """A star stands alone, as validation demands."""
    values = rule.get(field) or ()
    return value in values or _ANY in values
