"""The cluster as admission reads it: objects from memory, decoded once for as long as they do not change."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from shim import cel
from shim.admission.request import Who
from shim.api import decoding
from shim.api.meta import GVR, Object
from shim.api.schema import Schema, Type
from shim.api.status import internal
from shim.api.structured import DEDUCED
from shim.resources.causes import shown
from shim.resources.strategy import Resource
from shim.server.authz import Authorizer
from shim.server.bodies import definition_of
from shim.server.routes import RequestInfo, Routes
from shim.server.users import ACCOUNT_PREFIX, User, account_groups
from shim.store.cache import Cache, Entry

KEPT = 1024
FEW = 64  # policies of a namespace, classes of a cluster; longer lists are not worth their place


class CacheReader:
    """Implements :class:`shim.admission.request.Reader`."""

    def __init__(self, cache: Cache, routes: Routes, authorizer: Authorizer, schema: Schema) -> None:
        self._cache = cache
        self._routes = routes
        self._authorizer = authorizer
        self._schema = schema
        self._decoded: dict[str, tuple[Entry, Object]] = {}
        self._lists: dict[str, tuple[int, list[Object]]] = {}
        """What few objects there are under a prefix, and the revision of their resource's last change by then."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()

    def get(self, gvr: GVR, namespace: str | None, name: str) -> Object | None:
        row = self._routes.get(gvr.group, gvr.version, gvr.resource)
        if row is None:
            return None
        key = row.key(namespace, name)
        entry = self._cache.get(key)
        if entry is None:
            self._decoded.pop(key, None)
            return None
        return self._decode(entry)

    def list(self, gvr: GVR, namespace: str | None = None) -> list[Object]:
        row = self._routes.get(gvr.group, gvr.version, gvr.resource)
        if row is None:
            return []
        prefix = f"{row.prefix}{namespace}/" if namespace and row.namespaced else row.prefix
        changed, known = self._cache.changed(row.prefix), self._lists.get(prefix)
        if changed and known is not None and known[0] == changed:
            return known[1][:]
        entries = self._cache.range(prefix)
        if len(entries) > FEW:
            return [entry.decode() for entry in entries]
        if len(self._lists) >= KEPT:
            self._lists.pop(next(iter(self._lists)))
        objects = [*map(self._decode, entries)]
        self._lists[prefix] = changed, objects
        return objects[:]

    def may(self, user: Who, verb: str, gvr: GVR, name: str = "", *, namespace: str = "") -> bool:
        asked = RequestInfo(
            verb, "", group=gvr.group, version=gvr.version, resource=gvr.resource, namespace=namespace, name=name
        )
        assert isinstance(user, User)
        return self._authorizer.decide(user, asked).allowed

    def judge(self, user: Who, asked: cel.Attributes) -> cel.Decision:
        """In the loop, which alone may read roles; dear expressions ask from threads of their own."""
        if threading.get_ident() == self._thread:
            return self._judge(user, asked)

        async def there() -> cel.Decision:
            return self._judge(user, asked)

        return asyncio.run_coroutine_threadsafe(there(), self._loop).result()

    def _judge(self, user: Who, asked: cel.Attributes) -> cel.Decision:
        assert isinstance(user, User)
        if asked.service_account is not None:
            namespace, name = asked.service_account
            user = User(f"{ACCOUNT_PREFIX}{namespace}:{name}", account_groups(namespace))
        info = RequestInfo(
            asked.verb,
            asked.path,
            asked.group,
            "*",
            asked.namespace,
            asked.resource,
            asked.name,
            asked.subresource,
        )
        allowed, why = self._authorizer.decide(user, info)
        return cel.Decision(allowed, why)

    def equivalents(self, resource: Resource) -> Sequence[Resource]:
        rows = self._routes.resources
        return [row for row in rows if row.prefix == resource.prefix and row is not resource]

    def conform(self, obj: Object, kind: str, api_version: str, *, strict: bool = False) -> Object:
        if (obj.get("kind"), obj.get("apiVersion")) != (kind, api_version):
            raise internal(f"the object was made a {obj.get('apiVersion')} {obj.get('kind')}")
        definition = definition_of(self._schema, kind, api_version)
        if definition is None:
            return obj
        decoded, unknown, problem = decoding.decode(definition, obj)
        if problem:
            raise internal(problem)
        if strict and unknown:
            raise internal(f"strict decoding error: {', '.join(f'unknown field {shown(name)}' for name in unknown)}")
        return {"kind": kind, "apiVersion": api_version, **decoded}

    def resource_of(self, api_version: str, kind: str) -> GVR | None:
        row = self._routes.of_object({"apiVersion": api_version, "kind": kind})
        return row.gvr if row is not None else None

    def type_of(self, api_version: str, kind: str) -> Type:
        definition = definition_of(self._schema, kind, api_version)
        return definition.type if definition is not None else DEDUCED

    def _decode(self, entry: Entry) -> Object:
        known = self._decoded.get(entry.key)
        if known is not None and known[0] is entry:
            return known[1]
        if len(self._decoded) >= KEPT:
            self._decoded.pop(next(iter(self._decoded)))
        obj = entry.decode()
        self._decoded[entry.key] = entry, obj
        return obj
