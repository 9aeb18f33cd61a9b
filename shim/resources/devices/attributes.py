"""What is known of a device: attributes, and capacities that may be shared out (KEP-5075)."""

from __future__ import annotations

import re

from shim.api.meta import Object
from shim.api.quantity import Quantity
from shim.api.status import FieldError
from shim.resources.amounts import amount
from shim.resources.causes import forbidden, invalid, required, too_long
from shim.resources.devices.naming import every
from shim.resources.printed import go_struct

_LONGEST = 64
_VALUES = ("int", "bool", "string", "version")
_OFF = ("bools", "ints", "strings", "versions")  # alpha in v1.36: DRAListTypeAttributes
_MOST_OPTIONS = 10
_NUMBER = r"(0|[1-9]\d*)"
_PRE, _BUILD = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)", "[0-9a-zA-Z-]+"
_SEMVER = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRE}(\.{_PRE})*)?(\+{_BUILD}(\.{_BUILD})*)?",
    re.ASCII,
)


def drop_lists(attribute: Object) -> None:
    for field in _OFF:
        attribute.pop(field, None)


def attribute(at: str, found: Object) -> list[FieldError]:
    """One value, of one type."""
    causes: list[FieldError] = []
    text, version = found.get("string"), found.get("version")
    if text is not None and len(text.encode()) > _LONGEST:
        causes.append(too_long(f"{at}.string", _LONGEST))
    if version is not None:
        if not _SEMVER.fullmatch(version):
            text = "must be a string compatible with semver.org spec 2.0.0"
            causes.append(invalid(f"{at}.version", version, text))
        if len(version) > _LONGEST:
            causes.append(too_long(f"{at}.version", _LONGEST))
    count = sum(found.get(field) is not None for field in _VALUES)
    if count != 1:
        shown = go_struct("resource.v1.DeviceAttribute", found) if count else ""
        causes.append(invalid(at, shown, "exactly one value must be specified"))
    return causes


def whole_capacity(at: str, found: Object) -> list[FieldError]:
    """Of a device that is given to one claim at a time."""
    if found.get("requestPolicy") is None:
        return []
    return [forbidden(f"{at}.requestPolicy", "allowMultipleAllocations must be true")]


def shared_capacity(at: str, found: Object) -> list[FieldError]:
    """Of a device that several claims may have parts of: how much one may ask for."""
    policy, at = found.get("requestPolicy"), f"{at}.requestPolicy"
    if policy is None:
        return []
    whole, values, limits = amount(found.get("value")), policy.get("validValues"), policy.get("validRange")
    if values and limits is not None:
        text = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        return [forbidden(at, text)]
    usual = policy.get("default")
    for field, given in (("validValues", values or None), ("validRange", limits)):
        if given is not None and usual is None:
            return [required(f"{at}.default", f"required when {field} is defined")]
    if values:
        return _options(f"{at}.validValues", [amount(each) for each in values], amount(usual), whole)
    return _range(f"{at}.validRange", limits, amount(usual), whole) if limits is not None else []


def _options(at: str, values: list[Quantity], usual: Quantity, whole: Quantity) -> list[FieldError]:
    causes = [
        invalid(f"{at}[{index}]", str(values[index]), "values must be sorted in ascending order")
        for index in range(1, len(values))
        if values[index - 1] > values[index]
    ]

    def option(here: str, value: Quantity) -> list[FieldError]:
        text = f"option is larger than capacity value: {whole}"
        return [invalid(here, str(value), text)] if value > whole else []

    causes += every(at, values, option, _MOST_OPTIONS, lambda value: str(_rounded(value)))
    if usual not in values:
        causes.append(invalid(at, str(usual), "default value is not valid according to the requestPolicy"))
    return causes


def _range(at: str, limits: Object, usual: Quantity, whole: Quantity) -> list[FieldError]:
    if limits.get("min") is None:
        return [required(f"{at}.min", "required when validRange is defined")]
    least = amount(limits["min"])
    most = None if limits.get("max") is None else amount(limits["max"])
    causes: list[FieldError] = []
    if least > whole:
        causes.append(invalid(f"{at}.min", str(least), f"min is larger than capacity value: {whole}"))
    if usual < least:
        causes.append(invalid(f"{at}.min", str(usual), f"default is less than min: {least}"))
    if most is not None:
        if least > most:
            causes.append(invalid(f"{at}.max", str(least), f"min is larger than max: {most}"))
        if most > whole:
            causes.append(invalid(f"{at}.max", str(most), f"max is larger than capacity value: {whole}"))
        if usual > most:
            causes.append(invalid(f"{at}.max", str(usual), f"default is more than max: {most}"))
    if limits.get("step") is None:
        return causes
    step = amount(limits["step"])
    if least + step > whole:
        text = f"one step {least + step} is larger than capacity value: {whole}"
        causes.append(invalid(f"{at}.step", str(step), text))
    for value in (usual, most):
        if value is not None and (_rounded(value) - _rounded(least)) % (_rounded(step) or 1):
            text = f"value is not a multiple of a given step ({step}) from ({least})"
            causes.append(invalid(f"{at}.step", str(value), text))
    return causes


def _rounded(value: Quantity) -> int:
    return -(-value.nanos // 10**9)
