"""The API described for machines: /openapi/v2 and /openapi/v3, which kubectl explains and validates from.

Schemas are upstream's definitions; paths are made from the table of resources. Documents are made when they are
first asked for, and kept: a client that has one asks with its hash and never again.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import web

from shim.api.schema import Field, Schema
from shim.api.version import GIT_VERSION, MAJOR, MINOR
from shim.codec import openapi_proto
from shim.codec.definitions import choices
from shim.resources.custom.published import as_v2
from shim.server import errors, openapi_v2, openapi_v3
from shim.server.aggregation import Extension
from shim.server.aggregation.merging import merged, reachable, references
from shim.server.negotiation import JSON
from shim.server.openapi_choices import meanings
from shim.server.openapi_defaults import DECLARED
from shim.server.openapi_paths import document_path, group_path, groups_path, paths_of, version_path
from shim.server.options import Query, first
from shim.server.responses import respond, respond_tagged
from shim.server.routes import Routes

Document = dict[str, Any]
PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_OLD_PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"  # kubectl asks so still; @ is no token
PROTOBUF_V3 = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
_SOURCES = [f"openapi{part}.py" for part in ("", "_choices", "_defaults", "_parameters", "_paths", "_v2", "_v3")]
_PROGRAM = b"".join((Path(__file__).parent / name).read_bytes() for name in _SOURCES)
_MAKER = GIT_VERSION + hashlib.sha256(_PROGRAM).hexdigest()
"""Who makes the documents: clients keep them for good, and should not keep those of an older program."""
_INFO = {"title": "Kubernetes", "version": f"{MAJOR}.{MINOR}"}
_INFO_OF_CUSTOM = {"title": "Kubernetes CRD Swagger", "version": "v0.1.0"}
_SECURITY = {
    "BearerToken": {
        "type": "apiKey",
        "description": "Bearer Token authentication",
        "name": "authorization",
        "in": "header",
    }
}
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_GVK = "x-kubernetes-group-version-kind"
_ZEROS = {"string": "", "bool": False, "int32": 0, "int64": 0}
_TOLD: dict[str, Document] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
}
_ONE_TYPE = {  # what version 3 has as a choice of types, which version 2 cannot say
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
}
_OUTSIDE: dict[str, Document] = {
    ".well-known/openid-configuration": document_path(
        "/.well-known/openid-configuration/",
        "getServiceAccountIssuerOpenIDConfiguration",
        "WellKnown",
        "",
        "get the configuration of the issuer of service accounts' tokens",
        (JSON,),
    ),
    "api": group_path(""),
    "apis": groups_path(),
    "openid/v1/jwks": document_path(
        "/openid/v1/jwks/",
        "getServiceAccountIssuerOpenIDKeyset",
        "openid",
        "",
        "get the keys that service accounts' tokens are signed with",
        ("application/jwk-set+json",),
    ),
    "version": document_path(
        "/version/",
        "getCodeVersion",
        "version",
        "io.k8s.apimachinery.pkg.version.Info",
        "get the version information for this server",
        (JSON,),
    ),
}
"""Documents of paths that are not of a group version."""


class OpenApi:
    """The documents."""

    def __init__(self, routes: Routes, schema: Schema, extensions: Callable[[], Iterable[Extension]]) -> None:
        self._routes, self._extensions = routes, extensions
        self._schema = schema
        self._choices = choices()
        self._kept: dict[str, bytes] = {}
        self._hashes: dict[str, str] = {}
        self._encoding = asyncio.Lock()

    def rebuild(self) -> None:
        """Forget every document, after the served resources have changed."""
        self._kept = {}  # a new one: what is being encoded meanwhile is kept in the old
        self._hashes.clear()

    async def answer(self, http: web.BaseRequest, path: str, query: Query) -> web.StreamResponse:
        """The answer at a path below /openapi/. Raises 404 and 406."""
        accept = http.headers.get("Accept", "")
        if path == "/openapi/v2":
            media = _media_v2(accept)
            document = await self._protobuf() if media == PROTOBUF_V2 else self._json(path)
            return await self._document(http, document, media=media)
        if accept.startswith(PROTOBUF_V3) and JSON not in accept:
            raise errors.not_acceptable(JSON)
        if path == "/openapi/v3":
            body = self._kept.get(path)
            if body is None:
                body = self._kept[path] = orjson.dumps({"paths": dict(self._index())})
            return respond(body, 200, "text/plain; charset=utf-8")  # as upstream has it
        return await self._document(http, self._json(path), forever=bool(first(query, "hash")))

    async def _protobuf(self) -> bytes:
        """Version 2 in protobuf: made once, in a thread, from the JSON."""
        async with self._encoding:
            kept = self._kept
            body = kept.get(PROTOBUF_V2)
            if body is None:
                document = orjson.loads(self._json("/openapi/v2"))
                body = kept[PROTOBUF_V2] = await asyncio.to_thread(openapi_proto.encode, document)
            return body

    def _json(self, path: str) -> bytes:
        body = self._kept.get(path)
        if body is None:
            document = self._v2() if path == "/openapi/v2" else self._v3(path.removeprefix("/openapi/v3/"))
            body = self._kept[path] = orjson.dumps(document)
        return body

    async def _document(
        self, http: web.BaseRequest, body: bytes, *, media: str = JSON, forever: bool = False
    ) -> web.StreamResponse:
        response = await respond_tagged(http, body, media)
        if forever and response.status == 200:
            # the hash is part of the address, so what is there never changes
            response.headers["Cache-Control"] = "public, immutable"
            expires = time.gmtime(time.time() + 365 * 24 * 3600)
            response.headers["Expires"] = time.strftime("%a, %d %b %Y %H:%M:%S GMT", expires)
        return response

    def _index(self) -> Iterator[tuple[str, Document]]:
        """The documents of version 3, each at an address that changes with its content."""
        names = {*_OUTSIDE}
        for group in self._routes.groups():
            names |= {f"apis/{group}"} if group else set()
            names |= {_path_of(group, version) for version in self._routes.versions(group)}
        theirs = {
            _path_of(each.spec.group, each.spec.version): each.described.openapi_v3 for each in self._extensions()
        }
        for name in sorted(names | {name for name, url in theirs.items() if url}):
            url = theirs[name] if name in theirs else f"/openapi/v3/{name}?hash={self._hash(name)}"
            if url:
                yield name, {"serverRelativeURL": url}

    def _hash(self, name: str) -> str:
        """What a document depends on, hashed: making them all just to hash them takes half a second."""
        rows = [row for row in self._routes.resources if _path_of(row.group, row.version) == name]
        what = "".join(f"{row.api_version}/{row.name}{row.verbs}{row.subresources}" for row in rows)
        for row in rows:
            if row.custom:  # the others' definitions never change
                definition = self._name(row.group, row.version, row.kind)
                what += orjson.dumps(self._schema.definitions.get(definition, {})).decode()
        return hashlib.sha256(f"{_MAKER}{name}{what}".encode()).hexdigest().upper()

    def _v3(self, name: str) -> Document:
        """One document of version 3. Raises 404."""
        for each in self._extensions():
            if each.spec.path == f"/{name}" and each.described.converted is not None:
                return each.described.converted
        parts, info = name.split("/"), _INFO
        if name in _OUTSIDE:
            paths = _OUTSIDE[name]
        elif parts[0] == "apis" and len(parts) == 2 and self._routes.versions(parts[1]):
            paths = group_path(parts[1])
        else:
            group, version = ("", parts[1]) if parts[0] == "api" and len(parts) == 2 else ("", "")
            if parts[0] == "apis" and len(parts) == 3:
                group, version = parts[1], parts[2]
            rows = self._routes.versions(group).get(version) if version else None
            if not rows:
                raise errors.page_not_found()
            paths = version_path(group, version) | paths_of(rows.values(), self._name)
            if all(row.custom for row in rows.values()):
                info = _INFO_OF_CUSTOM
        schemas = {key: self._told(key, raw, f"/{name}/") for key, raw in self._schemas(paths).items()}
        components = {"schemas": schemas, "securitySchemes": _SECURITY}
        return openapi_v3.finished({"openapi": "3.0.0", "info": info, "paths": paths, "components": components})

    def _v2(self) -> Document:
        """The one document of version 2, with its parameters and bodies in that version's form."""
        paths: Document = {address: item for each in _OUTSIDE.values() for address, item in each.items()}
        for group in self._routes.groups():
            paths |= group_path(group) if group else {}
            for version, rows in self._routes.versions(group).items():
                paths |= version_path(group, version) | paths_of(rows.values(), self._name)
        definitions = self._schemas(paths)
        for name, type in _ONE_TYPE.items():
            definitions[name] = {key: value for key, value in definitions[name].items() if key == "description"} | type
        for row in self._routes.resources:
            if row.custom:
                for kind in (row.kind, row.list_kind):
                    name = self._name(row.group, row.version, kind)
                    definitions[name] = as_v2(definitions[name])
        converted, parameters = openapi_v2.paths(dict(sorted(paths.items())))
        document = {
            "swagger": "2.0",
            "info": _INFO,
            "paths": converted,
            "definitions": dict(sorted(definitions.items())),
            "parameters": parameters,
            "securityDefinitions": _SECURITY,
            "security": [{"BearerToken": []}],
        }
        return merged(document, (part for each in self._extensions() if (part := each.described.openapi_v2)))

    def _schemas(self, paths: Document) -> Document:
        """The definitions that paths refer to, and all that those refer to."""
        found = reachable(self._schema.definitions, references(paths))
        for name in found.keys() & self._choices.keys():
            properties = dict(found[name]["properties"])
            for field, values in self._choices[name].items():
                properties[field] = _with_choice(properties[field], values)
            found[name] = {**found[name], "properties": properties}
        return found

    def _told(self, name: str, raw: Mapping[str, Any], base: str) -> Document:
        """A definition as version 3 has it: with the defaults Go gives, and of its kinds those told below ``base``."""
        told = {**raw, **_TOLD.get(name, {})}
        kinds = raw.get(_GVK, ())
        if len(kinds) > 1:
            shown = ("/api/v1/", base)
            told[_GVK] = [each for each in kinds if f"/{_path_of(each['group'], each['version'])}/" in shown]
        properties = raw.get("properties")
        if properties and name in self._schema.facts:
            fields = self._schema.named(name).fields
            told["properties"] = {key: _with_default(fields[key], each) for key, each in properties.items()}
        if declared := DECLARED.get(name):
            known = told["properties"]
            told["properties"] = known | {key: {**known[key], "default": value} for key, value in declared.items()}
        return told

    def _name(self, group: str, version: str, kind: str) -> str:
        return self._schema.names.get((group, version, kind), "")


