"""The values expressions work with. What JSON has is itself: None, bool, int, float, str, list and dict.

Everything else that CEL knows is a class here: unsigned numbers, times and durations to the nanosecond, optionals,
types; and lists that a schema calls a set or a map, which are equal in any order and join by key.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

SECOND = 10**9
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MAX_DURATION = 2**63 - 1
_FIRST, _LAST = -62135596800, 253402300799  # seconds of the years 1 and 9999


class CelError(Exception):
    """An expression that has no value for what it was given; the text is upstream's."""


class UInt(int):
    """An unsigned number of 64 bits."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    nanos: int

    def __str__(self) -> str:
        """As CEL prints one: ``90s``, ``1.5s``."""
        sign, nanos = ("-", -self.nanos) if self.nanos < 0 else ("", self.nanos)
        whole, rest = divmod(nanos, SECOND)
        return f"{sign}{whole}" + (f".{rest:09}".rstrip("0") if rest else "") + "s"


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    nanos: int  # since 1970
    offset: int = field(default=0, compare=False)
    """Minutes that the clock it was read from is ahead of UTC; it is printed as that has it."""

    def __str__(self) -> str:
        whole, rest = divmod(self.nanos, SECOND)
        moment = _EPOCH + datetime.timedelta(seconds=whole, minutes=self.offset)
        fraction = f".{rest:09}".rstrip("0") if rest else ""
        hours, minutes = divmod(abs(self.offset), 60)
        zone = f"{'-' if self.offset < 0 else '+'}{hours:02}:{minutes:02}" if self.offset else "Z"
        return f"{moment.year:04}-{moment:%m-%dT%H:%M:%S}{fraction}{zone}"

    def moment(self) -> datetime.datetime:
        return _EPOCH + datetime.timedelta(microseconds=self.nanos // 1000)


@dataclass(frozen=True, slots=True)
class Optional:
    """A value that may be missing; see ``NONE``."""

    present: bool
    held: Any = None


NONE = Optional(False)


@dataclass(frozen=True, slots=True)
class TypeValue:
    """What ``type(x)`` is."""

    name: str


class Opaque:
    """A value of a library's own: expressions hand it on and call its methods. ``TYPE`` is its name."""

    TYPE = ""
    __slots__ = ()


class SetList(list[Any]):
    """A list that a schema calls a set: equal in any order, and what is joined to it is added once."""

    __slots__ = ()

    def joined(self, other: Iterable[Any]) -> SetList:
        new = SetList(self)
        new += [item for item in other if not any(equal(item, known) for known in self)]
        return new


class MapList(list[Any]):
    """A list whose items have keys; what is joined to it replaces the item of the same key."""

    __slots__ = ("keys",)

    def __init__(self, items: Iterable[Any], keys: tuple[str, ...]) -> None:
        super().__init__(items)
        self.keys = keys

    def key(self, item: Any) -> tuple[Any, ...]:
        return tuple(item.get(name) if isinstance(item, dict) else None for name in self.keys)

    def joined(self, other: Iterable[Any]) -> MapList:
        at = {self.key(item): index for index, item in enumerate(self)}
        new = MapList(self, self.keys)
        for item in other:
            index = at.get(self.key(item))
            if index is None:
                at[self.key(item)] = len(new)
                new.append(item)
            else:
                new[index] = item
        return new


# --- what a value is --------------------------------------------------------------------------------------------------

_NAMES: dict[type, str] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    SetList: "list",
    MapList: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    Optional: "optional_type",
    TypeValue: "type",
}


def name_of(value: Any) -> str:
    """The name of a value's type."""
    found = _NAMES.get(value.__class__)
    if found is not None:
        return found
    return str(getattr(value, "TYPE", "")) or ("map" if isinstance(value, dict) else value.__class__.__name__)


def register(cls: type, name: str) -> None:
    """Name the type of a class that other modules own."""
    _NAMES[cls] = name


_NUMBERS = frozenset((int, UInt, float))


