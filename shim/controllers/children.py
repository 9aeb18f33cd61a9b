"""Which objects name this owner as their controller, and which name nobody?"""

from __future__ import annotations

from collections.abc import Iterable

from shim.api.meta import Object, controller_of
from shim.client import Informer

_INDEX = "controller"


class Children:
    """An informer's objects by the uid of their controller, orphans by namespace: an index of the informer."""

    def __init__(self, informer: Informer) -> None:
        self._informer = informer
        informer.add_indexer(_INDEX, _group)

    def of(self, uid: str) -> list[Object]:
        """Everything whose controller has this uid."""
        return self._informer.by(_INDEX, uid)

    def owned_by(self, owner: Object) -> list[Object]:
        """Everything whose controller is this owner."""
        return self.of(owner["metadata"]["uid"])

    def orphans(self, namespace: str) -> list[Object]:
        """Everything in the namespace that has no controller."""
        return self._informer.by(_INDEX, f"/{namespace}")

    def candidates(self, owner: Object) -> list[Object]:
        """What the owner has or may adopt."""
        return self.owned_by(owner) + self.orphans(owner["metadata"]["namespace"])


def _group(obj: Object) -> Iterable[str]:
    reference = controller_of(obj)
    yield str(reference["uid"]) if reference is not None else f"/{obj['metadata'].get('namespace', '')}"
