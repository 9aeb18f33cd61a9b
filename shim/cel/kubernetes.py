"""Kubernetes' functions on its own notions: quantities, versions, named formats, keys of JSON patches."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shim.api import names, quantity
from shim.api.quantity import Quantity, QuantityError
from shim.cel.functions import REGEX, Library, math_ceil, traversal
from shim.cel.urls import parse_url
from shim.cel.values import NONE, CelError, Opaque, Optional, parse_timestamp, register

LIBRARY = Library()
_function, _method, _add = LIBRARY.function, LIBRARY.method, LIBRARY.add
register(Quantity, "kubernetes.Quantity")

# --- quantity ---------------------------------------------------------------------------------------------------------

_NANO = 10**9


def _quantity(text: str) -> Quantity:
    try:
        return quantity.parse(text)
    except QuantityError as error:
        raise CelError(str(error)) from None


def _is_quantity(text: str) -> bool:
    try:
        quantity.parse(text)
    except QuantityError:
        return False
    return True


def _as_integer(amount: Quantity) -> int:
    if not _is_integer(amount):
        raise CelError("cannot convert value to integer")
    return amount.nanos // _NANO


def _is_integer(amount: Quantity) -> bool:
    return amount.nanos % _NANO == 0 and -(2**63) <= amount.nanos // _NANO < 2**63


def _order(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def _whole(number: int) -> Quantity:
    return Quantity(number * _NANO)


_add("quantity", "string -> kubernetes.Quantity", _quantity, cost=traversal(0))
_add("isQuantity", "string -> bool", _is_quantity, cost=traversal(0))
_add("sign", "kubernetes.Quantity -> int", lambda amount: _order(amount.nanos, 0))  # upstream has it as no method
_add("isGreaterThan", "kubernetes.Quantity, kubernetes.Quantity -> bool", lambda a, b: a > b, member=True)
_add("isLessThan", "kubernetes.Quantity, kubernetes.Quantity -> bool", lambda a, b: a < b, member=True)
_add("compareTo", "kubernetes.Quantity, kubernetes.Quantity -> int", _order, member=True)
_add("asApproximateFloat", "kubernetes.Quantity -> double", lambda amount: amount.nanos / _NANO, member=True)
_add("asInteger", "kubernetes.Quantity -> int", _as_integer, member=True)
_add("isInteger", "kubernetes.Quantity -> bool", _is_integer, member=True)
_add("add", "kubernetes.Quantity, kubernetes.Quantity -> kubernetes.Quantity", lambda a, b: a + b, member=True)
_add("add", "kubernetes.Quantity, int -> kubernetes.Quantity", lambda a, b: a + _whole(b), member=True)
_add("sub", "kubernetes.Quantity, kubernetes.Quantity -> kubernetes.Quantity", lambda a, b: a - b, member=True)
_add("sub", "kubernetes.Quantity, int -> kubernetes.Quantity", lambda a, b: a - _whole(b), member=True)

# --- semver -----------------------------------------------------------------------------------------------------------

_NUMBER = r"(?:0|[1-9]\d*)"
_PART = rf"(?:{_NUMBER}|\d*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_PART}(?:\.{_PART})*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)


@dataclass(frozen=True)
class Semver(Opaque):
    """A version by https://semver.org; build metadata is no part of its order."""

    TYPE = "kubernetes.Semver"
    numbers: tuple[int, int, int]
    pre: tuple[str, ...] = ()

    def rank(self) -> Any:
        parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre]
        return (self.numbers, not self.pre, parts)


def _semver(text: str, normalize: bool = False) -> Semver:
    if normalize:
        core, mark, rest = re.fullmatch(r"([^+-]*)([+-]?)(.*)", text.removeprefix("v"), re.DOTALL).groups()  # type: ignore[union-attr]
        parts = [part.lstrip("0") or "0" if part.isdigit() else part for part in core.split(".")]
        if not mark:
            parts += ["0"] * (3 - len(parts))
        text = ".".join(parts) + mark + rest
    match = _SEMVER.fullmatch(text)
    if match is None:
        raise CelError("No Major.Minor.Patch elements found" if text.count(".") < 2 else f"Invalid version {text!r}")
    major, minor, patch = (int(match[place]) for place in (1, 2, 3))
    return Semver((major, minor, patch), tuple(match[4].split(".")) if match[4] else ())


def _is_semver(text: str, normalize: bool = False) -> bool:
    try:
        _semver(text, normalize)
    except CelError:
        return False
    return True


