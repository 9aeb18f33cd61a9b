"""What becomes an HTTP answer when something is refused or breaks: the one file that knows status codes of errors.

Handlers raise domain words (``store.Conflict``, ``store.Compacted``) or :class:`ApiError`; nothing else turns them
into a Status.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from shim.api.keys import resource_of
from shim.api.meta import Object
from shim.api.status import ApiError, FieldError, bad_request, expired, forbidden, internal, invalid
from shim.resources.strategy import Resource
from shim.store.contract import Compacted, Conflict, StoreError, TooLarge

log = logging.getLogger(__name__)

TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class PlainError(Exception):
    """An answer outside the API, as Go's own file server gives it: plain text, no Status."""

    def __init__(self, code: int, text: str, retry_after: int = 0) -> None:
        super().__init__(text)
        self.code, self.text, self.retry_after = code, text, retry_after


def page_not_found() -> PlainError:
    return PlainError(404, "404 page not found\n")


def too_many_requests(retry_after: int = 1) -> PlainError:
    """More requests are under way than may be; upstream too answers this before it knows how to write a Status."""
    return PlainError(429, "Too many requests, please try again later.\n", retry_after=retry_after)


def timed_out() -> ApiError:
    """A request took longer than requests may take."""
    return ApiError(504, "Timeout", "Timeout: request did not complete within the allotted timeout", {})


def no_such_resource() -> ApiError:
    """A path below a served group version that names nothing."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def definition_goes(resource: Resource, name: str) -> ApiError:
    """A custom resource whose definition is being deleted."""
    text = "create not allowed while custom resource definition is terminating"
    return forbidden(resource.group, resource.name, name, text)


def not_acceptable(accepted: str) -> ApiError:
    """The Accept header names nothing this server writes."""
    return ApiError(406, "NotAcceptable", f"406: Not Acceptable\n\nAvailable representations: {accepted}", {})


def no_such_rendering(accepted: str) -> ApiError:
    """The Accept header asks for a known media type in a form (``as=``) this object does not have."""
    return ApiError(406, "NotAcceptable", f"only the following media types are accepted: {accepted}")


def not_for_lists(type: str) -> ApiError:
    """PartialObjectMetadata of a list, which is called PartialObjectMetadataList; upstream names its Go type."""
    what = f"a list (*{type}List)"
    return ApiError(406, "NotAcceptable", f"you requested PartialObjectMetadata, but the requested object is {what}")


def only_for_lists(type: str) -> ApiError:
    """PartialObjectMetadataList of a single object."""
    what = f"not a list (*{type})"
    message = f"you requested PartialObjectMetadataList, but the requested object is {what}"
    return ApiError(406, "NotAcceptable", message)


def other_version(found: str, wanted: str) -> ApiError:
    """A body is of another version than its path."""
    return bad_request(f"the API version in the data ({found}) does not match the expected API version ({wanted})")


def internal_type(group: str, kind: str) -> str:
    """What upstream calls a built-in kind inside, whatever its version: ``core.Pod``."""
    return f"{group.partition('.')[0] or 'core'}.{kind}"


def no_such_include(value: str) -> ApiError:
    """``includeObject`` of a Table is none of the three."""
    why = f"includeObject: Invalid value: {json.dumps(value)}: must be 'Metadata', 'Object', 'None', or empty"
    return bad_request(f"Unable to convert to Table as requested: {why}")


def unsupported_body(accepted: str) -> ApiError:
    message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    return ApiError(415, "UnsupportedMediaType", message)


def too_large(limit: int) -> ApiError:
    message = f"Request entity too large: limit is {limit}"
    return ApiError(413, "RequestEntityTooLarge", message)


def invalid_option(kind: str, error: FieldError) -> ApiError:
    """A query parameter that is refused: ``ListOptions.meta.k8s.io "" is invalid: ...``."""
    return invalid("meta.k8s.io", kind, "", [error])


def too_large_version(asked: int, current: int) -> ApiError:
    """The client has seen a newer revision than this server: retry."""
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return ApiError(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1}, 1)


def internal_plain(message: str) -> ApiError:
    """A 500 whose message stands alone, where upstream returns a bare error."""
    return ApiError(500, "", message)


def foreseen(error: BaseException, what: str) -> ApiError | None:
    """The refusal an exception means; None for a mistake of this server's."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, Conflict):
        # Reached only where a handler did not retry: the key's last part is the object's name.
        name = error.key.rsplit("/", 1)[-1]
        resource = resource_of(error.key)
        message = f'Operation cannot be fulfilled on {resource} "{name}": object was modified'
        return ApiError(409, "Conflict", message, {"name": name, "kind": resource})
    if isinstance(error, Compacted):
        return expired(f"too old resource version: {error.asked} ({error.oldest})")
    if isinstance(error, TooLarge):
        return internal_plain(str(error))
    if isinstance(error, StoreError):
        log.error("store failed for %s: %s", what, error)
        return internal(str(error))
    if isinstance(error, RecursionError) or str(error) == "Recursion limit reached":  # orjson writes 254 levels
        return bad_request("what was sent is nested too deeply")
    return None


def unforeseen(error: BaseException, what: str) -> ApiError:
    """The refusal for a mistake of this server's, which is logged."""
    log.error("unexpected error for %s", what, exc_info=error)
    return internal(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def status_bytes(error: ApiError) -> bytes:
    return json.dumps(error.status(), separators=(",", ":"), ensure_ascii=False).encode()


def success(details: Object | None = None, code: int = 0) -> Object:
    """The Status of something that was done and has no object to show."""
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details is not None:
        status["details"] = details
    if code:
        status["code"] = code
    return status
