"""Selectors: expressions in CEL over one device, which must make sense before anybody is asked to run them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from shim import cel
from shim.api.meta import Object
from shim.api.status import FieldError
from shim.resources.causes import forbidden, invalid, required, too_long
from shim.resources.devices.naming import every

_MOST = 32
_LONGEST = 10 * 1024
_COST_LIMIT = 1_000_000
_DOMAIN = cel.Type("string", size=63)
_ID = cel.Type("string", size=32)
_ATTRIBUTE = cel.Type("dyn", size=64)
_QUANTITY = cel.Type("kubernetes.Quantity")
_PER_DEVICE = 32  # attributes and capacities


def _by_name(value: cel.Type) -> cel.Type:
    """``device.attributes["driver.example.com"].model``: first by domain, then by identifier."""
    return cel.map_of(_DOMAIN, cel.map_of(_ID, value, _PER_DEVICE), _PER_DEVICE)


_FIELDS = {
    "driver": cel.Field(_DOMAIN, "driver"),
    "allowMultipleAllocations": cel.Field(cel.BOOL, "allowMultipleAllocations"),
    "attributes": cel.Field(_by_name(_ATTRIBUTE), "attributes"),
    "capacity": cel.Field(_by_name(_QUANTITY), "capacity"),
}


def _fields() -> Mapping[str, cel.Field]:
    return _FIELDS


_ENVIRONMENT = cel.Environment({"device": cel.struct("kubernetes.DRADevice", _fields)})


def selectors(at: str, found: list[Object] | None) -> list[FieldError]:
    """The selectors of a class or a request."""
    return every(at, found, _selector, _MOST)


def _selector(at: str, selector: Object) -> list[FieldError]:
    if selector.get("cel") is None:
        return [required(f"{at}.cel")]
    at, text = f"{at}.cel.expression", selector["cel"].get("expression") or ""
    if len(text.encode()) > _LONGEST:
        return [too_long(at, _LONGEST)]
    complaint, cost = _checked(text)
    if complaint:
        return [invalid(at, text, complaint)]
    return [forbidden(at, "too complex, exceeds cost limit")] if cost > _COST_LIMIT else []


@lru_cache(maxsize=256)
def _checked(text: str) -> tuple[str, float]:
    """What is wrong with an expression, and what it may cost at most."""
    try:
        checked = _ENVIRONMENT.check(text)
    except cel.CompileError as error:
        return error.told, 0
    if checked.type.name not in ("bool", "dyn"):
        return f"must evaluate to bool or the unknown type, not {checked.type}", 0
    return "", cel.estimate(checked).high
