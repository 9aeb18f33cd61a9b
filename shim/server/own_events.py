"""Where events go that the API server itself has to tell: straight into the store, as it is no client of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shim.api.jsonpatch import merge_patch
from shim.api.keys import prefix_of
from shim.api.meta import GVR, Object
from shim.api.status import internal, not_found
from shim.server.bootstrap import born
from shim.store.cache import Cache
from shim.store.contract import StoreError


class OwnEvents:
    """What an :class:`~shim.client.events.EventRecorder` tells its events to."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def create(self, gvr: GVR, obj: Object, namespace: str | None) -> Object:
        key = _key(gvr, obj["metadata"]["name"], namespace)
        with _refusing():
            return (await self._cache.create(key, born(obj, namespace))).decode()

    async def patch(self, gvr: GVR, name: str, patch: Object, namespace: str | None) -> Object:
        """Merge into an object. Raises ApiError."""
        key = _key(gvr, name, namespace)
        entry = self._cache.get(key)
        if entry is None:
            raise not_found(gvr.group, gvr.resource, name)
        obj = merge_patch(entry.decode(), patch)
        with _refusing():
            return (await self._cache.update(key, obj, expected=entry.revision)).decode()


@contextmanager
def _refusing() -> Iterator[None]:
    """What the store cannot do is refused as a server would."""
    try:
        yield
    except (StoreError, TimeoutError) as error:
        raise internal(str(error)) from error


def _key(gvr: GVR, name: str, namespace: str | None) -> str:
    return f"{prefix_of(gvr.group, gvr.resource)}{namespace}/{name}"
