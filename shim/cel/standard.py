"""CEL's own functions: operators, conversions, times, optionals."""

from __future__ import annotations

import math
import zoneinfo
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from shim.api.gotext import parse_bool
from shim.cel.functions import Library, matching, shorter, traversal
from shim.cel.patterns import PatternError, pattern
from shim.cel.values import (
    NONE,
    SECOND,
    CelError,
    Duration,
    Optional,
    Timestamp,
    TypeValue,
    UInt,
    checked_duration,
    checked_int,
    checked_timestamp,
    checked_uint,
    compare,
    equal,
    holds,
    name_of,
    parse_duration,
    parse_timestamp,
    quoted,
)

LIBRARY = Library()
_function, _method, _add = LIBRARY.function, LIBRARY.method, LIBRARY.add

# --- logic and comparison: decided in shim.cel.program, declared here -------------------------------------------------


def _decided(*_: Any) -> Any:
    raise CelError("no such overload")


_add("_&&_", "bool, bool -> bool", _decided)
_add("_||_", "bool, bool -> bool", _decided)
_add("_?_:_", "bool, A, A -> A", _decided)
_add("@not_strictly_false", "bool -> bool", _decided)
_add("!_", "bool -> bool", lambda value: not value if value.__class__ is bool else _decided())
_add("_==_", "A, A -> bool", equal, cost=shorter)
_add("_!=_", "A, A -> bool", lambda left, right: not equal(left, right), cost=shorter)

_ORDERED = ("bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration")
_NUMERIC = ("int", "uint", "double")
_PAIRS = [(kind, kind) for kind in _ORDERED] + [(a, b) for a in _NUMERIC for b in _NUMERIC if a != b]
for _left, _right in _PAIRS:
    _cost = shorter if _left in ("string", "bytes") else None
    _signature = f"{_left}, {_right} -> bool"
    _add("_<_", _signature, lambda a, b: compare(a, b) < 0, cost=_cost)
    _add("_<=_", _signature, lambda a, b: compare(a, b) <= 0, cost=_cost)
    _add("_>_", _signature, lambda a, b: compare(a, b) > 0, cost=_cost)
    _add("_>=_", _signature, lambda a, b: compare(a, b) >= 0, cost=_cost)


# --- arithmetic -------------------------------------------------------------------------------------------------------


def _divide(left: int, right: int) -> int:
    if right == 0:
        raise CelError("division by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _modulus(left: int, right: int) -> int:
    if right == 0:
        raise CelError("modulus by zero")
    return int(math.copysign(1, left)) * (abs(left) % abs(right))


def _float_divide(left: float, right: float) -> float:
    if right == 0:
        return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1, right)
    return left / right


_add("_+_", "int, int -> int", lambda a, b: checked_int(a + b))
_add("_-_", "int, int -> int", lambda a, b: checked_int(a - b))
_add("_*_", "int, int -> int", lambda a, b: checked_int(a * b))
_add("_/_", "int, int -> int", lambda a, b: checked_int(_divide(a, b)))
_add("_%_", "int, int -> int", _modulus)
_add("_+_", "uint, uint -> uint", lambda a, b: checked_uint(int(a) + int(b)))
_add("_-_", "uint, uint -> uint", lambda a, b: checked_uint(int(a) - int(b)))
_add("_*_", "uint, uint -> uint", lambda a, b: checked_uint(int(a) * int(b)))
_add("_/_", "uint, uint -> uint", lambda a, b: UInt(_divide(a, b)))
_add("_%_", "uint, uint -> uint", lambda a, b: UInt(_modulus(a, b)))
_add("_+_", "double, double -> double", lambda a, b: a + b)
_add("_-_", "double, double -> double", lambda a, b: a - b)
_add("_*_", "double, double -> double", lambda a, b: a * b)
_add("_/_", "double, double -> double", _float_divide)
_add("-_", "int -> int", lambda a: checked_int(-a))
_add("-_", "double -> double", lambda a: -a)
_add("_+_", "string, string -> string", lambda a, b: a + b, cost=traversal(0, 1))
_add("_+_", "bytes, bytes -> bytes", lambda a, b: a + b, cost=traversal(0, 1))
_add("_+_", "duration, duration -> duration", lambda a, b: checked_duration(a.nanos + b.nanos))
_add("_+_", "timestamp, duration -> timestamp", lambda a, b: checked_timestamp(a.nanos + b.nanos, a.offset))
_add("_+_", "duration, timestamp -> timestamp", lambda a, b: checked_timestamp(a.nanos + b.nanos, b.offset))
_add("_-_", "duration, duration -> duration", lambda a, b: checked_duration(a.nanos - b.nanos))
_add("_-_", "timestamp, duration -> timestamp", lambda a, b: checked_timestamp(a.nanos - b.nanos, a.offset))
_add("_-_", "timestamp, timestamp -> duration", lambda a, b: checked_duration(a.nanos - b.nanos))


