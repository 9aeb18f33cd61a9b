"""JSON, YAML and protobuf: bytes to objects and back. The one place that knows which codec does which."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson
import yaml

from shim.api.meta import Object
from shim.api.schema import Schema
from shim.codec.protobuf import Protobuf, ProtobufError
from shim.server import errors
from shim.server.negotiation import JSON, PROTOBUF, YAML


class FormatError(ValueError):
    """The bytes are not of their format; the text is the decoder's."""


def decode(media: str, data: bytes, schema: Schema) -> Object:
    """Raises FormatError."""
    if media == PROTOBUF:
        try:
            return converter(schema).decode(data)
        except ProtobufError as error:
            raise FormatError(str(error)) from error
    found = decode_any(media, data)
    if not isinstance(found, dict):
        raise FormatError("json parse error: json: cannot unmarshal into Go value of type struct")
    return found


def decode_any(media: str, data: bytes) -> Any:
    """Any value in JSON or YAML. Raises FormatError."""
    try:
        return orjson.loads(data) if media == JSON else yaml.load(data, _Loader)
    except (ValueError, yaml.YAMLError) as error:
        raise FormatError(f"json parse error: {error}") from error


def duplicate_fields(media: str, data: bytes) -> list[str]:
    """Paths of fields that stand twice in an object."""
    return []


def encode(media: str, obj: Object, schema: Schema) -> bytes:
    """Raises 406 for what cannot be written in that format."""
    if media == JSON:
        return orjson.dumps(obj)
    if media == YAML:
        return yaml.safe_dump(obj, sort_keys=True, allow_unicode=True).encode()
    try:
        return converter(schema).encode(obj)
    except ProtobufError:  # custom resources have no protobuf form
        raise errors.not_acceptable(f"{JSON}, {YAML}") from None


def encode_event(media: str, type: str, obj: Object, schema: Schema) -> bytes:
    """One watch event."""
    if media == JSON:
        return orjson.dumps({"type": type, "object": obj}) + b"\n"
    if media == PROTOBUF:
        return converter(schema).encode_event(type, obj)
    return yaml.safe_dump({"type": type, "object": obj}, allow_unicode=True).encode() + b"---\n"


@lru_cache(maxsize=4)
def converter(schema: Schema) -> Protobuf:
    """The protobuf converter of a schema: it compiles what it meets, so there is one."""
    return Protobuf(schema)


class _Loader(yaml.SafeLoader):
    """Reads times as the strings they are in JSON."""


_Loader.yaml_implicit_resolvers = {
    char: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for char, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
