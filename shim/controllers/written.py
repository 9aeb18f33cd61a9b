"""What has this controller written that its informer does not show yet?

Laid over the informer's objects, it lets a controller act on its own last write at once: no duplicate creates, no
conflicts with itself, and no waiting for the watch. Revisions only grow, so the higher one of two copies is the newer,
and an informer that has come as far as a write and does not show it has seen it go.
"""

from __future__ import annotations

from collections.abc import Iterable

from shim.api.meta import Object, key_of
from shim.client import Informer


def revision(obj: Object) -> int:
    return int(obj["metadata"].get("resourceVersion") or 0)


class Written:
    """This controller's newest writes of one resource, until the informer has caught up with them."""

    def __init__(self, informer: Informer) -> None:
        self._informer = informer
        self._objects: dict[str, Object] = {}
        self._deleted: dict[str, str] = {}  # the uid of each
        informer.on_change(self._seen)

    def _seen(self, old: Object | None, new: Object | None) -> None:
        shown = new if new is not None else old
        if shown is None:
            return
        key = key_of(shown)
        mine = self._objects.get(key)
        if mine is not None:
            same = mine["metadata"]["uid"] == shown["metadata"]["uid"]
            if revision(shown) >= revision(mine) or (new is None and same):
                del self._objects[key]
        gone = self._deleted.get(key)
        if gone is not None and (new is None or gone != shown["metadata"]["uid"]):
            del self._deleted[key]

    def remember(self, obj: Object) -> Object:
        """This is what a write answered."""
        key = key_of(obj)
        if self._informer.revision < revision(obj):
            self._objects[key] = obj
        self._deleted.pop(key, None)
        return obj

    def remember_deleted(self, obj: Object) -> None:
        """This was deleted."""
        self._objects.pop(key_of(obj), None)
        if self._informer.get(key_of(obj)) is not None:
            self._deleted[key_of(obj)] = obj["metadata"]["uid"]

    def _mine(self, key: str) -> Object | None:
        mine = self._objects.get(key)
        if mine is not None and self._informer.revision >= revision(mine):
            del self._objects[key]  # made and deleted while the watch was down
            return None
        return mine

    def newest(self, obj: Object | None, key: str) -> Object | None:
        """The newer of the informer's copy and the own one; None if this controller deleted it."""
        gone = self._deleted.get(key)
        if obj is not None and gone is not None and gone == obj["metadata"]["uid"]:
            return None
        mine = self._mine(key)
        if mine is None or (obj is not None and revision(obj) >= revision(mine)):
            return obj
        return mine

    def get(self, key: str) -> Object | None:
        """The newest known state of one object."""
        return self.newest(self._informer.get(key), key)

    def overlay(self, objects: Iterable[Object]) -> list[Object]:
        """The newest state of each of these objects, without the deleted ones."""
        newest = (self.newest(obj, key_of(obj)) for obj in objects)
        return [obj for obj in newest if obj is not None]

    def unseen(self) -> list[Object]:
        """What was created and has not been shown at all."""
        mine = [self._mine(key) for key in list(self._objects) if self._informer.get(key) is None]
        return [obj for obj in mine if obj is not None]
