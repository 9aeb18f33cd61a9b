"""Questions to the server about itself: may this user do that, who am I, whose token is this? Nothing is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from shim.api.apply import manager_of, update_managed_fields
from shim.api.meta import Object, now
from shim.api.status import FieldError, bad_request, invalid
from shim.server import review_selectors
from shim.server.accounts import Refused
from shim.server.authz import Authorizer, Decision
from shim.server.bearers import settled
from shim.server.bodies import definition_of, read_body
from shim.server.node_access import UNLISTED
from shim.server.object_metadata import WIPED, match_namespace
from shim.server.options import WriteOptions
from shim.server.parts import Call
from shim.server.render import render_one
from shim.server.responses import respond
from shim.server.routes import RequestInfo
from shim.server.users import User

AUTHORIZATION, AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"


async def review(call: Call) -> web.Response:
    """POST to a resource of reviews."""
    kind, api_version = call.resource.kind, call.resource.api_version
    _ = call.rendering  # a form they do not have is refused before they are answered
    body = await read_body(call)
    question = body.decode(call, kind, api_version, WriteOptions.of(call.query, "CreateOptions"))
    _wipe(call, question)
    answer = await settled(lambda: _ANSWERS[kind](call, question))
    metadata = question.get("metadata") or {}
    if kind == "SelfSubjectRulesReview":
        metadata = {}  # its answer is a new object
    elif answer.get("spec"):
        metadata = {**metadata, **managed(call, question)}
    shown = {"kind": kind, "apiVersion": api_version, "metadata": metadata, **answer}
    data, media = render_one(call, orjson.dumps(shown), own_kind=False)
    return respond(data, 201, media, call.warnings)


def _wipe(call: Call, question: Object) -> None:
    """Take out of the metadata what is taken out of every object that is created, and bring it into Go's order."""
    if not (metadata := question.get("metadata")):
        return
    if not call.resource.namespaced:
        metadata.pop("namespace", None)
    order = call.parts.schema.named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").fields
    question["metadata"] = {name: metadata[name] for name in order if name in metadata and name not in WIPED}


def managed(call: Call, question: Object, subresource: str = "") -> Object:
    """Who asked, as metadata records it of anything that is created."""
    found = update_managed_fields(
        None,
        question,
        definition=definition_of(call.parts.schema, question["kind"], question["apiVersion"]),
        manager=manager_of(call.value("fieldManager"), call.http.headers.get("User-Agent", "")),
        subresource=subresource,
    )
    return {"managedFields": found} if found else {}


def _access(call: Call, question: Object, user: User) -> Object:
    spec = question.get("spec") or {}
    status = _verdict(call.parts.authorizer.decide(user, _asked(spec)))
    if problem := review_selectors.ignored(spec.get("resourceAttributes") or {}):
        status["evaluationError"] = problem
    return {"spec": spec, "status": status}


def _self_access(call: Call, question: Object) -> Object:
    _check_access(call, question, subject=False)
    return _access(call, question, call.user)


def _subject_access(call: Call, question: Object) -> Object:
    _check_access(call, question, subject=True)
    return _access(call, question, _subject(question["spec"]))


def _local_access(call: Call, question: Object) -> Object:
    match_namespace(question.setdefault("metadata", {}), call.info.namespace)
    _check_access(call, question, subject=True, local=True)
    return _access(call, question, _subject(question["spec"]))


def _subject(spec: Object) -> User:
    extra = {key.lower(): tuple(values or ()) for key, values in (spec.get("extra") or {}).items()}
    return User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)


