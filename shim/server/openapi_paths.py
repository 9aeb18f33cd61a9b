"""Which paths are there, and what can be done at each? The table of resources in the form of OpenAPI version 3.

Names of operations, actions and kinds are upstream's: generators of clients make their methods of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from shim.resources.strategy import Resource
from shim.resources.subresources import Subresource, describe
from shim.server.negotiation import JSON, PROTOBUF, YAML
from shim.server.openapi_parameters import NAMESPACE, OF_STREAM, OF_VERB, PRETTY, REST, Parameter, path
from shim.server.removal import SHOWS_OBJECT

Document = dict[str, Any]
Names = Callable[[str, str, str], str]
"""From group, version and kind to the name of a definition; "" where there is none."""

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
GVK = "x-kubernetes-group-version-kind"
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
_ONE = (JSON, YAML, PROTOBUF)
_OF_CUSTOM = (JSON, YAML)  # which have no protobuf form
_MANY = (*_ONE, f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")
_METHODS = {"get": "get", "list": "get", "watch": "get", "create": "post", "update": "put", "patch": "patch"}
_METHODS |= {"delete": "delete", "deletecollection": "delete"}
_WORDS = {"get": "read", "update": "replace", "deletecollection": "delete"}  # in the names of operations
_ACTIONS = {"create": "post", "update": "put"}
_CONNECT: dict[str, tuple[str, ...]] = {
    "attach": ("get", "post"),
    "exec": ("get", "post"),
    "portforward": ("get", "post"),
}
_CONNECT["proxy"] = ("delete", "get", "head", "options", "patch", "post", "put")
_ANSWERS = {
    "create": ("200", "201", "202"),
    "update": ("200", "201"),
    "patch": ("200", "201"),
    "delete": ("200", "202"),
}
_SAID = {"200": "OK", "201": "Created", "202": "Accepted"}
_DELETES = frozenset(("delete", "deletecollection"))


def paths_of(rows: Iterable[Resource], names: Names) -> Document:
    """The paths of these resources and of their subresources."""
    paths: Document = {}
    for row in rows:
        paths |= _Paths(row, names).all()
    return paths


def document_path(address: str, name: str, tag: str, answer: str, description: str, media: Iterable[str]) -> Document:
    """A path where one document is read: discovery and the like."""
    operation: Document = {"tags": [tag]} | ({"description": description} if description else {})
    operation |= {"operationId": name, "responses": _responses(("200",), answer, media)}
    return {address: {"get": operation}}


def group_path(group: str) -> Document:
    """Where the versions of a group are told."""
    tag = tag_of(group)
    name = f"get{_upper(tag)}API{'Group' if group else 'Versions'}"
    answer, what = ("APIGroup", "information of a group") if group else ("APIVersions", "available API versions")
    return document_path(f"/apis/{group}/" if group else "/api/", name, tag, f"{META}{answer}", f"get {what}", _ONE)


def groups_path() -> Document:
    """Where all groups are told."""
    return document_path("/apis/", "getAPIVersions", "apis", f"{META}APIGroupList", "get available API versions", _ONE)


def version_path(group: str, version: str) -> Document:
    """Where the resources of a version are told."""
    tag = tag_of(group)
    name = f"get{_upper(tag)}{_upper(version)}APIResources"
    address = f"/apis/{group}/{version}/" if group else f"/api/{version}/"
    said = "get available resources"
    return document_path(address, name, f"{tag}_{version}", f"{META}APIResourceList", said, _ONE)


def tag_of(group: str) -> str:
    """A group's name as operations are called: ``rbacAuthorization``."""
    first, *more = (group.removesuffix(".k8s.io") or "core").replace("-", ".").split(".")
    return first + "".join(map(_upper, more))


