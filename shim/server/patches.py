"""The four ways to say a change: JSON patch, merge patch, strategic merge patch, and server-side apply.

Each becomes a function from the stored object to the patched one, which the registry calls again when another writer
came in between.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from shim.api.meta import Object
from shim.api.status import ApiError, bad_request
from shim.server import errors
from shim.server.bodies import Body, definition_of
from shim.server.formats import FormatError, decode
from shim.server.negotiation import JSON, YAML
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
    media = call.http.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media not in WAYS:
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    return media


def patcher(call: Call, way: str, body: Body, options: WriteOptions) -> Patcher:
    """The function a patch is. Raises 400 for one that cannot be read, 415 for a way that is not built."""
    if way == MERGE:
        patch = _read_object(call, body)
        return lambda old: _merged(old, patch)
    raise ApiError(415, "UnsupportedMediaType", f"patches of type {way} are not built yet")


def _read_object(call: Call, body: Body) -> Object:
    try:
        return decode(JSON, body.data, call.parts.schema)
    except FormatError as error:
        raise bad_request(f"error decoding patch: {error}") from error


def _merged(old: Object, patch: Object) -> Object:
    """RFC 7386."""
    new = dict(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, dict):
            under = new.get(key)
            new[key] = _merged(under if isinstance(under, dict) else {}, value)
        else:
            new[key] = value
    return new