def _check_access(call: Call, question: Object, *, subject: bool, local: bool = False) -> None:
    """``subject``: it names whom it asks for; ``local``: and one namespace. Raises 422."""
    spec = question.get("spec") or {}
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    causes = []
    if resource is not None and other is not None:
        causes.append(
            _wrong("nonResourceAttributes", other, "cannot be specified in combination with resourceAttributes")
        )
    if resource is None and other is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        causes.append(FieldError("FieldValueInvalid", "spec.resourceAttributes", f"Invalid value: null: {text}"))
    if subject and not spec.get("user") and not spec.get("groups"):
        text = 'Invalid value: "": at least one of user or group must be specified'
        causes.append(FieldError("FieldValueInvalid", "spec.user", text))
    causes += review_selectors.check(resource or {})
    metadata = question.get("metadata") or {}
    if any(value for key, value in metadata.items() if key != "managedFields" and not (local and key == "namespace")):
        shown = orjson.dumps({**metadata, **managed(call, question)}).decode()
        must = "must be empty except for namespace" if local else "must be empty"
        causes.append(FieldError("FieldValueInvalid", "metadata", f"Invalid value: {shown}: {must}"))
    if local and resource is not None and (namespace := resource.get("namespace", "")) != call.info.namespace:
        text = f'Invalid value: "{namespace}": must match metadata.namespace'
        causes.append(FieldError("FieldValueInvalid", "spec.resourceAttributes.namespace", text))
    if local and other is not None:
        causes.append(_wrong("nonResourceAttributes", other, "disallowed on this kind of request"))
    if causes:
        raise invalid(AUTHORIZATION, "", "", causes)  # upstream names no kind here


def _wrong(field: str, attributes: Object, why: str) -> FieldError:
    """Of attributes that are no resource's, in the names Go has for them."""
    shown = orjson.dumps({"Path": attributes.get("path", ""), "Verb": attributes.get("verb", "")}).decode()
    return FieldError("FieldValueInvalid", f"spec.{field}", f"Invalid value: {shown}: {why}")


def _asked(spec: Object) -> RequestInfo:
    if (other := spec.get("nonResourceAttributes")) is not None:
        return RequestInfo(other.get("verb", ""), other.get("path", ""))
    wanted = spec["resourceAttributes"]
    return RequestInfo(
        wanted.get("verb", ""),
        "",
        wanted.get("group", ""),
        wanted.get("version", ""),
        wanted.get("namespace", ""),
        wanted.get("resource", ""),
        wanted.get("name", ""),
        wanted.get("subresource", ""),
        fields=review_selectors.wanted_fields(wanted),
    )


def _verdict(decision: Decision) -> Object:
    return {"allowed": decision.allowed, **({"reason": decision.why} if decision.why else {})}


def _self_rules(call: Call, question: Object) -> Object:
    namespace = (question.get("spec") or {}).get("namespace", "")
    if not namespace:
        raise bad_request("no namespace on request")
    authorizer = call.parts.authorizer
    resources, urls = rules_of(authorizer, call.user, namespace)
    status: Object = {"resourceRules": resources, "nonResourceRules": urls, "incomplete": False}
    if authorizer.is_node(call.user):
        status |= {"incomplete": True, "evaluationError": UNLISTED}
    return {"spec": {}, "status": status}


def rules_of(authorizer: Authorizer, user: User, namespace: str) -> tuple[list[Object], list[Object]]:
    """What a user may do in a namespace: rules about resources, and rules about paths."""
    resources: list[Object] = []
    urls: list[Object] = []
    for grant in authorizer.grants_of(user, namespace):
        for rule in grant.raw:
            if rule.get("resources"):
                kept = ("verbs", "apiGroups", "resources", "resourceNames")
                resources.append({name: rule[name] for name in kept if rule.get(name)})
            if rule.get("nonResourceURLs"):
                urls.append({name: rule[name] for name in ("verbs", "nonResourceURLs")})
    return resources, urls


def _self(call: Call, question: Object) -> Object:
    return {"metadata": {"creationTimestamp": now()}, "status": {"userInfo": call.user.info()}}


def _token(call: Call, question: Object) -> Object:
    spec = question.get("spec") or {}
    token = spec.get("token", "")
    if not token:
        raise bad_request("token is required for TokenReview in authentication")
    status: dict[str, Any]
    try:
        user, common = call.parts.bearers.check(token, spec.get("audiences") or ())
        status = {"authenticated": True, "user": user.info(), "audiences": common}
    except Refused as refusal:
        status = {"user": {}, "error": str(refusal)}
    return {"spec": spec, "status": status}


_ANSWERS: dict[str, Callable[[Call, Object], Object]] = {
    "SelfSubjectAccessReview": _self_access,
    "SubjectAccessReview": _subject_access,
    "LocalSubjectAccessReview": _local_access,
    "SelfSubjectRulesReview": _self_rules,
    "SelfSubjectReview": _self,
    "TokenReview": _token,
}
REVIEWS = frozenset(_ANSWERS)
