"""What does the server make of an object a client sent? What Go would: this says what is refused, dropped and kept.

Decoding JSON into Go's structs and printing it again drops unknown fields, nulls and empty values, prints some
fields that were not given, and writes quantities and times in one form. All that happens here in one pass.
Unknown fields are reported with their paths; the first value of a wrong type gives the decoder's error, in its words.
"""

from __future__ import annotations

import binascii
import datetime
import re
from collections.abc import Callable, Collection
from typing import Any

from shim.api import quantity
from shim.api.meta import Object
from shim.api.oddities import EMPTIES, Oddity
from shim.api.schema import Decoded, Definition, Field, Inlined, Type

__all__ = ["Decoded", "check", "decode", "prune"]

_ALL = frozenset(Oddity)
_NOT_EMPTY = _ALL - EMPTIES
_Trail = tuple[Any, ...] | None  # (parent trail, step): a str is a field, an int an index, a _Key a map's key


class _Key(str):
    """A map's key: part of the path of an unknown field, but not of a type error's."""

    __slots__ = ()


class _Abort(Exception):
    """A value that ends decoding at once, as an error of a type's own decoder does in Go."""


def decode(definition: Definition, obj: Any, odd: set[Oddity] | None = None) -> Decoded:
    """Decode a whole object. The result shares no containers with ``obj``, except below free-form fields.

    With ``odd``, what is empty but seen by some is kept, and what there was that is never stored is added to ``odd``:
    the caller must :func:`prune` the object then.
    """
    return _decoded(definition, obj, _Decoder(_NOT_EMPTY) if odd is None else _Decoder(_ALL, odd))


def _decoded(definition: Definition, obj: Any, decoder: _Decoder) -> Decoded:
    if definition.decoder is not None:
        return definition.decoder(obj)
    try:
        decoded = decoder.value(definition.type, obj, None, "")
    except _Abort as abort:
        return Decoded({}, decoder.unknown, str(abort))
    return Decoded(decoded if isinstance(decoded, dict) else {}, decoder.unknown, decoder.error)


def check(definition: Definition, obj: Any) -> tuple[list[str], list[str]]:
    """Paths of unknown fields, and the type error, if there is one."""
    _, unknown, error = decode(definition, obj)
    return unknown, [error] if error else []


def prune(definition: Definition, obj: Object, keep: Collection[Oddity] = (), old: Object | None = None) -> Object:
    """A copy as Go would print it, but for what is kept; what is of a wrong type is left out.

    Of what an update has that is empty, only what was not so in ``old``: where there was nothing, it is no change.
    """
    return _decoded(definition, obj, _Decoder(keep, old=old)).obj