@_function("_+_", "list(A), list(A) -> list(A)")
def _concatenate(left: list[Any], right: list[Any]) -> list[Any]:
    joined = getattr(left, "joined", None)  # lists that a schema calls sets or maps
    return joined(right) if joined else [*left, *right]


# --- lists and maps ---------------------------------------------------------------------------------------------------


@_function("_[_]", "list(A), int -> A")
def _item(items: list[Any], index: Any) -> Any:
    if index.__class__ is float and index.is_integer():
        index = int(index)
    if not isinstance(index, int) or isinstance(index, bool):
        raise CelError("no such overload")
    if not 0 <= index < len(items):
        raise CelError(f"index out of bounds: {index}")
    return items[index]


@_function("_[_]", "map(A, B), A -> B")
def _entry(entries: dict[Any, Any], key: Any) -> Any:
    if not holds(entries, key):
        raise CelError(f"no such key: {quoted(key)}")
    return entries[key]


def _maybe_item(value: Any, key: Any) -> Optional:
    if isinstance(value, list):
        return Optional(True, value[key]) if isinstance(key, int) and 0 <= key < len(value) else NONE
    return Optional(True, value[key]) if isinstance(value, dict) and holds(value, key) else NONE


_add("_[?_]", "list(A), int -> optional(A)", _maybe_item)
_add("_[?_]", "map(A, B), A -> optional(B)", _maybe_item)


def _through(value: Optional, key: Any) -> Optional:
    return _maybe_item(value.held, key) if value.present else NONE


for _name in ("_[?_]", "_[_]"):
    _add(_name, "optional(list(A)), int -> optional(A)", _through)
    _add(_name, "optional(map(A, B)), A -> optional(B)", _through)


@_function("@in", "A, list(A) -> bool", cost=lambda sizes, result: sizes[1])
def _in_list(value: Any, items: list[Any]) -> bool:
    return any(equal(value, item) for item in items)


@_function("@in", "A, map(A, B) -> bool")
def _in_map(key: Any, entries: dict[Any, Any]) -> bool:
    return not isinstance(key, list | dict) and holds(entries, key)


def _insert(made: dict[Any, Any], *added: Any) -> dict[Any, Any]:
    """Of ``transformMap``: the accumulator is the macro's own, so that it may grow in place."""
    entries = {added[0]: added[1]} if len(added) == 2 else added[0]
    for key, value in entries.items():
        if key in made:
            raise CelError(f"insert failed: key {key} already exists")
        made[key] = value
    return made


_add("cel.@mapInsert", "map(A, B), A, B -> map(A, B)", _insert)
_add("cel.@mapInsert", "map(A, B), map(A, B) -> map(A, B)", _insert)
for _kind in ("string", "bytes", "list(A)", "map(A, B)"):
    _add("size", f"{_kind} -> int", len)
    _add("size", f"{_kind} -> int", len, member=True)


