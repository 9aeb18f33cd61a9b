"""Request bodies become objects, and objects answer bodies, in the three formats: JSON, YAML and protobuf.

What a body must be is known from its path, so a body of another kind is refused here, and so is what the schema
does not know: always for values of a wrong type, for unknown and duplicate fields as ``fieldValidation`` asks.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from shim.api import decoding
from shim.api.meta import Object, split_api_version
from shim.api.schema import Definition, Schema
from shim.api.status import ApiError, bad_request
from shim.codec import media
from shim.server import errors
from shim.server.negotiation import ACCEPTED, JSON, PROTOBUF, YAML
from shim.server.options import WriteOptions
from shim.server.parts import Call

LIMIT = 3 * 1024 * 1024  # upstream's limit
_SCHEME = "pkg/api/legacyscheme/scheme.go:30"  # where upstream's messages say its types are registered


@dataclass(slots=True)
class Body:
    """The bytes of a request's body and the format they are in."""

    data: bytes
    media: str

    def decode(
        self, call: Call, kind: str, api_version: str, options: WriteOptions, older: tuple[str, ...] = ()
    ) -> Object:
        """The object this body is, which must be of this kind; it may say one of the ``older`` versions, which had
        the same fields. Raises 400.
        """
        schema = call.parts.schema
        try:
            given = media.decode(self.media, self.data, schema)
        except media.MediaError as error:
            raise _unrecognized(kind, error, self.data) from error
        if given.get("apiVersion") in older:
            given["apiVersion"] = api_version
        check_kind(given, kind, api_version)
        version = split_api_version(api_version)[1]
        what = f'{kind} in version "{version}" cannot be handled as a {kind}'
        definition = definition_of(schema, kind, api_version)
        obj: Object = given
        unknown: list[str] = []
        if definition is not None:
            obj, unknown, problem = decoding.decode(definition, given)
            if problem:
                raise bad_request(f"{what}: {problem}")
        if options.validation != "Ignore":
            complaints = media.strict_errors(self.media, self.data)
            complaints += [f'unknown field "{path}"' for path in unknown]
            if complaints and options.validation == "Strict":
                raise bad_request(f"{what}: strict decoding error: {', '.join(complaints)}")
            call.warnings += complaints
        return typed(obj, given, kind, api_version)


async def read_body(call: Call, accepted: str = ACCEPTED) -> Body:
    """The body of a write. Raises 413 and 415."""
    http = call.http
    sent = content_type(http)
    if call.resource.custom and sent == PROTOBUF:
        accepted = f"{JSON}, {YAML}"
    if sent not in accepted:
        raise errors.unsupported_body(accepted)
    return Body(await _read(http), sent)


async def read_delete_options(call: Call) -> Object:
    """The DeleteOptions a DELETE may carry; an empty object when it carries none."""
    if not call.http.can_read_body:
        return {}
    data = await _read(call.http)
    if not data:
        return {}
    sent = content_type(call.http)
    if sent not in (JSON, YAML, PROTOBUF):
        raise errors.unsupported_body(ACCEPTED)
    try:
        return media.decode(sent, data, call.parts.schema)
    except media.MediaError as error:
        raise _unrecognized("DeleteOptions", error, data) from error


def content_type(http: web.BaseRequest) -> str:
    """The media type of a body; JSON where none is named."""
    return http.headers.get("Content-Type", "").partition(";")[0].strip().lower() or JSON


def _unrecognized(kind: str, error: media.MediaError, data: bytes) -> ApiError:
    quoted = media.summarize(data)
    return bad_request(f"the object provided is unrecognized (must be of type {kind}): {error} ({quoted})")


def definition_of(schema: Schema, kind: str, api_version: str) -> Definition | None:
    """The schema of a built-in kind."""
    group, version = split_api_version(api_version)
    return schema.for_kind(group, version, kind)


async def _read(http: web.BaseRequest) -> bytes:
    if (http.content_length or 0) > LIMIT:
        raise errors.too_large(LIMIT)
    try:
        return await http.read()
    except web.HTTPRequestEntityTooLarge:
        raise errors.too_large(LIMIT) from None


def check_kind(given: Object, kind: str, api_version: str) -> None:
    """A body may leave out what it is; what it says must be what the path says."""
    found_kind, found_version = given.get("kind") or kind, given.get("apiVersion") or api_version
    if (found_kind, found_version) == (kind, api_version):
        return
    group, version = split_api_version(found_version)
    what = f'{found_kind} in version "{version}" cannot be handled as a {kind}'
    if found_version == api_version:
        internal = (group.partition(".")[0] or "core") + f".{kind}"
        raise bad_request(f"{what}: converting ({version}.{found_kind}) to ({internal}): unknown conversion")
    raise bad_request(
        f'{what}: no kind "{found_kind}" is registered for version "{found_version}" in scheme "{_SCHEME}"'
    )


def typed(obj: Object, given: Object, kind: str, api_version: str) -> Object:
    """With what it is in front, as it is stored and sent."""
    if not isinstance(obj.get("metadata"), dict):
        obj["metadata"] = {}
    metadata = given.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") == []:
        obj["metadata"]["managedFields"] = []  # decoding drops what is empty, but this is an order: forget the owners
    return {**obj, "kind": kind, "apiVersion": api_version}
