"""Is this request one of those that a rule means? By operation, group, version, resource, scope and selectors.

Webhooks and policies say in the same words which requests they are for (``RuleWithOperations``, ``matchPolicy``).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shim.admission.request import CREATE, UPDATE, Reader, Request
from shim.api.meta import GVR, Object, split_api_version
from shim.api.selectors import Selector
from shim.api.status import not_found
from shim.resources.strategy import Resource

NAMESPACES = GVR("", "v1", "namespaces", namespaced=False)
EXEMPT = frozenset(
    {
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    }
)
"""Of admissionregistration.k8s.io: nothing can be configured that keeps the configuration from being put right."""


class Kind(NamedTuple):
    group: str
    version: str
    kind: str


@dataclass(frozen=True, slots=True)
class Match:
    """The resource and kind as which a rule means a request: its own, or others under which it is served as well."""

    resource: Resource
    kind: Kind


def is_exempt(request: Request) -> bool:
    """Whether this is configuration of admission itself."""
    return request.resource.group == "admissionregistration.k8s.io" and request.resource.name in EXEMPT


def kind_of(request: Request) -> Kind:
    """The kind of what is written: a subresource may have one of its own (Scale, Eviction)."""
    obj = request.obj or request.old or {}
    if request.subresource and obj.get("kind"):
        return Kind(*split_api_version(obj.get("apiVersion") or ""), obj["kind"])
    return Kind(request.resource.group, request.resource.version, request.resource.kind)


def namespace_of(request: Request) -> str:
    """A namespace counts as being in itself."""
    if request.resource.name == "namespaces" and not request.resource.group:
        return request.name
    return request.namespace or ""


def match(request: Request, rules: Sequence[Object], reader: Reader, *, equivalent: bool) -> Match | None:
    """As what one of the rules means a request; None when none does."""
    if any(_means(rule, request, request.resource) for rule in rules):
        return Match(request.resource, kind_of(request))
    if not equivalent:
        return None
    others = reader.equivalents(request.resource)
    for rule in rules:
        for other in others:
            if _means(rule, request, other):
                own = kind_of(request)
                same = own.kind != request.resource.kind  # a subresource of its own kind has it in every version
                return Match(other, own if same else Kind(other.group, other.version, other.kind))
    return None


def _means(rule: Object, request: Request, resource: Resource) -> bool:
    scope = rule.get("scope") or "*"
    if scope != "*" and scope != ("Namespaced" if resource.namespaced else "Cluster"):
        return False
    return (
        _has(rule.get("operations"), request.operation)
        and _has(rule.get("apiGroups"), resource.group)
        and _has(rule.get("apiVersions"), resource.version)
        and any(_names(text, resource.name, request.subresource) for text in rule.get("resources") or ())
    )


def _has(items: Iterable[str] | None, wanted: str) -> bool:
    return any(item in ("*", wanted) for item in items or ())


def _names(text: str, resource: str, subresource: str) -> bool:
    """``pods``, ``pods/*``, ``*/scale``, ``*``: the last means no subresource."""
    named, _, sub = text.partition("/")
    return named in ("*", resource) and sub in ("*", subresource)


def in_namespace(request: Request, selector: Selector, reader: Reader) -> bool:
    """Whether the request's namespace is selected; what is in none always is. Raises 404 when it is missing."""
    namespace = namespace_of(request)
    own = request.resource.name == "namespaces" and not request.resource.group
    if selector.empty or not (namespace or own):
        return True
    if own and not request.subresource and request.operation in (CREATE, UPDATE):
        found = request.obj
    else:
        found = reader.get(NAMESPACES, None, namespace)
    if found is None:
        raise not_found("", "namespaces", namespace)
    return selector.matches(found["metadata"].get("labels") or {})


def selects_object(request: Request, selector: Selector) -> bool:
    """Whether the object is selected, as it will be or as it was."""
    if selector.empty:
        return True
    objects = (each for each in (request.obj, request.old) if each is not None)
    return any(selector.matches((each.get("metadata") or {}).get("labels") or {}) for each in objects)


def converted(obj: Object | None, request: Request, match: Match) -> Object | None:
    """An object of the request as a rule means it: writes work on the stored form, of custom resources on their own."""
    own, row = request.resource, match.resource
    if obj is None or _has_own_kind(request):
        return obj
    if row.custom:
        if row is own:
            return obj
        stored = own.preserve(copy.deepcopy(obj)) if own.preserve else obj
        return row.revive(copy.deepcopy(stored)) if row.revive else stored
    return row.from_storage(copy.deepcopy(obj)) if row.from_storage else obj


def converted_back(obj: Object, request: Request, match: Match) -> Object:
    """What :func:`converted` has shown, after a change, as writes work on it."""
    own, row = request.resource, match.resource
    if _has_own_kind(request) or (row.custom and row is own):
        return obj
    if row.custom:
        stored = row.preserve(obj) if row.preserve else obj
        return own.revive(stored) if own.revive else stored
    return row.to_storage(obj) if row.to_storage else obj


def _has_own_kind(request: Request) -> bool:
    """Whether what is written is no object of the resource but one of a subresource: a Scale is one in any version."""
    return bool(request.subresource) and kind_of(request).kind != request.resource.kind