class _Decoder:
    def __init__(
        self, keep: Collection[Oddity] = (), odd: set[Oddity] | None = None, old: Object | None = None
    ) -> None:
        self.keep, self.odd, self.old = keep, set() if odd is None else odd, old
        self.unknown: list[str] = []
        self.error: str | None = None

    def value(self, type: Type, value: Any, trail: _Trail, struct: str) -> Any:
        """The value as Go would print it; None where nothing came of it. ``struct`` is the nearest one's name."""
        kind = type.kind
        if kind == "string":
            if value.__class__ is str:
                return value
        elif kind == "struct":
            assert type.definition is not None
            if value.__class__ is dict:
                return self.struct(type.definition, value, trail)
        elif kind == "list":
            assert type.element is not None
            if value.__class__ is list:
                return self.list(type.element, value, trail, struct)
        elif kind == "map":
            assert type.element is not None
            if value.__class__ is dict:
                return self.map(type.element, value, trail, struct)
        elif kind == "bool":
            if value.__class__ is bool:
                return value
        elif kind == "int32" or kind == "int64":
            if value.__class__ is int:
                limit = 1 << (31 if kind == "int32" else 63)
                if -limit <= value < limit:
                    return value
        elif kind == "float64":
            if value.__class__ is int or value.__class__ is float:
                return value
        elif kind in _DECODERS:
            return _DECODERS[kind](self, type, value, trail, struct)
        else:
            return value
        return self.mismatch(type.go, value, trail, struct)

    def struct(self, definition: Definition, value: Object, trail: _Trail) -> Object | None:
        fields, decoded, struct = definition.fields, {}, definition.struct
        for name, item in value.items():
            field = fields.get(name)
            if field is None:
                if definition.open:
                    decoded[name] = item
                else:
                    self.unknown.append(_path((trail, name)))
                continue
            if item is None:
                continue
            new = self.value(field.type, item, (trail, field.step or name), struct)
            if new is None or (field.omit_empty and not new and not self.is_kept(field.odd, (trail, name))):
                continue
            decoded[name] = new
        if definition.alpha and self.without_alpha(definition, decoded):
            return None
        for field in definition.always:
            if field.name not in decoded:
                decoded[field.name] = self.empty(field)
        return decoded

    def is_kept(self, odd: Oddity | None, trail: _Trail) -> bool:
        if odd is None or odd not in self.keep:
            return False
        if odd is Oddity.TOLD and self.old is not None and not _value_at(self.old, trail):
            return False
        self.odd.add(odd)
        return True

    def without_alpha(self, definition: Definition, decoded: Object) -> bool:
        """Take out fields of features that are off, unless they are kept; whether nothing else was there."""
        found = [name for name in definition.alpha if name in decoded]
        if not found or self.is_kept(Oddity.ALPHA, None):
            return False
        for name in found:
            del decoded[name]
        return not decoded

    def list(self, element: Type, value: list[Any], trail: _Trail, struct: str) -> list[Any]:
        if element.kind == "string" and all(item.__class__ is str for item in value):
            return value[:]
        return [
            self.value(element, item, (trail, index), struct) if item is not None else self.zero(element)
            for index, item in enumerate(value)
        ]

    def map(self, element: Type, value: dict[str, Any], trail: _Trail, struct: str) -> dict[str, Any]:
        if element.kind == "string" and all(item.__class__ is str for item in value.values()):
            return value.copy()
        return {
            key: self.value(element, item, (trail, _Key(key)), struct) if item is not None else self.zero(element)
            for key, item in value.items()
        }

    def empty(self, field: Field) -> Any:
        """What is printed for a field that was not given."""
        return None if field.pointer or field.type.kind in ("list", "map", "bytes") else self.zero(field.type)

    def zero(self, type: Type) -> Any:
        if type.kind == "struct":
            assert type.definition is not None
            return self.struct(type.definition, {}, None)
        return _ZEROS.get(type.kind)

    # --- types with a form of their own -------------------------------------------------------------------------------

    def bytes(self, type: Type, value: Any, trail: _Trail, struct: str) -> Any:
        if value.__class__ is not str:
            return self.mismatch(type.go, value, trail, struct)
        text = value.replace("\r", "").replace("\n", "")
        try:
            if len(text) % 4:
                raise ValueError("not padded")
            binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            self.complain(f"illegal base64 data at input byte {_base64_error(value)}")
            return None
        return text

    def quantity(self, type: Type, value: Any, trail: _Trail, struct: str) -> Any:
        if value.__class__ not in (str, int, float):
            raise _Abort(quantity.WRONG_FORMAT)
        try:
            return quantity.canonical(value)
        except quantity.QuantityError as error:
            raise _Abort(str(error)) from None

    def int_or_string(self, type: Type, value: Any, trail: _Trail, struct: str) -> Any:
        if value.__class__ is str or (value.__class__ is int and -(2**31) <= value < 2**31):
            return value
        raise _Abort(_mismatch("int32", value, trail, struct))

    def time(self, type: Type, value: Any, trail: _Trail, struct: str) -> Any:
        if value.__class__ is not str:
            raise _Abort(_mismatch("string", value, trail, struct))
        return _time(value, type.kind == "MicroTime")

    def duration(self, type: Type, value: Any, trail: _Trail, struct: str) -> Any:
        if value.__class__ is not str:
            raise _Abort(_mismatch("string", value, trail, struct))
        return value

    def schema_or(self, type: Type, value: Any, trail: _Trail, struct: str) -> Any:
        """A schema, or what may stand for one: a truth, or several schemas or names."""
        assert type.element is not None
        if value.__class__ is dict:
            return self.value(type.element, value, trail, struct)
        if value.__class__ is bool and type.go.endswith("Bool"):
            return value
        if value.__class__ is list and not type.go.endswith("Bool"):
            return [item if item.__class__ is str else self.value(type.element, item, trail, struct) for item in value]
        return self.mismatch(type.go, value, trail, struct)

    # --- complaints ---------------------------------------------------------------------------------------------------

    def mismatch(self, go: str, value: Any, trail: _Trail, struct: str) -> None:
        self.complain(_mismatch(go, value, trail, struct))

    def complain(self, message: str) -> None:
        if self.error is None:
            self.error = message


