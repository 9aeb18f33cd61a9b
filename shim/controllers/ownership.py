"""Who owns whom? The graph of owner references over all objects of the cluster, by their uids. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from shim.api.meta import GVR, Object

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(slots=True)
class Item:
    """One object as the graph knows it: its metadata, which says all that matters here."""

    gvr: GVR
    metadata: Object

    @property
    def uid(self) -> str:
        return str(self.metadata["uid"])

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def namespace(self) -> str | None:
        return self.metadata.get("namespace")

    @property
    def owners(self) -> list[Object]:
        return self.metadata.get("ownerReferences") or []

    @property
    def deleting(self) -> bool:
        return bool(self.metadata.get("deletionTimestamp"))

    def waits_for(self, finalizer: str) -> bool:
        """Whether it is being deleted and the finalizer still holds it."""
        return self.deleting and finalizer in (self.metadata.get("finalizers") or ())

    def blocks(self, owner: str) -> bool:
        """Whether the owner may not go before this."""
        return any(each["uid"] == owner and each.get("blockOwnerDeletion") for each in self.owners)


class Graph:
    """All items, and for each uid, present or not, the items that name it as an owner."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._dependents: dict[str, set[str]] = {}

    def get(self, uid: str) -> Item | None:
        return self._items.get(uid)

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        self.remove(item.uid)
        self._items[item.uid] = item
        for owner in item.owners:
            self._dependents.setdefault(owner["uid"], set()).add(item.uid)

    def remove(self, uid: str) -> None:
        item = self._items.pop(uid, None)
        if item is None:
            return
        for owner in item.owners:
            known = self._dependents.get(owner["uid"])
            if known is not None:
                known.discard(uid)
                if not known:
                    del self._dependents[owner["uid"]]

    def dependents(self, uid: str) -> list[Item]:
        return [self._items[each] for each in self._dependents.get(uid, ())]
