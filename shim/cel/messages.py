"""Messages of protobuf that expressions may write, and what they are worth: ``google.protobuf.Int64Value{value: 1}``.

There is no protobuf here: a wrapper is what it wraps, ``Struct`` a map, ``Timestamp`` a time.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from shim.cel import types as t
from shim.cel.types import Field, Type
from shim.cel.values import SECOND, CelError, UInt, checked_duration, checked_timestamp

_PREFIX = "google.protobuf."
_VALUES = ("number_value", "string_value", "bool_value", "struct_value", "list_value")


class Message(NamedTuple):
    fields: Mapping[str, Field]
    type: Type
    """Of what it is worth."""
    make: Callable[[Mapping[str, Any]], Any]
    """What it is worth, of the fields that are given. Raises CelError."""


def _wrapper(type: Type, default: Any, lowest: float = 0, highest: float = 0) -> Message:
    """``lowest`` and ``highest``: of numbers of fewer bits than the language's."""

    def make(given: Mapping[str, Any]) -> Any:
        value = given.get("value", default)
        if highest and not lowest <= value <= highest:
            raise CelError("integer overflow" if lowest else "unsigned integer overflow")
        return value

    return Message({"value": Field(type, "value")}, t.DYN, make)


def _single(given: Mapping[str, Any]) -> float:
    """As near as 32 bits come."""
    value = given.get("value", 0.0)
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _clock(given: Mapping[str, Any]) -> int:
    return int(given.get("seconds", 0)) * SECOND + int(given.get("nanos", 0))


def _fields(**fields: Type) -> Mapping[str, Field]:
    return {name: Field(type, name) for name, type in fields.items()}


_TIME = _fields(seconds=t.INT, nanos=t.INT)
_MAP, _LIST = t.map_of(t.STRING, t.DYN), t.list_of(t.DYN)
_VALUE = _fields(
    null_value=t.DYN, number_value=t.DOUBLE, string_value=t.STRING, bool_value=t.BOOL, struct_value=_MAP,
    list_value=_LIST,
)  # fmt: skip
MESSAGES: Mapping[str, Message] = {
    f"{_PREFIX}BoolValue": _wrapper(t.BOOL, False),
    f"{_PREFIX}BytesValue": _wrapper(t.BYTES, b""),
    f"{_PREFIX}DoubleValue": _wrapper(t.DOUBLE, 0.0),
    f"{_PREFIX}FloatValue": Message({"value": Field(t.DOUBLE, "value")}, t.DYN, _single),
    f"{_PREFIX}Int32Value": _wrapper(t.INT, 0, -(2**31), 2**31 - 1),
    f"{_PREFIX}Int64Value": _wrapper(t.INT, 0),
    f"{_PREFIX}StringValue": _wrapper(t.STRING, ""),
    f"{_PREFIX}UInt32Value": _wrapper(t.UINT, UInt(0), 0, 2**32 - 1),
    f"{_PREFIX}UInt64Value": _wrapper(t.UINT, UInt(0)),
    f"{_PREFIX}Duration": Message(_TIME, t.DURATION, lambda given: checked_duration(_clock(given))),
    f"{_PREFIX}Timestamp": Message(_TIME, t.TIMESTAMP, lambda given: checked_timestamp(_clock(given))),
    f"{_PREFIX}Struct": Message(_fields(fields=_MAP), _MAP, lambda given: given.get("fields", {})),
    f"{_PREFIX}ListValue": Message(_fields(values=_LIST), _LIST, lambda given: given.get("values", [])),
    f"{_PREFIX}Value": Message(
        _VALUE, t.DYN, lambda given: next((given[name] for name in _VALUES if name in given), None)
    ),
}