_DECODERS: dict[str, Callable[[_Decoder, Type, Any, _Trail, str], Any]] = {
    "bytes": _Decoder.bytes,
    "Quantity": _Decoder.quantity,
    "IntOrString": _Decoder.int_or_string,
    "Time": _Decoder.time,
    "MicroTime": _Decoder.time,
    "Duration": _Decoder.duration,
    "SchemaOr": _Decoder.schema_or,
}
_ZEROS = {
    "string": "",
    "bytes": "",
    "bool": False,
    "int32": 0,
    "int64": 0,
    "float64": 0,
    "Quantity": "0",
    "IntOrString": 0,
    "Duration": "0s",
}


def _steps(trail: _Trail) -> list[Any]:
    steps = []
    while trail is not None:
        trail, step = trail
        steps.append(step)
    steps.reverse()
    return steps


def _value_at(obj: Any, trail: _Trail) -> Any:
    for step in _steps(trail):
        if isinstance(obj, list):
            obj = obj[step] if isinstance(step, int) and step < len(obj) else None
        else:
            obj = obj.get(step) if isinstance(obj, dict) else None
    return obj


def _path(trail: _Trail) -> str:
    """``spec.containers[0].image``."""
    text = ""
    for step in _steps(trail):
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _as_go_has_it(step: str) -> str:
    return f"{step.within}.{step}" if isinstance(step, Inlined) else step


_JSON_NAMES = {str: "string", bool: "bool", dict: "object", list: "array"}


def _mismatch(go: str, value: Any, trail: _Trail, struct: str) -> str:
    found = _JSON_NAMES.get(value.__class__, "number")
    if found == "number" and go in ("int32", "int64"):
        found = f"number {value}"  # it is a number, but not one of these
    fields = [_as_go_has_it(step) for step in _steps(trail) if step.__class__ in (str, Inlined)]
    where = f"struct field {struct}.{'.'.join(fields)}" if struct else "value"
    return f"json: cannot unmarshal {found} into Go {where} of type {go}"


def _base64_error(text: str) -> int:
    """Where Go's decoder stops: at the first character that cannot stand there, or before an unfinished group."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    position = start = count = 0  # start: of the group of four
    while position < len(text):
        char = text[position]
        position += 1
        if char in "\r\n":
            continue
        if char in alphabet:
            count += 1
            if count == 4:
                count, start = 0, position
            continue
        if char == "=" and count >= 2:
            rest = text[position:].replace("\r", "").replace("\n", "")
            if count == 2 and not rest.startswith("="):
                return len(text) if not rest else position
            return position + (1 if count == 2 else 0)
        return position - 1
    return start if count else len(text)


_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_PLAIN = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ")
_PLAIN_MICRO = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z")
_ZERO_TIME = "0001-01-01T00:00:00"
_PARTS = (
    (r"\d{4}", "2006"),
    ("-", "-"),
    (r"\d\d", "01"),
    ("-", "-"),
    (r"\d\d", "02"),
    ("T", "T"),
    (r"\d\d", "15"),
    (":", ":"),
    (r"\d\d", "04"),
    (":", ":"),
    (r"\d\d", "05"),
)
_RANGES = {"01": ("month", 1, 12), "02": ("day", 1, 31), "15": ("hour", 0, 23), "04": ("minute", 0, 59)}


def _time(text: str, micro: bool) -> str | None:
    """A time as metav1.Time and MicroTime print it: UTC, whole seconds or six decimals; Go's zero time is none."""
    if (_PLAIN_MICRO if micro else _PLAIN).fullmatch(text):
        return text if text[0] != "0" or text[:-1].removesuffix(".000000") != _ZERO_TIME else None
    layout = "2006-01-02T15:04:05.000000Z07:00" if micro else "2006-01-02T15:04:05Z07:00"
    rest = text
    parts = [*_PARTS, (r"\.\d{6}(?!\d)", ".000000") if micro else (r"(\.\d+)?", "")]
    for pattern, part in [*parts, (r"Z|[+-]\d\d:\d\d", "Z07:00")]:
        match = re.match(pattern, rest)
        if match is None:
            raise _Abort(f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{part}"')
        name, low, high = _RANGES.get(part, ("second", 0, 59) if part == "05" else ("", 0, 0))
        if name and not low <= int(match[0]) <= high:
            raise _Abort(f'parsing time "{text}": {name} out of range')
        rest = rest[match.end() :]
    if rest:
        raise _Abort(f'parsing time "{text}": extra text: "{rest}"')
    try:
        parsed = datetime.datetime.fromisoformat(text).astimezone(datetime.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise _Abort(f'parsing time "{text}": day out of range') from None
    # strftime would write the year 1 as one digit
    printed = parsed.isoformat(timespec="microseconds" if micro else "seconds") + "Z"
    return printed if parsed > datetime.datetime.min else None