class _Paths:
    """The paths of one resource."""

    def __init__(self, row: Resource, names: Names) -> None:
        self._row, self._names = row, names
        self._base = f"/apis/{row.group}/{row.version}" if row.group else f"/api/{row.version}"
        self._kind = names(row.group, row.version, row.kind)
        self._gvk = {"group": row.group, "version": row.version, "kind": row.kind}
        self._scope: list[Parameter] = [NAMESPACE] if row.namespaced else []

    def all(self) -> Document:
        row, base = self._row, self._base
        scope = f"{base}/namespaces/{{namespace}}" if row.namespaced else base
        collection, one = f"{scope}/{row.name}", f"{scope}/{row.name}/{{name}}"
        named = [path("name", f"name of the {row.kind}"), *self._scope]
        paths = {
            collection: self._item(("list", "create", "deletecollection"), self._scope),
            one: self._item(("get", "update", "patch", "delete"), named),
        }
        if "list" in row.verbs and row.namespaced:
            paths[f"{base}/{row.name}"] = self._everywhere("list")
        if "watch" in row.verbs and not row.custom:
            watching = scope.replace(base, f"{base}/watch")
            paths[f"{watching}/{row.name}"] = self._watch("watchlist", self._scope, "List")
            paths[f"{watching}/{row.name}/{{name}}"] = self._watch("watch", named, "")
            if row.namespaced:
                paths[f"{base}/watch/{row.name}"] = self._everywhere("watch")
        for name in row.subresources:
            paths |= self._subresource(f"{one}/{name}", describe(row, name))
        return {address: item for address, item in paths.items() if item}

    def _item(self, verbs: Iterable[str], parameters: list[Parameter]) -> Document:
        operations = {_METHODS[verb]: self._operation(verb) for verb in verbs if verb in self._row.verbs}
        return _gathered(operations, [*parameters, PRETTY])

    def _everywhere(self, verb: str) -> Document:
        """In all namespaces."""
        action = "list" if verb == "list" else "watchlist"
        kind = self._row.kind if verb == "list" else f"{self._row.kind}List"
        operation = self._operation(verb) | {"operationId": f"{verb}{self._prefix()}{kind}ForAllNamespaces"}
        return _gathered({"get": operation | {"x-kubernetes-action": action}}, [PRETTY])

    def _watch(self, action: str, parameters: list[Parameter], suffix: str) -> Document:
        operation = self._operation("watch", suffix=suffix) | {"x-kubernetes-action": action}
        return _gathered({"get": operation}, [*parameters, PRETTY])

    def _subresource(self, address: str, sub: Subresource) -> Document:
        named = [path("name", f"name of the {sub.kind}"), *self._scope]
        if sub.name in _CONNECT:
            found = {address: self._connect(sub, named, "")}
            if sub.name == "proxy":
                found[f"{address}/{{path}}"] = self._connect(sub, [*named, REST], "WithPath")
            return found
        operations = {_METHODS[verb]: self._operation(verb, sub) for verb in sub.verbs}
        return {address: _gathered(operations, [*named, PRETTY])}

    def _connect(self, sub: Subresource, parameters: list[Parameter], suffix: str) -> Document:
        row, operations = self._row, Document()
        name = f"{self._scoped()}{row.kind}{_upper(sub.name)}{suffix}"
        for method in _CONNECT[sub.name]:
            operations[method] = {
                "tags": [self._tag()],
                "description": f"connect {method.upper()} requests to {sub.name} of {row.kind}",
                "operationId": f"connect{self._prefix()}{_upper(method)}{name}",
                "responses": _responses(("200",), "", ("*/*",)),
                "x-kubernetes-action": "connect",
                GVK: {**self._gvk, "kind": sub.kind},
                "parameters": list(OF_STREAM[sub.name]),
            }
        return _gathered(operations, parameters)

    def _operation(self, verb: str, sub: Subresource | None = None, suffix: str = "") -> Document:
        row, word = self._row, _WORDS.get(verb, verb)
        gvk, kind = self._gvk, self._kind
        if sub is not None and sub.version:
            gvk = {"group": sub.group, "version": sub.version, "kind": sub.kind}
            kind = self._names(sub.group, sub.version, sub.kind)
        elif sub is not None:
            gvk = {**gvk, "kind": sub.kind}
            kind = self._names(row.group, row.version, sub.kind)
        many = "Collection" if verb == "deletecollection" else ""
        name = f"{word}{self._prefix()}{many}{self._scoped()}{row.kind}{_upper(sub.name) if sub else ''}{suffix}"
        log = sub is not None and sub.name == "log"
        answered = ("text/plain", *_ONE) if log else _OF_CUSTOM if row.custom else _ONE
        operation: Document = {
            "tags": [self._tag()],
            "description": _description(verb, row, sub.name if sub else ""),
            "operationId": name,
            "responses": self._answers(verb, "" if log else kind, answered),
            "x-kubernetes-action": _ACTIONS.get(verb, verb),
            GVK: gvk,
            "parameters": list(OF_STREAM["log"] if log else OF_VERB.get(verb, ())),
        }
        media: tuple[str, ...]
        if verb in ("create", "update"):
            media = _OF_CUSTOM if row.custom else ("*/*",)
            operation["requestBody"] = {"content": _content(kind, media), "required": True}
        elif verb == "patch":
            # kubectl merges strategically wherever that is on offer
            media = tuple(each for each in PATCHES if not (row.custom and "strategic" in each))
            operation["requestBody"] = {"content": _content(f"{META}Patch", media), "required": True}
        elif verb in _DELETES:
            operation["requestBody"] = {"content": _content(f"{META}DeleteOptions", ("*/*",))}
        return operation

    def _answers(self, verb: str, kind: str, media: tuple[str, ...]) -> Document:
        row = self._row
        if verb == "list":
            return _responses(
                ("200",), self._names(row.group, row.version, row.list_kind), media if row.custom else _MANY
            )
        if verb == "watch":
            return _responses(("200",), f"{META}WatchEvent", _MANY)
        if verb == "deletecollection":
            return _responses(("200",), f"{META}Status", media)
        shows = (row.group, row.name) in SHOWS_OBJECT and row.name != "namespaces"
        answer = f"{META}Status" if verb == "delete" and not shows else kind
        return _responses(_ANSWERS.get(verb, ("200",)), answer, media)

    def _tag(self) -> str:
        return f"{tag_of(self._row.group)}_{self._row.version}"

    def _prefix(self) -> str:
        return _upper(tag_of(self._row.group)) + _upper(self._row.version)

    def _scoped(self) -> str:
        return "Namespaced" if self._row.namespaced else ""


