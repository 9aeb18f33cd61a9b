"""What a class or a claim has to say to a driver, which nobody else understands."""

from __future__ import annotations

from typing import Any

from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import invalid, required, shown, too_long
from shim.resources.devices.naming import driver

MOST = 32
_LARGEST = 10 * 1024


def configuration(at: str, found: Object) -> list[FieldError]:
    """``opaque``: the one kind there is."""
    opaque = found.get("opaque")
    if opaque is None:
        return [required(f"{at}.opaque")]
    causes = driver(f"{at}.opaque.driver", opaque.get("driver") or "")
    return causes + raw_object(f"{at}.opaque.parameters", opaque.get("parameters"))


def raw_object(at: str, value: Any) -> list[FieldError]:
    """An object that is kept as it is, up to a size."""
    if value is None:
        return [required(at)]
    if len(shown(value).encode()) > _LARGEST:
        return [too_long(at, _LARGEST)]
    return [] if isinstance(value, dict) else [invalid(at, "<value omitted>", "must be a valid JSON object")]
