"""How do objects travel as protobuf, which kubectl and controllers written in Go prefer? One generic converter.

A message is the four bytes ``k8s\\0`` and an envelope (``runtime.Unknown``) that names its kind; the field numbers
of every kind are data (``fields.json``). Objects are converted from and to what JSON would hold; a message's fields
are compiled when its kind is first seen. Decoding keeps every field that is on the wire, also empty ones: which of
them Go would print is for ``shim.api.decoding`` to say.
"""

from __future__ import annotations

import base64
import datetime
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from shim.api.meta import Object, split_api_version
from shim.api.schema import FieldFacts, Schema

MAGIC = b"k8s\0"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_META_VERSIONS = (("", ""), ("", "v1"), ("meta.k8s.io", "v1"))  # documents of discovery have none
_APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Wire = int | memoryview  # a field's value as it stands on the wire
Reader = Callable[[Any], Any]
Writer = Callable[[Any], bytes]


class ProtobufError(ValueError):
    """Bytes that are no protobuf message of the API, or an object that has no such form."""


class _Field(NamedTuple):
    name: str
    shape: str  # one, list, map, inline
    wire: int
    tag: bytes
    read: Reader
    write: Writer
    absent: bytes
    """What stands for a field that was not given: nothing for a pointer, a list or a map; else Go writes its zero."""


