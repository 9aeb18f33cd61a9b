"""Nobody gives rights they have not: what is written into roles and bindings is compared with what the writer holds.

Exempt are who may ``escalate`` roles, or ``bind`` the role that is bound
(https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

import orjson

from shim.api.keys import prefix_of
from shim.api.meta import Object
from shim.api.status import bad_request, forbidden, not_found
from shim.server.parts import Call
from shim.server.routes import RequestInfo

GROUP = "rbac.authorization.k8s.io"
_ROLES, _BINDINGS = ("roles", "clusterroles"), ("rolebindings", "clusterrolebindings")
_EVERYTHING: list[Object] = [
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
]
_AGGREGATES = "must have cluster-admin privileges to use the aggregationRule"
_OF_COLLECTOR = ("ownerReferences", "finalizers", "managedFields", "resourceVersion")

Change = Callable[[Object], Object]


def guarded(call: Call, change: Change) -> Change:
    """A change of an object, which is refused when it would give too much."""

    def checked(old: Object) -> Object:
        before = orjson.loads(orjson.dumps(old))  # the change may be made in place
        new = change(old)
        if not _only_for_the_collector(new, before):
            check(call, new, before)
        return new

    return checked


def guarded_creation(call: Call, create: Callable[[], Object] | None) -> Callable[[], Object] | None:
    """The same of an object that a change creates."""
    if create is None:
        return None

    def checked() -> Object:
        made = create()
        check(call, made)
        return made

    return checked


def check(call: Call, obj: Object, old: Object | None = None) -> None:
    """Raises 403; and 404 for a binding to a role that is not there."""
    name = call.resource.name
    if name in _ROLES:
        _check_role(call, obj, old)
    elif name in _BINDINGS:
        _check_binding(call, obj)


def _check_role(call: Call, role: Object, old: Object | None) -> None:
    name = role["metadata"].get("name", "")
    if _may(call, "escalate", call.resource.name, name, call.info.namespace):
        return
    _confirm(call, name, role.get("rules") or ())
    aggregates = role.get("aggregationRule") or (old or {}).get("aggregationRule")
    if aggregates and _missing(call, _EVERYTHING):
        raise forbidden(GROUP, call.resource.name, name, _AGGREGATES)


def _check_binding(call: Call, binding: Object) -> None:
    name, reference = binding["metadata"].get("name", ""), binding.get("roleRef") or {}
    role, resource = reference.get("name", ""), f"{reference.get('kind', '').lower()}s"
    if resource not in _ROLES or _may(call, "bind", resource, role, call.info.namespace):
        return
    if resource == "roles" and not call.info.namespace:
        raise bad_request("Namespace parameter required.")
    path = f"{call.info.namespace}/{role}" if resource == "roles" else role
    entry = call.parts.cache.get(prefix_of(GROUP, resource) + path)
    if entry is None:
        raise not_found(GROUP, call.resource.name, role)
    _confirm(call, name, entry.decode().get("rules") or ())


def _may(call: Call, verb: str, resource: str, name: str, namespace: str) -> bool:
    asked = RequestInfo(verb, "", GROUP, "v1", namespace, resource, name)
    return call.parts.authorizer.decide(call.user, asked).allowed


def _confirm(call: Call, name: str, rules: Iterable[Object]) -> None:
    if missing := _missing(call, rules):
        user = call.user
        groups = " ".join(map(json.dumps, user.groups))
        who = f"user {json.dumps(user.name)} (groups=[{groups}])"
        shown = "\n".join(sorted(map(_shown, missing)))
        why = f"{who} is attempting to grant RBAC permissions not currently held:\n{shown}"
        raise forbidden(GROUP, call.resource.name, name, why)


def _missing(call: Call, rules: Iterable[Object]) -> list[Object]:
    """What of these rules the user does not hold, put together by resource."""
    held = [rule for grant in call.parts.authorizer.grants_of(call.user, call.info.namespace) for rule in grant.raw]
    together: dict[tuple[str, ...], Object] = {}
    for part in _parts(rules):
        if any(_covers(rule, part) for rule in held):
            continue
        key = tuple(
            part.get(field, [""])[0] for field in ("apiGroups", "resources", "resourceNames", "nonResourceURLs")
        )
        present = together.setdefault((*key, "" if "resources" in part else part["verbs"][0]), {**part, "verbs": []})
        present["verbs"] += part["verbs"]  # once more where two rules give it, as upstream
    return list(together.values())


def _parts(rules: Iterable[Object]) -> Iterator[Object]:
    """Rules of one verb, one group, one resource and at most one name, or of one verb and one URL."""
    for rule in rules:
        verbs = rule.get("verbs") or ()
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                for verb in verbs:
                    part = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                    names = rule.get("resourceNames") or ()
                    yield from ({**part, "resourceNames": [name]} for name in names)
                    if not names:
                        yield part
        for url in rule.get("nonResourceURLs") or ():
            yield from ({"nonResourceURLs": [url], "verbs": [verb]} for verb in verbs)


def _covers(rule: Object, part: Object) -> bool:
    """Whether a rule gives all that one part asks."""
    if not _has(rule.get("verbs"), part["verbs"][0]):
        return False
    if "nonResourceURLs" in part:
        wanted = part["nonResourceURLs"][0]
        return any(
            url == wanted or (url.endswith("*") and wanted.startswith(url.rstrip("*")))
            for url in rule.get("nonResourceURLs") or ()
        )
    resource, names = part["resources"][0], rule.get("resourceNames") or ()
    _, slash, subresource = resource.partition("/")
    resources = rule.get("resources") or ()
    matched = _has(resources, resource) or (bool(slash) and f"*/{subresource}" in resources)
    named = not names or ("resourceNames" in part and part["resourceNames"][0] in names)
    return matched and named and _has(rule.get("apiGroups"), part["apiGroups"][0])


def _has(values: Iterable[str] | None, wanted: str) -> bool:
    return values is not None and ("*" in values or wanted in values)


_FIELDS = {"apiGroups": "APIGroups", "resources": "Resources", "resourceNames": "ResourceNames"}
_FIELDS |= {"nonResourceURLs": "NonResourceURLs", "verbs": "Verbs"}


def _shown(rule: Object) -> str:
    """As upstream prints it."""
    texts = (f"{shown}:[{' '.join(map(json.dumps, rule[field]))}]" for field, shown in _FIELDS.items() if field in rule)
    return "{" + ", ".join(texts) + "}"


def _only_for_the_collector(new: Object, old: Object) -> bool:
    """Whether nothing changes but what lets an object go."""

    def rest(obj: Object) -> Object:
        metadata = {name: value for name, value in obj["metadata"].items() if name not in _OF_COLLECTOR}
        return {**obj, "metadata": metadata}

    return rest(new) == rest(old)
