"""Bytes to objects and back, whichever media type a client speaks: JSON, YAML or protobuf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from shim.api.meta import Object
from shim.api.schema import Schema
from shim.codec import jsontext, yamltext
from shim.codec.protobuf import Protobuf, ProtobufError

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"

_TYPE_META = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'


class MediaError(ValueError):
    """Bytes that are not what they are said to be; the text is upstream's, before it says what was expected."""


class NoSuchForm(ValueError):
    """This object cannot be written in that media type."""


def decode(media: str, data: bytes, schema: Schema) -> Object:
    """An object as it was sent, unchecked. Raises MediaError."""
    if media == PROTOBUF:
        try:
            return protobuf(schema).decode(data)
        except ProtobufError as error:
            raise MediaError(str(error)) from error
    try:
        found = jsontext.loads(data) if media == JSON else yamltext.loads(data)
    except jsontext.JSONError as error:
        raise MediaError(_json_error(str(error))) from error
    except yamltext.YAMLError as error:
        raise MediaError(str(error)) from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise MediaError(_json_error(f"json: cannot unmarshal {_name(found)} into Go value of type {_TYPE_META}"))
    for field in ("apiVersion", "kind"):
        if not isinstance(found.get(field) or "", str):
            text = f"json: cannot unmarshal {_name(found[field])} into Go struct field .{field} of type string"
            raise MediaError(_json_error(text))
    return found


def strict_errors(media: str, data: bytes, unknown: Sequence[str] = (), *, in_order: bool = True) -> list[str]:
    """What a strict decoder says: ``duplicate field "metadata.name"``, ``unknown field "spec.x"``.

    Costs a second reading. Unknown fields are told of in the order of the text where whoever decodes knows them then
    (``in_order``), otherwise after all that is wrong with the text itself.
    """
    if media == JSON and in_order:
        return jsontext.complaints(data, unknown)
    found = [f'duplicate field "{path}"' for path in jsontext.duplicates(data)] if media == JSON else []
    found += yamltext.strict_errors(data) if media == YAML else []
    return found + [f'unknown field "{path}"' for path in unknown]


def encode(media: str, obj: Object | bytes, schema: Schema) -> bytes:
    """An object, or the JSON bytes of one, in a media type. Raises NoSuchForm."""
    if media == JSON:
        return obj if isinstance(obj, bytes) else orjson.dumps(obj)
    document: Object = orjson.loads(obj) if isinstance(obj, bytes) else obj
    if media == YAML:
        return yamltext.dumps(document)
    try:
        return protobuf(schema).encode(document)
    except ProtobufError as error:
        raise NoSuchForm(str(error)) from error


def encode_event(media: str, type: str, obj: Object | bytes, schema: Schema) -> bytes:
    """One event of a watch: a line of JSON, a YAML document, or a frame of protobuf. Raises NoSuchForm."""
    if media == JSON:
        return b'{"type":"%b","object":%b}\n' % (type.encode(), encode(JSON, obj, schema))
    document: Object = orjson.loads(obj) if isinstance(obj, bytes) else obj
    if media == YAML:
        return b"---\n" + yamltext.dumps({"type": type, "object": document})
    try:
        return protobuf(schema).encode_event(type, document)
    except ProtobufError as error:
        raise NoSuchForm(str(error)) from error


def summarize(data: bytes) -> str:
    """The beginning of a body, as upstream quotes it after an error."""
    if not data:
        return "<empty>"
    shown = data[:30].decode(errors="replace") if data.startswith(b"{") else data[:30].hex()
    return f"{shown} ..." if len(data) > 30 else shown


def protobuf(schema: Schema) -> Protobuf:
    """The schema's converter; one for each schema."""
    found = _CONVERTERS.get(id(schema))
    if found is None:
        found = _CONVERTERS[id(schema)] = Protobuf(schema)
    return found


_CONVERTERS: dict[int, Protobuf] = {}


def _json_error(text: str) -> str:
    return f"couldn't get version/kind; json parse error: {text}"


def _name(value: Any) -> str:
    names: dict[type, str] = {str: "string", bool: "bool", list: "array", dict: "object"}
    return names.get(type(value), "number")