# --- texts ------------------------------------------------------------------------------------------------------------

_add("contains", "string, string -> bool", lambda text, part: part in text, member=True,
     cost=lambda sizes, result: traversal(0)(sizes, 0) * traversal(1)(sizes, 0))  # fmt: skip
_add("startsWith", "string, string -> bool", str.startswith, member=True, cost=traversal(0))
_add("endsWith", "string, string -> bool", str.endswith, member=True, cost=traversal(0))


def _matches(text: str, expression: str) -> bool:
    try:
        return pattern(expression).search(text) is not None
    except PatternError as error:
        raise CelError(str(error)) from None


_add("matches", "string, string -> bool", _matches, cost=matching)
_add("matches", "string, string -> bool", _matches, member=True, cost=matching)


# --- conversions ------------------------------------------------------------------------------------------------------


def _unconvertible(wanted: str) -> CelError:
    return CelError(f"type conversion error from 'string' to '{wanted}'")


def _to_int(value: Any) -> int:
    if isinstance(value, str):
        try:
            if value.strip() != value or "_" in value:
                raise ValueError
            return checked_int(int(value))
        except (ValueError, CelError):
            raise _unconvertible("int") from None
    if isinstance(value, float):
        if math.isnan(value) or not -(2.0**63) < value < 2.0**63:
            raise CelError("integer overflow")
        return int(value)
    if isinstance(value, Timestamp):
        return value.nanos // SECOND
    if isinstance(value, Duration):
        return value.nanos
    return checked_int(int(value))


def _to_uint(value: Any) -> UInt:
    if isinstance(value, str):
        try:
            if not value.isdigit():
                raise ValueError
            return checked_uint(int(value))
        except (ValueError, CelError):
            raise _unconvertible("uint") from None
    if isinstance(value, float) and (math.isnan(value) or not 0 <= value < 2.0**64):
        raise CelError("unsigned integer overflow")
    return checked_uint(int(value))