class Protobuf:
    """The converter for one schema; keep it, it caches what it compiles."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._fields: dict[str, dict[int, _Field]] = {}

    # --- whole objects ------------------------------------------------------------------------------------------------

    def supports(self, api_version: str, kind: str) -> bool:
        """Whether this kind has a protobuf form: what is built in and GA has, custom resources never have."""
        return self._message(api_version, kind) in self._schema.facts

    def decode(self, data: bytes) -> Object:
        """An object from its envelope. Raises ProtobufError."""
        if not data.startswith(MAGIC):
            raise ProtobufError(
                "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
            )
        if len(data) == len(MAGIC):
            raise ProtobufError("empty body")
        try:
            return self._decode(memoryview(data)[4:])
        except ProtobufError:
            raise
        except (IndexError, TypeError, ValueError, OverflowError, RecursionError, struct.error) as error:
            raise ProtobufError("unexpected EOF") from error  # cut off, or a field with another type's bytes

    def _decode(self, data: memoryview) -> Object:
        kind = api_version = content_type = ""
        raw = memoryview(b"")
        for number, value in _read(data):
            if number == 1 and isinstance(value, memoryview):
                for inner, text in _read(value):
                    if inner == 1:
                        api_version = _text(text)
                    elif inner == 2:
                        kind = _text(text)
            elif number == 2 and isinstance(value, memoryview):
                raw = value
            elif number == 4:
                content_type = _text(value)
        head: Object = {key: text for key, text in (("kind", kind), ("apiVersion", api_version)) if text}
        if content_type == "application/json":
            return {**head, **orjson.loads(bytes(raw))}
        name = self._message(api_version, kind)
        if name not in self._schema.facts:
            raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}"')
        return {**head, **self.read_message(name, raw)}

    def encode(self, obj: Object) -> bytes:
        """An object in its envelope. Raises ProtobufError when its kind has no protobuf form."""
        kind, api_version = obj.get("kind") or "", obj.get("apiVersion") or ""
        name = self._message(api_version, kind)
        if name not in self._schema.facts:
            raise ProtobufError(f"object of kind {kind} does not implement the protobuf marshalling interface")
        raw = self.write_message(name, obj)
        front, back = self.envelope(api_version, kind, len(raw))
        return b"".join((front, raw, back))

    def fragment(self, api_version: str, kind: str, obj: Object) -> bytes:
        """Some of an object's fields: fragments one after the other are a message with the fields of all.

        Nothing is written for others: readers would take what comes last, and Go writes even what is empty.
        """
        return self.write_message(self._message(api_version, kind), obj, whole=False)

    def envelope(self, api_version: str, kind: str, size: int) -> tuple[bytes, bytes]:
        """What stands before and behind a message of this many bytes."""
        types = _field(b"\x0a", api_version.encode()) + _field(b"\x12", kind.encode())
        return b"".join((MAGIC, _field(b"\x0a", types), b"\x12", _varint(size))), b"\x1a\x00\x22\x00"

    def encode_event(self, type: str, obj: Object) -> bytes:
        """One frame of a watch: its length, and a WatchEvent that holds the object in its envelope."""
        event = _field(b"\x0a", type.encode()) + _field(b"\x12", _field(b"\x0a", self.encode(obj)))
        return struct.pack(">I", len(event)) + event

    def decode_event(self, frame: bytes) -> tuple[str, Object]:
        """The type and the object of a frame (without its length). Raises ProtobufError."""
        event = self.read_message(f"{_META}WatchEvent", memoryview(frame))
        return event.get("type", ""), event.get("object") or {}

    def _message(self, api_version: str, kind: str) -> str:
        group, version = split_api_version(api_version)
        name = self._schema.names.get((group, version, kind))
        return name or (f"{_META}{kind}" if (group, version) in _META_VERSIONS else "")

    # --- messages -----------------------------------------------------------------------------------------------------

    def read_message(self, name: str, data: memoryview) -> Object:
        """A message's fields by their JSON names."""
        fields, found = self.fields(name), {}
        for number, value in _read(data):
            field = fields.get(number)
            if field is None:
                continue  # a newer client's
            shape = field.shape
            if shape == "one":
                item = field.read(value)
                if item is not None:
                    found[field.name] = item
            elif shape == "list":
                items = found.setdefault(field.name, [])
                if field.wire != _BYTES and isinstance(value, memoryview):  # packed
                    items += map(field.read, _varints(value))
                else:
                    items.append(field.read(value))
            elif shape == "map":
                key, item = "", None
                for inner, part in _read(value):  # type: ignore[arg-type]  # a map's entries are bytes
                    if inner == 1:
                        key = _text(part)
                    elif inner == 2:
                        item = field.read(part)
                found.setdefault(field.name, {})[key] = field.read(memoryview(b"")) if item is None else item
            else:
                found.update(field.read(value))
        return found

    def write_message(self, name: str, obj: Object, *, whole: bool = True) -> bytes:
        """A message's bytes, as Go would write them of the same struct; else only of what is there."""
        parts: list[bytes] = []
        for field in self.fields(name).values():
            if field.shape == "inline":
                parts.append(_field(field.tag, field.write(obj)))
                continue
            value = obj.get(field.name)
            if value is None:
                if whole:
                    parts.append(field.absent)
            elif field.shape == "one":
                parts.append(_wire(field, value))
            elif field.shape == "list":
                parts += [_wire(field, item) for item in value]
            else:
                for key, item in sorted(value.items()):
                    entry = _field(b"\x0a", key.encode())
                    if item is not None:
                        entry += _wire(field._replace(tag=b"\x12" if field.wire == _BYTES else b"\x10"), item)
                    parts.append(_field(field.tag, entry))
        return b"".join(parts)

    def fields(self, name: str) -> dict[int, _Field]:
        """A message's fields by number."""
        fields = self._fields.get(name)
        if fields is None:
            compiled = [(facts.number, self._compile(facts)) for facts in self._schema.facts[name]]
            fields = self._fields[name] = dict(sorted(compiled, key=lambda pair: pair[0]))
        return fields

    def _compile(self, facts: FieldFacts) -> _Field:
        text = facts.type.partition("=")[0].lstrip("*")
        shape = "inline" if "i" in facts.flags else "one"
        if text.startswith("[]"):
            shape, text = "list", text[2:]
        elif text.startswith("map:"):
            shape, text = "map", text[4:]
        wire, read, write = self._converter(text)
        tag_wire = _BYTES if shape in ("map", "inline") else wire
        field = _Field(facts.name, shape, wire, _varint(facts.number << 3 | tag_wire), read, write, b"")
        if shape != "one" or facts.type.startswith("*") or text in _NEVER_ZERO:
            return field
        return field._replace(absent=_field(field.tag, b"") if text in _EMPTY else _wire(field, _ZEROS.get(text, {})))

    def _converter(self, type: str) -> tuple[int, Reader, Writer]:
        if type in _SCALARS:
            return _SCALARS[type]
        if type == "Raw":
            return _BYTES, self._read_raw, lambda value: _field(b"\x0a", orjson.dumps(value))
        if type in ("JSON", "FieldsV1"):
            return _BYTES, _read_json, lambda value: _field(b"\x0a", orjson.dumps(value))
        if type.startswith(f"{_APIEXTENSIONS}JSONSchemaPropsOr"):
            return _BYTES, lambda data: self._read_either(type, data), lambda value: self._write_either(type, value)
        return _BYTES, lambda data: self.read_message(type, data), lambda value: self.write_message(type, value)

    def _read_raw(self, data: memoryview) -> Any:
        for number, value in _read(data):
            if number == 1:
                raw = bytes(value)
                return self.decode(raw) if raw.startswith(MAGIC) else orjson.loads(raw or b"null")
        return None

    def _read_either(self, type: str, data: memoryview) -> Any:
        """JSONSchemaProps or an array of them, a bool, or strings."""
        found = self.read_message(type, data)
        if found.get("schema") is not None:
            return found["schema"]
        return found.get("allows", False) if type.endswith("Bool") else found.get("jSONSchemas", found.get("property"))

    def _write_either(self, type: str, value: Any) -> bytes:
        if isinstance(value, bool):
            return self.write_message(type, {"allows": value})
        if isinstance(value, dict):
            return self.write_message(type, {"allows": True, "schema": value})
        return self.write_message(type, {"jSONSchemas": value} if type.endswith("OrArray") else {"property": value})


# --- the wire --------------------------------------------------------------------------------------------------------


