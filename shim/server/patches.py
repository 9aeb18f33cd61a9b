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
