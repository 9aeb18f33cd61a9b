"""What is to be written: which object, by whom, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from shim.admission.chain import Request
from shim.api.meta import Object
from shim.api.oddities import Oddity
from shim.resources.strategy import Resource
from shim.server.users import User


class Side(NamedTuple):
    """How a subresource's object is shown of the whole, and put back into it (third), which is of a resource (first).

    The second is the subresource's object.
    """

    show: Callable[[Object], Object]
    take: Callable[[Resource, Object, Object], None]


@dataclass(slots=True)
class Write:
    """One write: which object, by whom, and how."""

    resource: Resource
    namespace: str
    name: str
    user: User
    subresource: str = ""
    dry_run: bool = False
    uid: str = ""  # preconditions
    revision: str = ""
    options: Object = field(default_factory=dict)
    """What the client asked beside: ``CreateOptions`` and its like, as webhooks are shown it."""
    side: Side | None = None
    """Of a subresource with a kind of its own (Scale): that is what admission looks at."""
    admitted: bool = False
    """Whether admission has had its say already, on the order (Binding, Eviction) that this write carries out."""
    of_collection: bool = False
    """Whether the client named a collection: admission is shown each object, but no name, as upstream's is."""
    spares_old: bool = False
    """Whether the change leaves the object that it is given as it was: it needs no copy of its own then."""
    large: bool = False
    """Whether the object takes so long that others have to be answered meanwhile; see :mod:`shim.server.turns`."""
    may_create: Callable[[], None] | None = None
    """Asked before an update makes the object that is not there. Raises ApiError."""
    manager: str = ""
    """Who is recorded in ``metadata.managedFields`` as having set what this write changes; "": nobody."""
    odd: set[Oddity] = field(default_factory=set)
    """What the object has that is seen on the way, but never stored."""
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    """What admission tells the audit log."""

    @property
    def key(self) -> str:
        return self.resource.key(self.namespace, self.name)

    def admission(self, operation: str, obj: Object | None, old: Object | None) -> Request:
        return Request(
            operation,
            self.resource,
            self.namespace or None,
            "" if self.of_collection else self.name,
            self.user,
            obj,
            old,
            self.subresource,
            self.dry_run,
            self.options,
            warnings=self.warnings,
            annotations=self.annotations,
        )
