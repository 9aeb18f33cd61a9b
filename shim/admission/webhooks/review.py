"""What is a webhook sent, and what does its answer mean? AdmissionReview of admission.k8s.io, v1 and v1beta1. Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import orjson

from shim.admission.conditions import described
from shim.admission.matching import Match, converted
from shim.admission.request import Request
from shim.admission.webhooks.hooks import Hook
from shim.api import jsonpatch
from shim.api.meta import Object, new_uid
from shim.api.status import ApiError
from shim.resources.webhook_rules import REVIEW_VERSIONS

GROUP = "admission.k8s.io"
DENIED_LEAST = 400  # a webhook that refuses with a code of success is read as a bad request


class InvalidResponse(Exception):
    """An answer that is no answer to the question; the text is upstream's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook says of a request."""

    allowed: bool
    status: Object | None
    patch: bytes
    patch_type: str
    warnings: tuple[str, ...]
    annotations: Object


def question(hook: Hook, request: Request, match: Match) -> Object:
    """The AdmissionReview to be sent. Raises InvalidResponse when the webhook takes none that we know."""
    version = next((each for each in hook.versions if each in REVIEW_VERSIONS), None)
    if version is None:
        raise InvalidResponse("webhook does not accept known AdmissionReview versions (v1, v1beta1)")
    asked = {
        "uid": new_uid(),
        **described(request, match),
        "object": converted(request.obj, request, match),
        "oldObject": converted(request.old, request, match),
    }
    return {"kind": "AdmissionReview", "apiVersion": f"{GROUP}/{version}", "request": asked}


def verdict(review: Object, answer: Any, *, mutating: bool) -> Verdict:
    """What the answer to a review says. Raises InvalidResponse."""
    if not isinstance(answer, dict) or not isinstance(answer.get("response"), dict):
        raise InvalidResponse("webhook response was absent")
    response: Object = answer["response"]
    patch, kind = _patch(response), response.get("patchType")
    if review["apiVersion"] == f"{GROUP}/v1":
        _check(review, answer, response, patch, kind, mutating=mutating)
    elif patch:
        kind = "JSONPatch"  # v1beta1 never asked for it
    return Verdict(
        bool(response.get("allowed")),
        response.get("status"),
        patch if mutating else b"",
        kind or "",
        tuple(map(str, response.get("warnings") or ())),
        response.get("auditAnnotations") or {},
    )


def _patch(response: Object) -> bytes:
    try:
        return base64.b64decode(response.get("patch") or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise InvalidResponse("illegal base64 data in response.patch") from None


def _check(review: Object, answer: Object, response: Object, patch: bytes, kind: Any, *, mutating: bool) -> None:
    wanted, uid = review["request"]["uid"], response.get("uid") or ""
    if uid != wanted:
        raise InvalidResponse(f'expected response.uid="{wanted}", got "{uid}"')
    if (answer.get("apiVersion"), answer.get("kind")) != (f"{GROUP}/v1", "AdmissionReview"):
        found = f"{answer.get('apiVersion') or '/'}, Kind={answer.get('kind') or ''}"
        raise InvalidResponse(f"expected webhook response of {GROUP}/v1, Kind=AdmissionReview, got {found}")
    if not mutating:
        for field, there in (("patch", bool(patch)), ("patchType", kind is not None)):
            if there:
                raise InvalidResponse(f"validating webhook may not return response.{field}")
        return
    if patch and kind is None:
        raise InvalidResponse("webhook returned response.patch but not response.patchType")
    if not patch and kind is not None:
        raise InvalidResponse("webhook returned response.patchType but not response.patch")
    if kind == "":
        raise InvalidResponse('webhook returned invalid response.patchType of ""')


def denial(hook: Hook, status: Object | None) -> ApiError:
    """The refusal that a webhook asked for, in its words."""
    status = status or {}
    denied, code = f'admission webhook "{hook.name}" denied the request', status.get("code") or 0
    message, reason = status.get("message") or "", status.get("reason") or ""
    text = f"{denied}: {message or reason}" if message or reason else f"{denied} without explanation"
    return ApiError(max(code, DENIED_LEAST), reason, text, status.get("details"))


def patched(obj: Object, patch: bytes) -> Object:
    """The object with a webhook's JSON patch applied. Raises jsonpatch.PatchError (400: it cannot be read)."""
    try:
        operations = orjson.loads(patch)
    except orjson.JSONDecodeError as error:
        raise jsonpatch.PatchError(400, str(error)) from None
    new: Object = jsonpatch.apply(obj, jsonpatch.read(operations))
    return new
