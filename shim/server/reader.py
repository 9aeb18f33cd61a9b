"""The cluster as admission reads it: objects from memory, decoded once for as long as they do not change."""

from __future__ import annotations

from shim.api.meta import GVR, Object
from shim.server.routes import Routes
from shim.store.cache import Cache, Entry

KEPT = 1024


class CacheReader:
    """Implements :class:`shim.admission.request.Reader`."""

    def __init__(self, cache: Cache, routes: Routes) -> None:
        self._cache = cache
        self._routes = routes
        self._decoded: dict[str, tuple[Entry, Object]] = {}

    def get(self, gvr: GVR, namespace: str | None, name: str) -> Object | None:
        row = self._routes.get(gvr.group, gvr.version, gvr.resource)
        if row is None:
            return None
        key = row.key(namespace, name)
        entry = self._cache.get(key)
        if entry is None:
            self._decoded.pop(key, None)
            return None
        known = self._decoded.get(key)
        if known is not None and known[0] is entry:
            return known[1]
        if len(self._decoded) >= KEPT:
            self._decoded.pop(next(iter(self._decoded)))
        obj = entry.decode()
        self._decoded[key] = entry, obj
        return obj

    def list(self, gvr: GVR, namespace: str | None = None) -> list[Object]:
        row = self._routes.get(gvr.group, gvr.version, gvr.resource)
        if row is None:
            return []
        prefix = f"{row.prefix}{namespace}/" if namespace and row.namespaced else row.prefix
        return [entry.decode() for entry in self._cache.range(prefix)]