def _to_double(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        raise _unconvertible("double") from None


_PLAIN = 6  # powers of ten that are written out, upwards; Go's


def go_float(value: float) -> str:
    """A number as Go prints it."""
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    text = repr(value).removesuffix(".0")
    _, digits, exponent = Decimal(text).normalize().as_tuple()
    assert isinstance(exponent, int)
    power = len(digits) - 1 + exponent
    if value == 0 or -5 < power < _PLAIN:
        return text if "e" not in text else f"{value:f}".rstrip("0")
    fraction = "".join(map(str, digits[1:]))
    return f"{'-' if value < 0 else ''}{digits[0]}{f'.{fraction}' if fraction else ''}e{power:+03}"


def to_string(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return go_float(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise CelError("invalid UTF-8 in bytes, cannot convert to string") from None
    return str(value)


def _to_duration(value: str) -> Duration:
    try:
        return parse_duration(value)
    except ValueError:
        raise _unconvertible("google.protobuf.Duration") from None


def _to_timestamp(value: str) -> Timestamp:
    try:
        found = parse_timestamp(value)
        return checked_timestamp(found.nanos, found.offset)
    except ValueError:
        raise _unconvertible("google.protobuf.Timestamp") from None


def _to_bool(value: str) -> bool:
    found = parse_bool(value)
    if found is None:
        raise _unconvertible("bool")
    return found


for _kind in ("int", "uint", "double", "string", "timestamp", "duration"):
    _add("int", f"{_kind} -> int", _to_int)
for _kind in ("int", "uint", "double", "string"):
    _add("uint", f"{_kind} -> uint", _to_uint)
    _add("double", f"{_kind} -> double", _to_double)
for _kind in ("bool", "int", "uint", "double", "string", "timestamp", "duration"):
    _add("string", f"{_kind} -> string", to_string)
_add("string", "bytes -> string", to_string, cost=traversal(0))
_add("bytes", "bytes -> bytes", lambda value: value)
_add("bytes", "string -> bytes", lambda value: value.encode(), cost=traversal(0))
_add("bool", "bool -> bool", lambda value: value)
_add("bool", "string -> bool", _to_bool)
_add("duration", "duration -> duration", lambda value: value)
_add("duration", "string -> duration", _to_duration)
_add("duration", "int -> duration", checked_duration)
_add("timestamp", "timestamp -> timestamp", lambda value: value)
_add("timestamp", "string -> timestamp", _to_timestamp)
_add("timestamp", "int -> timestamp", lambda value: checked_timestamp(value * SECOND))
_add("dyn", "A -> dyn", lambda value: value)
_add("type", "A -> type(A)", lambda value: TypeValue(name_of(value)))


# --- times ------------------------------------------------------------------------------------------------------------


def _zone(name: str) -> Any:
    sign, text = (-1, name[1:]) if name.startswith("-") else (1, name.removeprefix("+"))
    hours, colon, minutes = text.partition(":")
    if colon and hours.isdigit() and minutes.isdigit():
        return timezone(sign * timedelta(hours=int(hours), minutes=int(minutes)))
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise CelError(f"unknown time zone {name}") from None


_OF_TIME = {
    "getFullYear": lambda moment: moment.year,
    "getMonth": lambda moment: moment.month - 1,
    "getDayOfYear": lambda moment: moment.timetuple().tm_yday - 1,
    "getDayOfMonth": lambda moment: moment.day - 1,
    "getDate": lambda moment: moment.day,
    "getDayOfWeek": lambda moment: moment.isoweekday() % 7,
    "getHours": lambda moment: moment.hour,
    "getMinutes": lambda moment: moment.minute,
    "getSeconds": lambda moment: moment.second,
    "getMilliseconds": lambda moment: moment.microsecond // 1000,
}


def _of_time(read: Any) -> Any:
    def get(when: Timestamp, zone: str = "") -> int:
        moment: datetime = when.moment()
        return int(read(moment.astimezone(_zone(zone)) if zone else moment))

    return get


for _name, _read in _OF_TIME.items():
    _add(_name, "timestamp -> int", _of_time(_read), member=True)
    _add(_name, "timestamp, string -> int", _of_time(_read), member=True)
for _name, _unit in (("getHours", 3600 * SECOND), ("getMinutes", 60 * SECOND), ("getSeconds", SECOND)):
    _add(_name, "duration -> int", lambda value, unit=_unit: _divide(value.nanos, unit), member=True)
_add("getMilliseconds", "duration -> int", lambda value: _divide(value.nanos, 10**6) % 1000, member=True)


# --- optionals --------------------------------------------------------------------------------------------------------


@_method("value", "optional(A) -> A")
def _value(optional: Optional) -> Any:
    if not optional.present:
        raise CelError("optional.none() dereference")
    return optional.held


def _zero(value: Any) -> bool:
    return value is None or value is False or value in (0, "", b"", [], {}) or value in (Duration(0), NONE)


_add("optional.of", "A -> optional(A)", lambda value: Optional(True, value))
_add("optional.ofNonZeroValue", "A -> optional(A)", lambda value: NONE if _zero(value) else Optional(True, value))
_add("optional.none", " -> optional(A)", lambda: NONE)
_add("hasValue", "optional(A) -> bool", lambda optional: optional.present, member=True)
_add("or", "optional(A), optional(A) -> optional(A)", _decided, member=True)
_add("orValue", "optional(A), A -> A", _decided, member=True)
_add("first", "list(A) -> optional(A)", lambda items: Optional(True, items[0]) if items else NONE, member=True)
_add("last", "list(A) -> optional(A)", lambda items: Optional(True, items[-1]) if items else NONE, member=True)
_add("optional.unwrap", "list(optional(A)) -> list(A)", lambda items: [each.held for each in items if each.present])
_add("unwrapOpt", "list(optional(A)) -> list(A)", lambda items: [e.held for e in items if e.present], member=True)
