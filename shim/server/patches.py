"""The four ways to say a change: JSON patch, merge patch, strategic merge patch, and server-side apply.

Each becomes a function from the stored object to the patched one, which the registry calls again when another writer
came in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shim.api import jsonpatch, strategic
from shim.api.meta import Object
from shim.api.status import ApiError, bad_request
from shim.codec import jsontext
from shim.server import errors
from shim.server.bodies import Body, content_type, definition_of
from shim.server.options import WriteOptions
from shim.server.parts import Call

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
WAYS = (JSON_PATCH, MERGE, STRATEGIC, APPLY)

Patcher = Callable[[Object], Object]


def way_of(call: Call) -> str:
    """Which of the four a request uses. Raises 415."""
    way = content_type(call.http)
    if way not in WAYS:
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    return way


def patcher(call: Call, way: str, body: Body, options: WriteOptions) -> Patcher:
    """The function a patch is. Raises 400 for one that cannot be read, 415 for a way that is not built."""
    if way == APPLY:
        raise errors.unsupported_body(", ".join(WAYS[:3]))
    patch = _read(call, body, way)
    if way == MERGE:
        return lambda old: dict(jsonpatch.merge_patch(old, patch))
    if way == JSON_PATCH:
        operations = _worded(lambda: jsonpatch.read(patch))
        return lambda old: _object(_worded(lambda: jsonpatch.apply(old, operations)))
    definition = definition_of(call.parts.schema, *kind_of(call))
    return lambda old: _worded(lambda: strategic.merge(definition, old, patch))


def kind_of(call: Call) -> tuple[str, str]:
    """Kind and version of what is written at a path: a subresource may have a kind of its own."""
    if call.subresource is not None and call.subresource.group:
        return call.subresource.kind, f"{call.subresource.group}/{call.subresource.version}"
    return call.resource.kind, call.resource.api_version


def _read(call: Call, body: Body, way: str) -> Any:
    try:
        patch = jsontext.loads(body.data)
    except jsontext.JSONError as error:
        raise bad_request(f"error decoding patch: {error}") from error
    if way != JSON_PATCH and not isinstance(patch, dict):
        raise bad_request("json: cannot unmarshal value into Go value of type map[string]interface {}")
    return patch


def _worded(patching: Callable[[], Any]) -> Any:
    """Run a step of patching; what is wrong with the patch is told as upstream tells it."""
    try:
        return patching()
    except jsonpatch.PatchError as error:
        if error.code == 422:  # upstream keeps the reason to itself
            text = "the server rejected our request due to an error in our request"
            raise ApiError(422, "Invalid", text, {}) from error
        reasons = {400: "BadRequest", 413: "RequestEntityTooLarge"}
        raise ApiError(error.code, reasons.get(error.code, ""), str(error)) from error


def _object(patched: Any) -> Object:
    if not isinstance(patched, dict):
        raise bad_request("the patch leaves no object")
    return patched
