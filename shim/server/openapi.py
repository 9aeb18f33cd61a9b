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

from shim.api.schema import Schema
from shim.api.version import GIT_VERSION
from shim.codec import openapi_proto
from shim.resources.custom.published import as_v2
from shim.resources.strategy import Resource
from shim.resources.subresources import describe
from shim.server import errors
from shim.server.aggregation import Extension
from shim.server.aggregation.merging import merged, reachable
from shim.server.negotiation import JSON
from shim.server.options import Query, first
from shim.server.responses import respond, respond_tagged
from shim.server.routes import Routes

Document = dict[str, Any]
PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_OLD_PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"  # kubectl asks so still; @ is no token
PROTOBUF_V3 = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
_INFO = {"title": "Kubernetes", "version": GIT_VERSION}
_GVK = "x-kubernetes-group-version-kind"
_WRITES = {"create": "post", "update": "put", "patch": "patch", "delete": "delete", "deletecollection": "delete"}
_PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_MAKER = GIT_VERSION + hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
"""Who makes the documents: clients keep them for good, and should not keep those of an older program."""
_TEXTS = (JSON, "application/yaml")
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_ONE_TYPE = {  # what version 3 has as a choice of types, which version 2 cannot say
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
}
_PARAMETERS = {
    "list": (
        ("allowWatchBookmarks", "boolean"),
        ("continue", "string"),
        ("fieldSelector", "string"),
        ("labelSelector", "string"),
        ("limit", "integer"),
        ("resourceVersion", "string"),
        ("resourceVersionMatch", "string"),
        ("sendInitialEvents", "boolean"),
        ("timeoutSeconds", "integer"),
        ("watch", "boolean"),
    ),
    "create": (("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")),
    "update": (("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")),
    "patch": (
        ("dryRun", "string"),
        ("fieldManager", "string"),
        ("fieldValidation", "string"),
        ("force", "boolean"),
    ),
    "delete": (
        ("dryRun", "string"),
        ("gracePeriodSeconds", "integer"),
        ("orphanDependents", "boolean"),
        ("propagationPolicy", "string"),
    ),
}
_OUTSIDE = {  # documents of paths that are not of a group version
    ".well-known/openid-configuration": ("/.well-known/openid-configuration/",),
    "api": ("/api/",),
    "apis": ("/apis/",),
    "openid/v1/jwks": ("/openid/v1/jwks/",),
    "version": ("/version/",),
}


