"""serviceaccounts/token: a token for an account, for a time, for an audience, bound to a pod perhaps."""

from __future__ import annotations

import datetime

import orjson
from aiohttp import web

from shim.api.keys import prefix_of
from shim.api.meta import Object, now, split_api_version
from shim.api.status import FieldError, bad_request, conflict, invalid, not_found
from shim.server.bodies import read_body
from shim.server.object_metadata import check_key_name, match_namespace
from shim.server.options import WriteOptions
from shim.server.parts import Call
from shim.server.render import render_one
from shim.server.responses import respond
from shim.server.reviews import managed
from shim.server.subresources.admit import admit_order

GROUP = "authentication.k8s.io"
LEAST, MOST, DEFAULT = 600, 1 << 32, 3600
EXTENDED = 365 * 24 * 3600
WARN_ONLY = 3607  # what the admission plugin asks for in pods: upstream then signs for a year, and so do we
_BINDABLE = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}


async def issue_token(call: Call) -> web.Response:
    """POST .../serviceaccounts/NAME/token."""
    body = await read_body(call)
    options = WriteOptions.of(call.query, "CreateOptions")
    request = body.decode(call, "TokenRequest", f"{GROUP}/v1", options)
    match_namespace(request["metadata"], call.info.namespace)
    await admit_order(call, request, options)
    entry = call.parts.cache.get(call.key)
    name, namespace = call.info.name, call.info.namespace
    metadata, spec = request["metadata"], request.setdefault("spec", {})
    if spec.get("expirationSeconds") is None:
        spec["expirationSeconds"] = DEFAULT
    who = managed(call, {**request, "spec": {k: v for k, v in spec.items() if v is not None}}, "token")
    if (metadata.get("name") or name) != name:
        text = f'Invalid value: "{metadata["name"]}": must match the service account name if specified'
        raise invalid(GROUP, "TokenRequest", name, [FieldError("FieldValueInvalid", "metadata.name", text)])
    if entry is None:
        raise not_found("", "serviceaccounts", name)
    account = entry.decode()
    uid = account["metadata"]["uid"]
    if metadata.get("uid") and metadata["uid"] != uid:
        why = f"the UID in the token request ({metadata['uid']}) does not match the UID of the service account ({uid})"
        raise conflict(GROUP, "TokenRequest", name, why)
    spec["audiences"] = spec.get("audiences") or list(call.parts.tokens.audiences)
    seconds: int = spec["expirationSeconds"]
    _check_seconds(seconds)
    reference = spec.setdefault("boundObjectRef", None)
    bound = _bound(call, reference) if reference is not None else None
    settings = call.parts.settings
    if settings.service_account_max_token_expiration:
        seconds = spec["expirationSeconds"] = min(seconds, int(settings.service_account_max_token_expiration))
    lifetime, warn_after = seconds, 0
    for_pod = bound is not None and bound["kind"] == "Pod"
    ours = set(spec["audiences"]) <= set(call.parts.tokens.audiences)
    if for_pod and ours and seconds == WARN_ONLY and settings.service_account_extend_token_expiration:
        lifetime, warn_after = EXTENDED, WARN_ONLY
    token, token_id = call.parts.tokens.sign(
        account, audiences=spec["audiences"], seconds=lifetime, bound=bound, warn_after=warn_after
    )
    if call.record is not None:
        call.record.annotations["authentication.kubernetes.io/issued-credential-id"] = f"JTI={token_id}"
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    answer: Object = {
        "kind": "TokenRequest",
        "apiVersion": f"{GROUP}/v1",
        "metadata": {**metadata, "name": name, "namespace": namespace, "uid": uid, "creationTimestamp": now(), **who},
        "spec": spec,
        "status": {"token": token, "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ")},
    }
    data, media = render_one(call, orjson.dumps(answer), own_kind=False)
    return respond(data, 201, media, call.warnings)


def _check_seconds(seconds: int) -> None:
    why = ""
    if seconds < LEAST:
        why = "may not specify a duration less than 10 minutes"
    elif seconds > MOST:
        why = "may not specify a duration larger than 2^32 seconds"
    if why:
        cause = FieldError("FieldValueInvalid", "spec.expirationSeconds", f"Invalid value: {seconds}: {why}")
        raise invalid(GROUP, "TokenRequest", "", [cause])


def _bound(call: Call, reference: Object) -> Object:
    """The object a token shall live no longer than. Raises 400, 404 and 409."""
    kind, name = reference.get("kind", ""), reference.get("name", "")
    group, version = split_api_version(reference.get("apiVersion", ""))
    if group or kind not in _BINDABLE:
        raise bad_request(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
    resource = _BINDABLE[kind]
    check_key_name(name)
    path = name if kind == "Node" else f"{call.info.namespace}/{name}"
    entry = call.parts.cache.get(prefix_of("", resource) + path)
    if entry is None:
        raise not_found("", resource, name)
    found = entry.decode()
    if kind == "Pod" and found["spec"].get("serviceAccountName") != call.info.name:
        raise bad_request(
            f'cannot bind token for serviceaccount "{call.info.name}" to pod running with different serviceaccount '
            "name."
        )
    if reference.get("uid") and reference["uid"] != found["metadata"]["uid"]:
        why = (
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise conflict("", kind, name, why)
    return found
