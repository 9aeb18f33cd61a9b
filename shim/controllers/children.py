"""Who belongs to whom? Which objects name an owner as their controller, which name nobody, and who may adopt those."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from shim.api import selectors
from shim.api.meta import Object, controller_of, key_of
from shim.api.selectors import Selector, SelectorError
from shim.client import Informer

_INDEX = "controller"
NAMESPACE = "namespace"


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


def selector_of(owner: Object) -> Selector:
    """What an owner's LabelSelector means. Raises SelectorError."""
    return selectors.from_object(owner["spec"].get("selector"))


class Adopters:
    """Which owners would adopt an orphan: those of its namespace whose selector matches it. An index by namespace."""

    def __init__(self, owners: Informer, selector: Callable[[Object], Selector] = selector_of) -> None:
        self._owners, self._selector = owners, selector
        by_namespace(owners)

    def of(self, orphan: Object) -> list[str]:
        """Their keys."""
        labels = orphan["metadata"].get("labels") or {}
        if not labels:
            return []
        near = self._owners.by(NAMESPACE, orphan["metadata"]["namespace"])
        return [key_of(owner) for owner in near if self._selects(owner, labels)]

    def _selects(self, owner: Object, labels: dict[str, str]) -> bool:
        try:
            selector = self._selector(owner)
        except SelectorError:
            return False
        return not selector.empty and selector.matches(labels)


def by_namespace(informer: Informer) -> None:
    """Let ``informer.by(NAMESPACE, name)`` tell the objects of a namespace."""
    informer.add_indexer(NAMESPACE, _namespace)


def _namespace(obj: Object) -> Iterable[str]:
    yield obj["metadata"]["namespace"]


def _group(obj: Object) -> Iterable[str]:
    reference = controller_of(obj)
    yield str(reference["uid"]) if reference is not None else f"/{obj['metadata'].get('namespace', '')}"
