"""What is asked? A method and a path become what-to-do-with-which-resource; unknown paths upstream's 404 and 405.

Parsing (:func:`parse`) needs no table and comes first, because authorisation judges any path, served or not.
:meth:`Routes.find` then looks the resource up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from shim.api.keys import bucket_of
from shim.api.meta import Object
from shim.api.status import bad_request, not_found
from shim.resources.strategy import Resource
from shim.resources.subresources import Subresource, describe
from shim.server import errors

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_BY_NAME = ("get", "patch", "delete")
BROKEN = re.compile("%(?![0-9A-Fa-f]{2})")
"""In a path that names nothing: a percent sign that begins no escape."""
_NAMESPACE_SUBRESOURCES = ("status", "finalize")
KEPT_UP_TO = 300  # characters of a path


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """One request in the API's words; for a path outside the API ``resource`` is empty and ``verb`` the method's."""

    verb: str
    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows a subresource, with its leading slash: the path of a proxied request."""
    fields: tuple[tuple[str, str], ...] = ()
    """What a collection is narrowed to by its field selector: (field, value) of each that must be equal."""


def parse(method: str, path: str, watching: bool = False) -> RequestInfo:
    """Read a path as upstream's RequestInfoFactory does. ``watching``: the query asks for ``watch``.

    Clients come back to the same paths: what was read is kept for a while, but not of paths that would fill the memory.
    """
    return (_read if len(path) <= KEPT_UP_TO else _read.__wrapped__)(method, path, watching)


@lru_cache(maxsize=4096)
def _read(method: str, path: str, watching: bool) -> RequestInfo:
    if "%" in path:
        if BROKEN.search(path):
            return RequestInfo(method.lower(), path)
        path = unquote(path)
    parts = path.split("/")
    # parts[0] is empty: every path begins with a slash
    if len(parts) > 3 and parts[1] == "api":
        group, version, start = "", parts[2], 3
    elif len(parts) > 4 and parts[1] == "apis":
        group, version, start = parts[2], parts[3], 4
    else:
        return RequestInfo(method.lower(), path)
    rest = parts[start:]
    if not rest[0]:  # "/api/v1/"
        return RequestInfo(method.lower(), path)
    verb = _VERBS.get(method, "")
    if rest[0] in ("watch", "proxy") and len(rest) > 1:
        verb, rest = rest[0] if method == "GET" else "", rest[1:]  # nothing else is done by these paths
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    resource, *below = rest
    name = below[0] if below else ""
    subresource = below[1] if len(below) > 1 else ""
    further = "/" + "/".join(below[2:]) if len(below) > 2 else ""
    if not name:
        if verb == "get":
            verb = "watch" if watching else "list"
        elif verb == "delete":
            verb = "deletecollection"
    return RequestInfo(verb, path, group, version, namespace, resource, name, subresource, further)


class Routes:
    """The served resources by path."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._built_in = tuple(resources)
        self.publish(())

    def publish(self, custom: Iterable[Resource]) -> None:
        """Serve these custom resources, and no others, beside what is built in."""
        self.resources = (*self._built_in, *custom)
        self._groups: dict[str, dict[str, dict[str, Resource]]] = {}
        self._by_prefix: dict[str, Resource] = {}
        self._by_kind: dict[tuple[str, str], Resource] = {}
        for row in self.resources:
            self._groups.setdefault(row.group, {}).setdefault(row.version, {})[row.name] = row
            if row.storage is None or row.prefix not in self._by_prefix:
                self._by_prefix[row.prefix] = row
            self._by_kind.setdefault((row.api_version, row.kind), row)

    def versions(self, group: str) -> dict[str, dict[str, Resource]]:
        """The served versions of a group, preferred first, each with its resources by name."""
        return self._groups.get(group, {})

    def groups(self) -> list[str]:
        """Every served group in the order of discovery, the core group among them."""
        return list(self._groups)

    def get(self, group: str, version: str, name: str) -> Resource | None:
        return self._groups.get(group, {}).get(version, {}).get(name)

    def of_key(self, key: str) -> Resource:
        """The resource that keeps its objects under this key of the store; KeyError when none does."""
        return self._by_prefix[bucket_of(key)]

    def of_object(self, obj: Object) -> Resource | None:
        return self._by_kind.get((obj.get("apiVersion", ""), obj.get("kind", "")))

    def find(self, info: RequestInfo) -> tuple[Resource, Subresource | None]:
        """The resource a request is for. Raises the 404 or 405 upstream answers when it cannot be."""
        versions = self._groups.get(info.group)
        if versions is None:
            raise errors.page_not_found()
        rows = versions.get(info.version, {})
        row = rows.get(info.resource)
        if row is None:
            known = rows or next(iter(versions.values()))
            if info.group and next(iter(known.values())).custom:
                raise errors.page_not_found()
            raise errors.no_such_resource()
        if info.namespace and not row.namespaced and not _is_itself(row, info):
            raise errors.no_such_resource()
        if info.verb == "proxy" or (info.rest and not info.subresource):
            raise errors.no_such_resource()
        if info.name and row.namespaced and not info.namespace and not row.custom and info.verb != "watch":
            raise errors.no_such_resource()
        if info.name in (".", "..") and info.verb in _BY_NAME:
            raise bad_request(f"Name parameter invalid: \"{info.name}\": may not be '{info.name}'")
        if info.subresource:
            proxied = info.subresource == "proxy"
            if info.subresource not in row.subresources or (info.rest.strip("/") and not proxied):
                raise not_found(row.group, row.name, info.name) if row.custom else errors.no_such_resource()
            subresource = describe(row, info.subresource)
            taken = info.verb in subresource.verbs or (proxied and not info.verb)  # OPTIONS has no verb of its own
            if not taken or (row.namespaced and not info.namespace):
                raise errors.method_not_allowed()
            return row, subresource
        if info.verb not in row.verbs or not _fits(row, info):
            raise errors.method_not_allowed()
        return row, None


def _is_itself(row: Resource, info: RequestInfo) -> bool:
    """Whether the namespace of a path is what is asked for, and not what it is asked for in."""
    return row.name == "namespaces" and f"/namespaces/{info.namespace}/namespaces" not in info.path


def _fits(row: Resource, info: RequestInfo) -> bool:
    """Whether the verb can be asked of this path: creates go to collections, the rest of writes to names."""
    if info.verb == "create":
        return not info.name and (bool(info.namespace) or not row.namespaced)
    if info.verb in ("update", "patch", "delete", "get"):
        return bool(info.name) and (bool(info.namespace) or not row.namespaced)
    if info.verb == "deletecollection":
        return bool(info.namespace) or not row.namespaced
    return True
