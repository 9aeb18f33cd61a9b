"""``"%s is %d".format([name, age])``: what a clause makes of a value, and of which values it can be told beforehand.

The clauses are those of CEL's extension ``strings``, version 2, which writes numbers for readers of English.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from shim.cel.standard import to_string
from shim.cel.values import CelError, Duration, Timestamp, TypeValue, name_of

_DIGITS = 6  # behind the point, where a clause does not say
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

NUMBERS = ("int", "uint")
_DOUBLES = ("double", "string")  # of texts only those that are no finite number
_SHOWN = (
    "list", "map", "int", "uint", "double", "bool", "string", "bytes", "type", "null_type",
    "google.protobuf.Timestamp", "google.protobuf.Duration",
)  # fmt: skip
_HEX = "only integers, byte buffers, and strings can be formatted as hex"
TAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "s": (
        _SHOWN,
        "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and "
        "timestamps",
    ),
    "d": (NUMBERS, "decimal clause can only be used on integers"),
    "f": (_DOUBLES, "fixed-point clause can only be used on doubles"),
    "e": (_DOUBLES, "scientific clause can only be used on doubles"),
    "b": ((*NUMBERS, "bool"), "only integers and bools can be formatted as binary"),
    "x": ((*NUMBERS, "string", "bytes"), _HEX),
    "X": ((*NUMBERS, "string", "bytes"), _HEX),
    "o": (NUMBERS, "octal clause can only be used on integers"),
}
"""By clause: the types it takes, and what is said of others."""


def unfit(clause: str, kind: str) -> str:
    """What is said of a value of a type that a clause does not take."""
    return f"error during formatting: {TAKES[clause][1]}, was given {kind}"


def fill(text: str, count: int, show: Callable[[int, str, int | None], str]) -> tuple[str, int]:
    """The text with what ``show`` makes of each clause, by the place of its value; and how many there were.

    ``show`` is told the clause's letter and precision. Raises CelError for what is no clause, or has no value.
    """
    out: list[str] = []
    at = used = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char != "%":
            out.append(char)
            continue
        if text[at : at + 1] == "%":
            out.append("%")
            at += 1
            continue
        if at >= len(text):
            raise CelError("unexpected end of string")
        if used >= count:
            raise CelError(f"index {used} out of range")
        at, precision = _precision(text, at)
        clause = text[at]
        if clause not in TAKES:
            letter = clause.encode()[:1].decode("latin-1")  # upstream looks at bytes
            raise CelError(f'could not parse formatting clause: unrecognized formatting clause "{letter}"')
        out.append(show(used, clause, precision))
        at, used = at + 1, used + 1
    return "".join(out), used


def _precision(text: str, at: int) -> tuple[int, int | None]:
    """Behind the precision of a clause, and what it is."""
    if text[at] != ".":
        return at, None
    end = at + 1
    while end < len(text) and text[end] in "0123456789":
        end += 1
    wrong = "could not parse formatting clause: error while parsing precision"
    if end == len(text):
        raise CelError(f"{wrong}: could not find end of precision specifier")
    digits = text[at + 1 : end]
    if not digits:
        why = 'strconv.Atoi: parsing "": invalid syntax'
        raise CelError(f"{wrong}: error while converting precision to integer: {why}")
    return end, int(digits)


def formatted(text: str, args: list[Any]) -> str:
    """Raises CelError."""
    return fill(text, len(args), lambda place, clause, precision: _clause(clause, args[place], precision))[0]


def _clause(clause: str, value: Any, precision: int | None) -> str:
    kind = name_of(value)
    if kind not in TAKES[clause][0] or (clause in "ef" and kind == "string" and value not in _NOT_FINITE):
        raise CelError(unfit(clause, kind))
    if clause == "s":
        return _shown(value)
    if clause == "d":
        return str(int(value))
    if clause in "ef":
        return _number(clause, float(value), _DIGITS if precision is None else precision)
    if isinstance(value, str | bytes):
        digits = (value.encode() if isinstance(value, str) else value).hex()
        return digits.upper() if clause == "X" else digits
    return f"{int(value):{clause}}"


def _number(clause: str, value: float, precision: int) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if clause == "f":
        return f"{value:,.{precision}f}"
    mantissa, _, exponent = f"{value:.{_DIGITS}e}".partition("e")  # whatever the clause asks for: so upstream
    return f"{mantissa}×10{exponent.removeprefix('+').translate(_RAISED)}"


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, TypeValue):
        return value.name
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        entries = sorted((_literal(key), _literal(each)) for key, each in value.items())
        return f"{{{', '.join(f'{key}:{each}' for key, each in entries)}}}"
    if name_of(value) not in _SHOWN:
        raise CelError(unfit("s", name_of(value)))
    return to_string(value)


def _literal(value: Any) -> str:
    """A value inside a list or a map, as an expression would write it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bytes):
        return f"b{json.dumps(to_string(value), ensure_ascii=False)}"
    if isinstance(value, float):
        return f"{value:.{_DIGITS}f}" if math.isfinite(value) else json.dumps(to_string(value))
    if isinstance(value, Timestamp):
        return f"timestamp({json.dumps(str(value))})"
    if isinstance(value, Duration):
        return f"duration({json.dumps(str(value))})"
    return _shown(value)
