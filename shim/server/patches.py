"""The four ways to say a change: JSON patch, merge patch, strategic merge patch, and server-side apply.

Each becomes a function from the stored object to the patched one, which the registry calls again when another writer
came in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shim.api import jsonpatch, strategic
from shim.api.apply import apply
from shim.api.meta import Object
from shim.api.status import ApiError, bad_request
from shim.codec import jsontext, yamltext
from shim.server import errors
from shim.server.bodies import Body, content_type, definition_of
from shim.server.object_metadata import check_named
from shim.server.options import WriteOptions
from shim.server.parts import Call
from shim.server.patched import Patch, decode, touched_by_merge, touched_by_operations

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
WAYS = (JSON_PATCH, MERGE, STRATEGIC, APPLY)


def way_of(call: Call) -> str:
    """Which of the four a request uses. Raises 415."""
    way = content_type(call.http)
    if call.resource.custom:
        accepted = tuple(each for each in WAYS if each != STRATEGIC)
        if way not in accepted:
            raise errors.unsupported_body(", ".join(accepted))
    elif way not in WAYS:
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    return way


def applier(call: Call, body: Body, options: WriteOptions) -> Callable[[Object | None], Object]:
    """The function an applied configuration is; asked with None it makes the object. Raises 400."""
    kind, api_version = kind_of(call)
    definition = definition_of(call.parts.schema, kind, api_version)
    configuration = _configuration(body.data)
    _check_text(call, body.data, options)
    ignored = call.resource.strategy.resets(call.info.subresource)

    def merge(live: Object | None) -> Object:
        applied = apply(
            live,
            configuration,
            kind=(api_version, kind),
            definition=definition,
            manager=options.manager,
            force=options.force or False,
            subresource=call.info.subresource,
            ignored=ignored,
        )
        check_named(call.info.name, applied)
        return decode(call, Patch(lambda _: applied), {}, kind, api_version, options)

    return merge


def _configuration(data: bytes) -> Object:
    """The document of an apply patch. What it is said to be is checked later."""
    try:
        found = yamltext.loads(data)
    except yamltext.YAMLError as error:
        raise bad_request(f"error decoding YAML: error converting YAML to JSON: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        kind = {list: "array", str: "string", bool: "bool"}.get(type(found), "number")
        text = f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        raise bad_request(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {text}")
    return found


def _check_text(call: Call, data: bytes, options: WriteOptions) -> None:
    """Keys that stand twice in a configuration, as ``fieldValidation`` asks. Raises 400."""
    if options.validation == "Ignore":
        return
    for complaint in yamltext.strict_errors(data):
        if options.validation == "Strict":
            raise bad_request(f"error strict decoding YAML: error converting YAML to JSON: {complaint}")
        call.warnings += yamltext.apart(complaint)


def read(call: Call, way: str, body: Body) -> Patch:
    """A patch of the other ways. Raises 400 and 413 for one that cannot be read."""
    patch = _parsed(body, way)
    if way == JSON_PATCH:
        operations = _worded(lambda: jsonpatch.read(patch or []))
        return Patch(
            lambda old: _object(_worded(lambda: jsonpatch.apply(old, operations))),
            touched=touched_by_operations(operations),
            complaints=tuple(f'json patch duplicate field "{path}"' for path in jsontext.duplicates(body.data)),
        )
    complaints = tuple(f'duplicate field "{path}"' for path in jsontext.duplicates(body.data))
    if way == MERGE:
        merged = touched_by_merge(patch)
        return Patch(lambda old: dict(jsonpatch.merge_patch(old, patch)), touched=merged, complaints=complaints)
    definition = definition_of(call.parts.schema, *kind_of(call))
    patch = patch or {}
    return Patch(lambda old: dict(_worded(lambda: strategic.merge(definition, old, patch))), patch, {}, complaints)


def kind_of(call: Call) -> tuple[str, str]:
    """Kind and version of what is written at a path: a subresource may have a kind of its own."""
    if call.subresource is not None and call.subresource.group:
        return call.subresource.kind, f"{call.subresource.group}/{call.subresource.version}"
    return call.resource.kind, call.resource.api_version


def _parsed(body: Body, way: str) -> Any:
    """The patch as JSON: a list for a JSON patch, else an object; None for null, which changes nothing."""
    said = "" if way == STRATEGIC else "error decoding patch: "
    try:
        patch = jsontext.loads(body.data)
    except jsontext.JSONError as error:
        raise bad_request(f"{said}{error}") from error
    if patch is None and way == MERGE:
        raise bad_request("Invalid JSON Patch")
    wanted = list if way == JSON_PATCH else dict
    if patch is not None and not isinstance(patch, wanted):
        found = {list: "array", dict: "object", str: "string", bool: "bool"}.get(type(patch), "number")
        go = "[]handlers.jsonPatchOp" if way == JSON_PATCH else "map[string]interface {}"
        raise bad_request(f"{said}json: cannot unmarshal {found} into Go value of type {go}")
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