class OpenApi:
    """The documents."""

    def __init__(self, routes: Routes, schema: Schema, extensions: Callable[[], Iterable[Extension]]) -> None:
        self._routes, self._extensions = routes, extensions
        self._schema = schema
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
        paths: Document = {}
        schemas: Document = {}
        parts = name.split("/")
        if name in _OUTSIDE:
            paths = {path: {"get": _plain_operation()} for path in _OUTSIDE[name]}
        elif parts[0] == "apis" and len(parts) == 2 and self._routes.versions(parts[1]):
            paths = {f"/apis/{parts[1]}/": {"get": _plain_operation()}}
        else:
            group, version = ("", parts[1]) if parts[0] == "api" and len(parts) == 2 else ("", "")
            if parts[0] == "apis" and len(parts) == 3:
                group, version = parts[1], parts[2]
            rows = self._routes.versions(group).get(version) if version else None
            if not rows:
                raise errors.page_not_found()
            paths = self._paths(rows.values())
            schemas = self._schemas(rows.values())
        text = {"paths": paths, "components": {"schemas": schemas}}
        encoded = orjson.dumps(text).replace(b'"#/definitions/', b'"#/components/schemas/')
        converted = orjson.loads(encoded)
        for schema in converted["components"]["schemas"].values():
            _as_v3(schema)
        return {"openapi": "3.0.0", "info": _INFO, **converted}

    def _v2(self) -> Document:
        """The one document of version 2, with its parameters and bodies in that version's form."""
        paths = {path: _item_v2(item) for path, item in self._paths(self._routes.resources).items()}
        definitions = {**self._schema.definitions, **_ONE_TYPE}
        for row in self._routes.resources:
            if row.custom:
                for kind in (row.kind, row.list_kind):
                    name = self._name(row.group, row.version, kind)
                    definitions[name] = as_v2(definitions[name])
        document = {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": definitions}
        return merged(document, (part for each in self._extensions() if (part := each.described.openapi_v2)))

    def _schemas(self, rows: Iterable[Resource]) -> Document:
        """The definitions of these kinds, their lists, and all they refer to."""
        wanted = [f"{_META}{name}" for name in ("APIResourceList", "DeleteOptions", "Status", "WatchEvent", "Patch")]
        for row in rows:
            wanted += [self._name(row.group, row.version, row.kind), self._name(row.group, row.version, row.list_kind)]
            for name in row.subresources:
                sub = describe(row, name)
                wanted.append(self._name(sub.group or row.group, sub.version or row.version, sub.kind))
        return reachable(self._schema.definitions, wanted)

    def _name(self, group: str, version: str, kind: str) -> str:
        return self._schema.names.get((group, version, kind), "")

    def _paths(self, rows: Iterable[Resource]) -> Document:
        paths: Document = {}
        for row in rows:
            base = f"/{_path_of(row.group, row.version)}"
            scope = f"{base}/namespaces/{{namespace}}" if row.namespaced else base
            collection, one = f"{scope}/{row.name}", f"{scope}/{row.name}/{{name}}"
            gvk = {"group": row.group, "version": row.version, "kind": row.kind}
            kind = self._name(row.group, row.version, row.kind)
            listed = self._name(row.group, row.version, row.list_kind)
            on_all: Document = {}
            on_one: Document = {}
            for verb in row.verbs:
                if verb == "list":
                    on_all["get"] = _operation("list", row, gvk, listed)
                elif verb == "get":
                    on_one["get"] = _operation("get", row, gvk, kind)
                elif verb == "create":
                    on_all["post"] = _operation("create", row, gvk, kind, body=kind)
                elif verb == "deletecollection":
                    on_all["delete"] = _operation("delete", row, gvk, f"{_META}Status", collection=True)
                elif verb in _WRITES:
                    body = {"patch": f"{_META}Patch", "delete": f"{_META}DeleteOptions"}.get(verb, kind)
                    answer = f"{_META}Status" if verb == "delete" else kind
                    on_one[_WRITES[verb]] = _operation(verb, row, gvk, answer, body=body)
            if on_all:
                paths[collection] = on_all | {"parameters": _path_parameters(row, named=False)}
                if row.namespaced and "get" in on_all:
                    listing = on_all["get"]["operationId"].replace("Namespaced", "", 1) + "ForAllNamespaces"
                    everywhere = {**on_all["get"], "operationId": listing}
                    paths[f"{base}/{row.name}"] = {"get": everywhere}
            if on_one:
                paths[one] = on_one | {"parameters": _path_parameters(row, named=True)}
            for name in row.subresources:
                paths[f"{one}/{name}"] = self._subresource(row, name)
        return paths

    def _subresource(self, row: Resource, name: str) -> Document:
        sub = describe(row, name)
        group, version = (sub.group, sub.version) if sub.version else (row.group, row.version)
        gvk = {"group": group, "version": version, "kind": sub.kind}
        kind = self._name(group, version, sub.kind)
        item: Document = {"parameters": _path_parameters(row, named=True)}
        for verb in sub.verbs:
            method = "get" if verb == "get" else _WRITES[verb]
            body = "" if verb == "get" else f"{_META}Patch" if verb == "patch" else kind
            item[method] = _operation(verb, row, gvk, kind, body=body, subresource=name)
        return item


def _media_v2(accept: str) -> str:
    """The first media type of an Accept header in which version 2 is served. Raises 406."""
    for part in (accept or JSON).split(","):
        media = part.partition(";")[0].strip()
        if media in (PROTOBUF_V2, _OLD_PROTOBUF_V2):
            return PROTOBUF_V2
        if media in (JSON, "application/*", "*/*"):
            return JSON
    raise errors.not_acceptable(f"{JSON}, {PROTOBUF_V2}")


def _operation(
    verb: str,
    row: Resource,
    gvk: Mapping[str, str],
    answer: str,
    *,
    body: str = "",
    subresource: str = "",
    collection: bool = False,
) -> Document:
    """One operation in the form of version 3."""
    action = {"get": "read", "update": "replace"}.get(verb, verb)
    first, *others = (row.group or "core").removesuffix(".k8s.io").split(".")
    group = first + "".join(each.capitalize() for each in others)
    scope = ("Collection" if collection else "") + ("Namespaced" if row.namespaced else "")
    name = f"{action}{group[0].upper()}{group[1:]}{row.version.capitalize()}{scope}{row.kind}"
    action = "put" if verb == "update" else "post" if verb == "create" else verb
    operation: Document = {
        "operationId": name + subresource.capitalize(),
        "tags": [f"{group}_{row.version}"],
        "responses": {"200": {"description": "OK", "content": _content(answer, _TEXTS)}},
        _GVK: gvk,
        "x-kubernetes-action": "deletecollection" if collection else action,
    }
    if parameters := _PARAMETERS.get(verb):
        operation["parameters"] = [
            {"name": name, "in": "query", "schema": {"type": type, "uniqueItems": True}} for name, type in parameters
        ]
    if body:
        media: tuple[str, ...] = _TEXTS if row.custom else ("*/*",)
        if verb == "patch":  # kubectl merges strategically wherever that is on offer
            media = tuple(each for each in _PATCH_TYPES if not (row.custom and "strategic" in each))
        operation["requestBody"] = {"required": verb != "delete", "content": _content(body, media)}
    return operation


def _content(definition: str, media: Iterable[str]) -> Document:
    schema = {"$ref": f"#/definitions/{definition}"} if definition else {"type": "string"}
    return {name: {"schema": schema} for name in media}


def _plain_operation() -> Document:
    return {"responses": {"200": {"description": "OK"}, "401": {"description": "Unauthorized"}}}


def _path_parameters(row: Resource, *, named: bool) -> list[Document]:
    names = (["name"] if named else []) + (["namespace"] if row.namespaced else [])
    found = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    return [*found, {"name": "pretty", "in": "query", "schema": {"type": "string"}}]


def _item_v2(item: Document) -> Document:
    """A path's operations as version 2 writes them."""
    converted: Document = {}
    for method, operation in item.items():
        if method == "parameters":
            converted[method] = [_parameter_v2(parameter) for parameter in operation]
            continue
        new = {key: value for key, value in operation.items() if key not in ("requestBody", "parameters", "responses")}
        new["parameters"] = [_parameter_v2(parameter) for parameter in operation.get("parameters", ())]
        new["responses"] = {
            code: {"description": answer["description"]}
            | ({"schema": next(iter(answer["content"].values()))["schema"]} if "content" in answer else {})
            for code, answer in operation["responses"].items()
        }
        new["produces"] = [JSON, "application/yaml", "application/vnd.kubernetes.protobuf"]
        new["consumes"] = ["*/*"]
        if body := operation.get("requestBody"):
            new["consumes"] = list(body["content"])
            schema = next(iter(body["content"].values()))["schema"]
            new["parameters"].append({"name": "body", "in": "body", "required": body["required"], "schema": schema})
        converted[method] = new
    return converted


def _parameter_v2(parameter: Document) -> Document:
    return {**{key: value for key, value in parameter.items() if key != "schema"}, **parameter["schema"]}


def _as_v3(schema: Any) -> None:
    """Version 3 lets nothing stand beside a reference, so that references with a description are wrapped."""
    if isinstance(schema, list):
        for item in schema:
            _as_v3(item)
        return
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key != "enum":
            _as_v3(value)
    if "$ref" in schema and len(schema) > 1:
        schema["allOf"] = [{"$ref": schema.pop("$ref")}]


def _path_of(group: str, version: str) -> str:
    return f"apis/{quote(group)}/{version}" if group else f"api/{version}"
