"""Request bodies become objects, and objects answer bodies, in the three formats: JSON, YAML and protobuf.

What a body must be is known from its path, so a body of another kind is refused here, and so is what the schema
does not know: always for values of a wrong type, for unknown and duplicate fields as ``fieldValidation`` asks.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from shim.api import decoding
from shim.api.meta import Object, split_api_version
from shim.api.oddities import Oddity
from shim.api.schema import Definition, Schema
from shim.api.status import ApiError, FieldError, bad_request, invalid
from shim.codec import jsontext, media, yamltext
from shim.server import errors
from shim.server.negotiation import ACCEPTED, JSON, PROTOBUF, YAML
from shim.server.options import WriteOptions
from shim.server.parts import Call

LIMIT = 3 * 1024 * 1024  # upstream's limit
LEFT_OVER = 256 * 1024  # bytes of a refused body that Go's server reads, to keep the connection
_SCHEME = "pkg/api/legacyscheme/scheme.go:30"  # where upstream's messages say its types are registered
_SCHEMES = {
    "apiextensions.k8s.io": "k8s.io/apiextensions-apiserver/pkg/apiserver/apiserver.go:55",
    "apiregistration.k8s.io": "k8s.io/kube-aggregator/pkg/apiserver/scheme/scheme.go:28",
}
"""Of the groups that upstream serves by servers of their own, which know no other types."""


@dataclass(slots=True)
class Body:
    """The bytes of a request's body and the format they are in."""

    data: bytes
    media: str

    def decode(
        self,
        call: Call,
        kind: str,
        api_version: str,
        options: WriteOptions,
        older: tuple[str, ...] = (),
        odd: set[Oddity] | None = None,
    ) -> Object:
        """The object this body is, which must be of this kind; it may say one of the ``older`` versions, which had
        the same fields. Raises 400.

        ``odd``: keep what is never stored, and tell there what there was (:func:`shim.api.decoding.decode`).
        """
        schema = call.parts.schema
        try:
            given = media.decode(self.media, self.data, schema)
        except media.MediaError as error:
            raise _unrecognized(kind, error, self.data) from error
        if (given.get("apiVersion") or "").count("/") > 1:
            strange = media.MediaError(f"unexpected GroupVersion string: {given['apiVersion']}")
            raise _unrecognized(kind, strange, self.data)
        if given.get("apiVersion") in older:
            given["apiVersion"] = api_version
        if call.resource.custom:
            self._check_custom(given, kind, api_version)
        else:
            check_kind(schema, given, kind, api_version)
        version = split_api_version(api_version)[1]
        what = f'{kind} in version "{version}" cannot be handled as a {kind}'
        definition = definition_of(schema, kind, api_version)
        obj: Object = given
        unknown: list[str] = []
        if definition is not None:
            obj, unknown, problem = decoding.decode(definition, given, odd)
            if problem:
                if "number" in problem and self.media == JSON:  # which is quoted as it is written
                    problem = decoding.decode(definition, jsontext.as_written(self.data)).error or problem
                raise bad_request(f"{what}: {problem}")
        if options.validation != "Ignore":
            in_order = not call.resource.custom  # of those, unknown fields are noticed later than what the text has
            complaints = media.strict_errors(self.media, self.data, unknown, in_order=in_order)
            if complaints and options.validation == "Strict":
                raise bad_request(f"{what}: strict decoding error: {', '.join(complaints)}")
            call.warnings += [text for each in complaints for text in yamltext.apart(each)]
        obj = typed(obj, given, kind, api_version)
        if call.record is not None:
            call.record.asks(obj)
        return obj

    def _check_custom(self, given: Object, kind: str, api_version: str) -> None:
        """Of custom resources, which are decoded without knowing them, a body must say what it is. Raises 400, 422."""
        if not given.get("kind"):
            text = self.data.decode(errors="replace")
            raise _unrecognized(kind, media.MediaError(f"Object 'Kind' is missing in '{text}'"), self.data)
        found = given.get("apiVersion") or ""
        if found != api_version:
            raise errors.other_version(found, api_version)
        if given["kind"] != kind:
            name = (given.get("metadata") or {}).get("name", "")
            wrong = FieldError("FieldValueInvalid", "kind", f'Invalid value: "{given["kind"]}": must be {kind}')
            raise invalid(split_api_version(api_version)[0], given["kind"], name, [wrong])


async def read_body(call: Call, accepted: str = ACCEPTED) -> Body:
    """The body of a write. Raises 413 and 415."""
    http = call.http
    sent = content_type(http)
    if call.resource.custom and sent == PROTOBUF:
        accepted = f"{JSON}, {YAML}"
    if sent not in accepted.split(", "):
        raise errors.unsupported_body(accepted)
    return Body(await read_bytes(http), sent)


def content_type(http: web.BaseRequest) -> str:
    """The media type of a body; JSON where none is named."""
    said = http.headers.get("Content-Type")
    return said.partition(";")[0].strip().lower() if said else JSON


def _unrecognized(kind: str, error: media.MediaError, data: bytes) -> ApiError:
    quoted = media.summarize(data)
    return bad_request(f"the object provided is unrecognized (must be of type {kind}): {error} ({quoted})")


def definition_of(schema: Schema, kind: str, api_version: str) -> Definition | None:
    """The schema of a built-in kind."""
    group, version = split_api_version(api_version)
    return schema.for_kind(group, version, kind)


def leaves_much(http: web.BaseRequest) -> bool:
    """Whether so much of a body that is too large is yet to come that nobody reads on: the connection ends with it."""
    if http.content_length is None:
        return not http.content.is_eof()
    return http.content_length > LIMIT + LEFT_OVER


async def read_bytes(http: web.BaseRequest) -> bytes:
    if (http.content_length or 0) > LIMIT:
        raise errors.too_large(LIMIT)
    try:
        return await http.read()
    except web.HTTPRequestEntityTooLarge:
        raise errors.too_large(LIMIT) from None


def check_kind(schema: Schema, given: Object, kind: str, api_version: str) -> None:
    """A body may leave out what it is; what it says must be what the path says. Raises 400."""
    found_kind, found_version = given.get("kind") or kind, (given.get("apiVersion") or api_version).removeprefix("/")
    if (found_kind, found_version) == (kind, api_version):
        return
    (group, version), wanted = split_api_version(found_version), split_api_version(api_version)[0]
    what = f'{found_kind} in version "{version}" cannot be handled as a {kind}'
    apart = (_SCHEMES.get(group), _SCHEMES.get(wanted))  # kinds of different servers do not know of each other
    known = schema.for_kind(group, version, found_kind)
    if known is None or known.decoder is not None or apart[0] != apart[1]:
        raise bad_request(f"{what}: {_unregistered(found_kind, found_version, apart[1] or _SCHEME)}")
    if (found_kind, group) == (kind, wanted):
        raise errors.other_version(found_version, api_version)
    internal = errors.internal_type(wanted, kind)
    raise bad_request(f"{what}: converting ({version}.{found_kind}) to ({internal}): unknown conversion")


def _unregistered(kind: str, version: str, scheme: str) -> str:
    return f'no kind "{kind}" is registered for version "{version}" in scheme "{scheme}"'


def typed(obj: Object, given: Object, kind: str, api_version: str) -> Object:
    """With what it is in front, as it is stored and sent."""
    if not isinstance(obj.get("metadata"), dict):
        obj["metadata"] = {}
    metadata = given.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") == []:
        obj["metadata"]["managedFields"] = []  # decoding drops what is empty, but this is an order: forget the owners
    return {**obj, "kind": kind, "apiVersion": api_version}