def _read(data: memoryview) -> list[tuple[int, Wire]]:
    """The fields of a message in the order they stand: (number, value). Raises IndexError where it is cut off."""
    found: list[tuple[int, Wire]] = []
    position, end = 0, len(data)
    while position < end:
        tag, position = _read_varint(data, position)
        wire = tag & 7
        if wire == _BYTES:
            size, position = _read_varint(data, position)
            if position + size > end:
                raise IndexError(position)
            found.append((tag >> 3, data[position : position + size]))
            position += size
        elif wire == _VARINT:
            value, position = _read_varint(data, position)
            found.append((tag >> 3, value))
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
            if position + size > end:
                raise IndexError(position)
            found.append((tag >> 3, data[position : position + size]))
            position += size
        else:
            raise ProtobufError(f"proto: illegal wireType {wire}")
    return found


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    byte: int = data[position]
    position += 1
    if byte < 0x80:
        return byte, position
    value, shift = byte & 0x7F, 7
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift > 63:
            raise ProtobufError("proto: integer overflow")


def _varints(data: memoryview) -> list[int]:
    values, position = [], 0
    while position < len(data):
        value, position = _read_varint(data, position)
        values.append(value)
    return values


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF  # a negative number is written as 64 bits
    if value < 0x80:
        return bytes((value,))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _field(tag: bytes, data: bytes) -> bytes:
    return b"".join((tag, _varint(len(data)), data))


def _wire(field: _Field, value: Any) -> bytes:
    data = field.write(value)
    return _field(field.tag, data) if field.wire == _BYTES else field.tag + data


# --- values ----------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    return str(value, "utf-8")


def _signed(bits: int) -> Reader:
    def read(value: int) -> int:
        value &= (1 << bits) - 1
        return value - (1 << bits) if value >> (bits - 1) else value

    return read


def _inner(data: memoryview) -> dict[int, Any]:
    return dict(_read(data))


def _read_json(data: memoryview) -> Any:
    return orjson.loads(bytes(_inner(data).get(1, b"")) or b"null")


def _read_strings(data: memoryview) -> list[str]:
    return [_text(value) for _, value in _read(data)]


def _read_time(data: memoryview) -> str | None:
    if not len(data):
        return None  # the zero time
    return _moment(data).isoformat(timespec="seconds") + "Z"  # strftime would write the year 1 as one digit


def _read_micro_time(data: memoryview) -> str | None:
    if not len(data):
        return None
    return _moment(data).isoformat(timespec="microseconds") + "Z"


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_int64, _int32 = _signed(64), _signed(32)


def _moment(data: memoryview) -> datetime.datetime:
    """In UTC, and without saying so."""
    parts = _inner(data)
    seconds, nanos = _int64(parts.get(1, 0)), _int32(parts.get(2, 0))
    return _EPOCH.replace(tzinfo=None) + datetime.timedelta(seconds=seconds, microseconds=nanos // 1000)


def _write_time(text: str) -> bytes:
    since = datetime.datetime.fromisoformat(text) - _EPOCH
    seconds = since.days * 86400 + since.seconds
    return b"\x08" + _varint(seconds) + b"\x10" + _varint(since.microseconds * 1000)


def _read_int_or_string(data: memoryview) -> int | str:
    parts = _inner(data)
    return _text(parts.get(3, b"")) if parts.get(1) else int(_int32(parts.get(2, 0)))


def _write_int_or_string(value: int | str) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + _field(b"\x1a", value.encode())
    return b"\x08\x00\x10" + _varint(value) + b"\x1a\x00"


def _read_double(data: memoryview) -> float | int:
    (value,) = struct.unpack("<d", data)
    return int(value) if value.is_integer() and abs(value) < 2**53 else float(value)  # as Go prints it


def _read_quantity(data: memoryview) -> str:
    return _text(_inner(data).get(1, b"")) or "0"


_SCALARS: dict[str, tuple[int, Reader, Writer]] = {
    "string": (_BYTES, _text, lambda value: value.encode()),
    "bytes": (_BYTES, lambda data: base64.b64encode(data).decode(), base64.b64decode),
    "bool": (_VARINT, bool, lambda value: b"\x01" if value else b"\x00"),
    "int32": (_VARINT, _int32, _varint),
    "int64": (_VARINT, _int64, _varint),
    "float64": (
        _FIXED64,
        _read_double,
        lambda value: struct.pack("<d", value),
    ),
    "Time": (_BYTES, _read_time, _write_time),
    "MicroTime": (_BYTES, _read_micro_time, _write_time),
    "Quantity": (_BYTES, _read_quantity, lambda value: _field(b"\x0a", str(value).encode())),
    "IntOrString": (_BYTES, _read_int_or_string, _write_int_or_string),
    "Strings": (_BYTES, _read_strings, lambda value: b"".join(_field(b"\x0a", item.encode()) for item in value)),
}
_ZEROS: dict[str, Any] = {
    "string": "",
    "bool": False,
    "int32": 0,
    "int64": 0,
    "float64": 0.0,
    "Quantity": "0",
    "IntOrString": 0,
}
_EMPTY = ("Time", "MicroTime", "Raw")
"""Their zero is a message without fields."""
_NEVER_ZERO = ("bytes", "Strings")
"""Slices to Go: absent when they are empty."""