_add("semver", "string -> kubernetes.Semver", _semver, cost=traversal(0))
_add("semver", "string, bool -> kubernetes.Semver", _semver, cost=traversal(0))
_add("isSemver", "string -> bool", _is_semver, cost=traversal(0))
_add("isSemver", "string, bool -> bool", _is_semver, cost=traversal(0))
_add("major", "kubernetes.Semver -> int", lambda version: version.numbers[0], member=True)
_add("minor", "kubernetes.Semver -> int", lambda version: version.numbers[1], member=True)
_add("patch", "kubernetes.Semver -> int", lambda version: version.numbers[2], member=True)
_add("isGreaterThan", "kubernetes.Semver, kubernetes.Semver -> bool", lambda a, b: a.rank() > b.rank(), member=True)
_add("isLessThan", "kubernetes.Semver, kubernetes.Semver -> bool", lambda a, b: a.rank() < b.rank(), member=True)
_add("compareTo", "kubernetes.Semver, kubernetes.Semver -> int", lambda a, b: _order(a.rank(), b.rank()), member=True)

# --- formats ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NamedFormat(Opaque):
    TYPE = "kubernetes.NamedFormat"
    name: str
    rule: Callable[[str], list[str]]
    pattern_size: int

    def size(self) -> int:
        return self.pattern_size


def _prefix(rule: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    return lambda text: rule(names.mask_trailing_dash(text))


def _tested(test: Callable[[str], Any], message: str) -> Callable[[str], list[str]]:
    def rule(text: str) -> list[str]:
        try:
            return [] if test(text) else [message]
        except (ValueError, binascii.Error):
            return [message]

    return rule


def _uri(text: str) -> list[str]:
    try:
        parse_url(text)
    except CelError as error:
        return [str(error).removeprefix("URL parse error during conversion from string: ")]
    return []


def _base64(text: str) -> bool:
    return base64.b64decode(text, validate=True) is not None


_UUID = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
FORMATS = {
    "dns1123Label": NamedFormat("DNS1123Label", names.dns1123_label, 30),
    "dns1123Subdomain": NamedFormat("DNS1123Subdomain", names.dns1123_subdomain, 60),
    "dns1035Label": NamedFormat("DNS1035Label", names.dns1035_label, 30),
    "qualifiedName": NamedFormat("QualifiedName", names.qualified_name, 60),
    "dns1123LabelPrefix": NamedFormat("DNS1123LabelPrefix", _prefix(names.dns1123_label), 30),
    "dns1123SubdomainPrefix": NamedFormat("DNS1123SubdomainPrefix", _prefix(names.dns1123_subdomain), 60),
    "dns1035LabelPrefix": NamedFormat("DNS1035LabelPrefix", _prefix(names.dns1035_label), 30),
    "labelValue": NamedFormat("LabelValue", names.label_value, 40),
    "uri": NamedFormat("URI", _uri, 3000),
    "uuid": NamedFormat("uuid", _tested(_UUID.fullmatch, "does not match the UUID format"), 90),
    "byte": NamedFormat("byte", _tested(_base64, "invalid base64"), 85),
    "date": NamedFormat("date", _tested(_DATE.fullmatch, "invalid date"), 100),
    "datetime": NamedFormat("datetime", _tested(parse_timestamp, "invalid datetime"), 100),
}  # fmt: skip


def _validate(format: NamedFormat, text: str) -> Optional:
    complaints = format.rule(text)
    return Optional(True, complaints) if complaints else NONE


def _validation_cost(sizes: Any, result: float) -> float:
    pattern = min(sizes[0], 128)  # the longest of a named format
    return math_ceil((1 + sizes[1]) * 0.1) * math_ceil(pattern * REGEX)


def _named(name: str) -> Optional:
    return Optional(True, FORMATS[name]) if name in FORMATS else NONE


_add("format.named", "string -> optional(kubernetes.NamedFormat)", _named)
_add("validate", "kubernetes.NamedFormat, string -> optional(list(string))", _validate, member=True,
     cost=_validation_cost)  # fmt: skip
for _name, _format in FORMATS.items():
    _add(f"format.{_name}", " -> kubernetes.NamedFormat", lambda format=_format: format)

# --- JSON patch -------------------------------------------------------------------------------------------------------

JSON_PATCH = Library()
"""What expressions that make JSON patches have besides."""
JSON_PATCH.add(
    "jsonpatch.escapeKey", "string -> string", lambda key: key.replace("~", "~0").replace("/", "~1"), cost=traversal(0)
)