def _media_v2(accept: str) -> str:
    """The first media type of an Accept header in which version 2 is served. Raises 406."""
    for part in (accept or JSON).split(","):
        media = part.partition(";")[0].strip()
        if media in (PROTOBUF_V2, _OLD_PROTOBUF_V2):
            return PROTOBUF_V2
        if media in (JSON, "application/*", "*/*"):
            return JSON
    raise errors.not_acceptable(f"{JSON}, {PROTOBUF_V2}")


def _with_choice(schema: Mapping[str, Any], values: list[str]) -> Document:
    """A field, or each of its items, with the values it may have; those of a field are listed for people, too."""
    for inner in ("items", "additionalProperties"):
        if inner in schema:
            return {**schema, inner: {**schema[inner], "enum": values}}
    told = meanings(values)
    listed = "\n".join(f' - `"{value}"` {told.get(value, "")}'.rstrip() for value in values)
    description = f"{schema.get('description', '')}\n\nPossible enum values:\n{listed}".lstrip()
    return {**schema, "description": description, "enum": values}


def _with_default(field: Field, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the zero of a field that Go never leaves out."""
    if "default" in schema or field.pointer:
        return schema
    if field.type.kind == "struct":
        return {**schema, "default": {}}
    return {**schema, "default": _ZEROS[field.type.kind]} if field.zero and field.type.kind in _ZEROS else schema


def _path_of(group: str, version: str) -> str:
    return f"apis/{quote(group)}/{version}" if group else f"api/{version}"
