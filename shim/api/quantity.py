"""Amounts of resources: ``500m`` CPUs, ``1.5Gi`` of memory; parsed, compared, added and written as upstream does.

A quantity is a whole number of billionths, the finest the API knows, and the suffix family it was written with.
It is written back in canonical form: no fraction, the largest suffix that loses nothing (1.5 is ``1500m``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache, total_ordering
from typing import Any

_NANO = 10**9
_MAX_BINARY = (2**63 - 1) * _NANO

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_NAME = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_NAME = {exponent: suffix for suffix, exponent in _BINARY.items()}
_PARTS = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)")
_EXPONENT_LIMIT = 400  # more is no amount of anything, and would be a number of megabytes

WRONG_FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
WRONG_NUMBER = "unable to parse numeric part of quantity"
WRONG_SUFFIX = "unable to parse quantity's suffix"


class QuantityError(ValueError):
    """Not a quantity; the text is upstream's."""


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An exact amount. ``format`` is DecimalSI, BinarySI or DecimalExponent; sums keep the left one's."""

    nanos: int
    format: str = "DecimalSI"

    def __str__(self) -> str:
        return _canonical(self.nanos, self.format)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __mul__(self, factor: int) -> Quantity:
        return Quantity(self.nanos * factor, self.format)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nanos, self.format)

    @property
    def value(self) -> int:
        """Whole units, rounded up: bytes."""
        return _round_up(self.nanos, _NANO)

    @property
    def milli(self) -> int:
        """Thousandths, rounded up: what CPUs are counted in."""
        return _round_up(self.nanos, 10**6)

    @property
    def whole(self) -> bool:
        return self.nanos % _NANO == 0


ZERO = Quantity(0)


def _round_up(amount: int, unit: int) -> int:
    """Away from zero: who asks for a little gets a little."""
    return -(-amount // unit) if amount > 0 else amount // unit


def parse(text: str | int | float) -> Quantity:
    """Read a quantity as JSON has it, a string or a number. Raises QuantityError."""
    return _parse(text if isinstance(text, str) else repr(text))


def amount(text: Any) -> Quantity:
    """An amount that is known to be one; anything else counts as nothing."""
    try:
        return parse(text)
    except QuantityError:
        return ZERO


@lru_cache(maxsize=8192)
def _parse(text: str) -> Quantity:
    match = _PARTS.fullmatch(text)
    if not text or match is None:
        raise QuantityError(WRONG_FORMAT)
    sign, whole, fraction, suffix = match[1], match[2], match[3] or "", match[4]
    if not whole and not fraction and (suffix or match[3] is not None):
        raise QuantityError(WRONG_NUMBER)
    if suffix in _DECIMAL:
        scale, exponent, format = 10, _DECIMAL[suffix], "DecimalSI"
    elif suffix in _BINARY:
        scale, exponent, format = 2, _BINARY[suffix], "BinarySI"
    elif re.fullmatch(r"[eE][-+]?[0-9]+", suffix):
        scale, exponent, format = 10, int(suffix[1:]), "DecimalExponent"
    else:
        raise QuantityError(WRONG_SUFFIX)
    if abs(exponent) > _EXPONENT_LIMIT:
        raise QuantityError(WRONG_NUMBER)
    digits = int(whole + fraction or "0")
    if scale == 2:
        nanos = _round_up((digits << exponent) * _NANO, 10 ** len(fraction))
        nanos = min(nanos, _MAX_BINARY)
        if nanos < _NANO:
            format = "DecimalSI"
    else:
        power = 9 + exponent - len(fraction)
        nanos = digits * 10**power if power >= 0 else _round_up(digits, 10**-power)
    return Quantity(-nanos if sign == "-" else nanos, format)


@lru_cache(maxsize=8192)
def _canonical(nanos: int, format: str) -> str:
    if nanos == 0:
        return "0"
    if format == "BinarySI" and nanos % _NANO == 0 and abs(nanos) >= 1024 * _NANO:
        amount, exponent = nanos // _NANO, 0
        while amount % 1024 == 0 and exponent < 60:
            amount, exponent = amount // 1024, exponent + 10
        return f"{amount}{_BINARY_NAME.get(exponent, '')}"
    amount, exponent = nanos, -9
    largest = 18 if format != "DecimalExponent" else _EXPONENT_LIMIT
    while amount % 1000 == 0 and exponent < largest:
        amount, exponent = amount // 1000, exponent + 3
    if format == "DecimalExponent":
        return f"{amount}e{exponent}" if exponent else str(amount)
    return f"{amount}{_DECIMAL_NAME[exponent]}"


def canonical(text: str | int | float) -> str:
    """The canonical form of what a client wrote. Raises QuantityError."""
    return str(parse(text))
