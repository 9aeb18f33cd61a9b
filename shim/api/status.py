"""Everything an API server says when it refuses: Status objects, and the errors they are made from.

``ApiError`` is raised anywhere in the server and is what clients raise for an answer that is not 2xx.
Messages and reasons are upstream's (k8s.io/apimachinery/pkg/api/errors and pkg/util/validation/field):
clients parse them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shim.api.meta import Object


@dataclass(frozen=True, slots=True)
class FieldError:
    """One cause of a 422: ``reason`` is upstream's CauseType (FieldValueRequired ...), then the field's path."""

    reason: str
    field: str
    message: str  # without the field, e.g. "Required value"


class ApiError(Exception):
    """A refusal, as the Status object that tells a client of it."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Object | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.details = details
        self.warnings: list[str] = []  # what else the client is told, in headers
        self.retry_after = retry_after

    def status(self) -> Object:
        """The Status object, as JSON."""
        body: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if not self.reason:
            del body["reason"]
        if self.details is not None:
            body["details"] = self.details
        return body

    @classmethod
    def from_status(cls, status: Object, code: int) -> ApiError:
        """The error a client raises for a Status it was sent."""
        details = status.get("details")
        return cls(
            int(status.get("code") or code),
            status.get("reason") or "",
            status.get("message") or "",
            details,
            (details or {}).get("retryAfterSeconds"),
        )


def _details(group: str, kind: str, name: str, **more: Any) -> Object:
    details: Object = {"name": name} if name else {}
    if group:
        details["group"] = group
    if kind:
        details["kind"] = kind
    details.update(more)
    return details


def _qualified(group: str, resource: str) -> str:
    return f"{resource}.{group}" if group else resource


def not_found(group: str, resource: str, name: str) -> ApiError:
    message = f'{_qualified(group, resource)} "{name}" not found'
    return ApiError(404, "NotFound", message, _details(group, resource, name))


def already_exists(group: str, resource: str, name: str) -> ApiError:
    message = f'{_qualified(group, resource)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(group, resource, name))


def conflict(group: str, resource: str, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {_qualified(group, resource)} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(group, resource, name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def invalid(group: str, kind: str, name: str, errors: Sequence[FieldError]) -> ApiError:
    """422 with every cause. One cause stands in the message as it is, several in brackets, as upstream's Aggregate."""
    texts = list(dict.fromkeys(f"{error.field}: {error.message}" for error in errors))
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    causes = [{"reason": error.reason, "message": error.message, "field": error.field} for error in errors]
    qualified = f"{kind}.{group}" if group else kind
    return ApiError(
        422, "Invalid", f'{qualified} "{name}" is invalid: {text}', _details(group, kind, name, causes=causes)
    )


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, resource: str, name: str, why: str) -> ApiError:
    qualified = _qualified(group, resource)
    named = f'{qualified} "{name}"' if name else qualified
    return ApiError(403, "Forbidden", f"{named} is forbidden: {why}", _details(group, resource, name))


def method_not_supported(group: str, resource: str, action: str) -> ApiError:
    message = f'{action} is not supported on resources of kind "{_qualified(group, resource)}"'
    return ApiError(405, "MethodNotAllowed", message, _details(group, resource, ""))


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def too_many_requests(message: str, retry_after: int = 1, details: Object | None = None) -> ApiError:
    return ApiError(429, "TooManyRequests", message, {**(details or {}), "retryAfterSeconds": retry_after}, retry_after)


def service_unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message)


def internal(message: str) -> ApiError:
    causes = [{"message": message}]
    return ApiError(500, "InternalError", f"Internal error occurred: {message}", {"causes": causes})


def timeout(message: str, retry_after: int = 1) -> ApiError:
    return ApiError(504, "Timeout", f"Timeout: {message}", {"retryAfterSeconds": retry_after}, retry_after)