def equal(left: Any, right: Any) -> bool:
    """CEL's equality: numbers by value whatever their type, everything else only within its type."""
    one, other = left.__class__, right.__class__
    if one in _NUMBERS:
        if one is not other and float in (one, other):
            return other in _NUMBERS and float(left) == float(right)
        return other in _NUMBERS and bool(left == right)
    if isinstance(left, list):
        if not isinstance(right, list) or len(left) != len(right):
            return False
        if isinstance(left, MapList):
            by_key = {left.key(item): item for item in right}
            return all(left.key(item) in by_key and equal(item, by_key[left.key(item)]) for item in left)
        if isinstance(left, SetList):
            return all(any(equal(item, each) for each in right) for item in left)
        return all(equal(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict):
        if not isinstance(right, dict) or len(left) != len(right):
            return False
        return all(key in right and equal(value, right[key]) for key, value in left.items())
    if one is Optional and other is Optional:
        return left.present == right.present and (not left.present or equal(left.held, right.held))
    return one is other and bool(left == right)


def compare(left: Any, right: Any) -> int:
    """Below, at or above zero. Raises CelError for what has no order."""
    one, other = left.__class__, right.__class__
    if one in _NUMBERS and other in _NUMBERS:
        if (one is float and math.isnan(left)) or (other is float and math.isnan(right)):
            raise CelError("NaN values cannot be ordered")
        if one is not other and float in (one, other):
            left, right = float(left), float(right)  # which is not exact, but what upstream does
        return int(left > right) - int(left < right)
    if one is other and one in _ORDERED:
        if one is str:
            left, right = left.encode(), right.encode()
        return int(left > right) - int(left < right)
    raise CelError("no such overload")


def holds(entries: dict[Any, Any], key: Any) -> bool:
    """Whether a map has a key. To Python, true is 1."""
    if key not in entries:
        return False
    if key.__class__ is str or (key not in (0, 1)):
        return True
    is_bool = key.__class__ is bool
    return any(each == key and (each.__class__ is bool) is is_bool for each in entries)


_ORDERED = frozenset((str, bytes, bool, Timestamp, Duration))


def checked_int(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise CelError("integer overflow")
    return value


def checked_uint(value: int) -> UInt:
    if not 0 <= value < 2**64:
        raise CelError("unsigned integer overflow")
    return UInt(value)


def checked_duration(nanos: int) -> Duration:
    if abs(nanos) > _MAX_DURATION:
        raise CelError("integer overflow")
    return Duration(nanos)


def checked_timestamp(nanos: int, offset: int = 0) -> Timestamp:
    if not _FIRST <= nanos // SECOND <= _LAST:
        raise CelError("timestamp overflow")
    return Timestamp(nanos, offset)


# --- times as texts ---------------------------------------------------------------------------------------------------

_UNITS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND,
}  # fmt: skip
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"[+-]?(?:0|(?:{_PART.pattern})+)")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)")


def parse_duration(text: str) -> Duration:
    """Go's notation: ``1h30m``, ``-1.5s``. Raises ValueError."""
    if not _DURATION.fullmatch(text):
        raise ValueError(text)
    total = 0
    for number, unit in _PART.findall(text):
        whole, _, fraction = number.partition(".")
        scale = _UNITS[unit]
        total += int(whole or 0) * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)
    total = -total if text.startswith("-") else total
    if abs(total) > _MAX_DURATION:
        raise ValueError(text)
    return Duration(total)


def parse_timestamp(text: str) -> Timestamp:
    """RFC 3339. Raises ValueError."""
    match = _RFC3339.fullmatch(text)
    if not match:
        raise ValueError(text)
    date, clock, fraction, zone = match.groups()
    moment = datetime.datetime.fromisoformat(f"{date}T{clock}{'+00:00' if zone in 'Zz' else zone}")
    since, ahead = moment - _EPOCH, moment.utcoffset() or datetime.timedelta()
    nanos = (since.days * 86400 + since.seconds) * SECOND + int((fraction or "0")[:9].ljust(9, "0"))
    return Timestamp(nanos, int(ahead.total_seconds()) // 60)


def size(value: Any) -> int:
    """The size of a value as costs count it: 1 of what has none."""
    if isinstance(value, str | bytes | list | dict):
        return len(value)
    if value.__class__ is Optional and value.present:
        return size(value.held)
    measure: Callable[[], int] | None = getattr(value, "size", None)
    return measure() if measure else 1


def quoted(value: Any) -> str:
    """A value as error messages show it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