def _description(verb: str, row: Resource, sub: str) -> str:
    kind = row.kind
    of = f"{sub} of the specified {kind}" if sub else f"the specified {kind}"
    match verb:
        case "get":
            return f"read {of}"
        case "update":
            return f"replace {of}"
        case "patch":
            return f"partially update {of}"
        case "list":
            return f"list {'or watch ' if 'watch' in row.verbs else ''}objects of kind {kind}"
        case "watch":
            return f"watch objects of kind {kind}; the parameter 'watch' of a list does the same"
        case "deletecollection":
            return f"delete collection of {kind}"
    return f"{verb} {f'{sub} of ' if sub else ''}{_article(kind)}{kind}"


def _article(noun: str) -> str:
    if noun.endswith("s") and not noun.endswith("ss"):
        return ""  # a plural
    return "an " if noun[0] in "AEIOU" else "a "


def _gathered(operations: Document, parameters: list[Parameter]) -> Document:
    """A path with its operations; what all of them take is said once, and in order of the names."""
    if not operations:
        return {}
    every = [operation.pop("parameters", []) for operation in operations.values()]
    common = [each for each in every[0] if all(each in others for others in every)]
    item: Document = {}
    for (method, operation), own in zip(operations.items(), every, strict=True):
        rest = sorted((each for each in own if each not in common), key=_name)
        item[method] = operation | ({"parameters": rest} if rest else {})
    return item | {"parameters": sorted((*parameters, *common), key=_name)}


def _name(parameter: Parameter) -> str:
    return str(parameter["name"])


def _responses(codes: Iterable[str], definition: str, media: Iterable[str]) -> Document:
    """What each code brings; "" is a text."""
    media = tuple(media)
    found = {code: {"description": _SAID[code], "content": _content(definition, media)} for code in codes}
    return {**found, "401": {"description": "Unauthorized"}}


def _content(definition: str, media: Iterable[str]) -> Mapping[str, Document]:
    schema = {"$ref": f"#/definitions/{definition}"} if definition else {"type": "string"}
    return {name: {"schema": schema} for name in media}


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
