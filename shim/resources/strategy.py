"""What makes a kind itself: how its objects are defaulted, prepared, validated, selected and shown.

The REST machinery (``shim.server``) is generic and asks these questions in this order on a write:
decode -> ``default`` -> ``prepare_for_create``/``prepare_for_update`` -> admission -> ``validate``/``validate_update``
-> store. All methods are pure functions of plain objects; those named prepare/default change their argument in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shim.api.meta import GVR, Object
from shim.api.status import FieldError


class Strategy:
    """The behaviour most kinds share; a kind overrides what differs. ``spec`` drives ``metadata.generation``."""

    allow_create_on_update = False
    allow_unconditional_update = True
    counts_generation = True
    """Whether ``metadata.generation`` counts changes outside metadata and status (upstream: not every kind does)."""

    def default(self, obj: Object) -> None:
        """Fill in what upstream's defaulting functions fill in."""

    def prepare_for_create(self, obj: Object) -> None:
        """Drop what a client may not set (status, where it is a subresource)."""

    def prepare_for_update(self, new: Object, old: Object) -> None:
        """Carry over what an update may not change silently (status)."""

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        """Keep everything but the status (and what else the subresource owns) from ``old``."""

    def validate(self, obj: Object) -> list[FieldError]:
        """Every reason why this object cannot be created, each with its field path."""
        return []

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        """Every reason why this update is refused; ``validate(new)`` is asked as well."""
        return []

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return []

    def warnings(self, obj: Object) -> list[str]:
        """Texts for Warning headers."""
        return []

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        """Field selectors this kind supports beyond metadata.name and metadata.namespace."""
        return {}

    def grace_period(self, obj: Object, requested: int | None) -> int:
        """Seconds an object lives on with a deletionTimestamp; 0 deletes at once. Pods override this."""
        return 0


@dataclass(frozen=True, slots=True)
class Column:
    """One printed column: its definition in Tables, and how its cell is read from an object."""

    name: str
    type: str  # string, integer, boolean, date
    description: str
    cell: Callable[[Object], Any]
    format: str = ""
    priority: int = 0  # 0 is always shown, 1 with -o wide


ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


_GROUPS_WITH_PREFIX = ("apiregistration.k8s.io", "apiextensions.k8s.io")


def _is_built_in(group: str) -> bool:
    """Built-in groups have no dot or end in k8s.io; a custom resource may share a plural with them, never a group."""
    return "." not in group or group.endswith(".k8s.io")


@dataclass(frozen=True, slots=True)
class Resource:
    """One row of the table of resources: all that the server needs to know of a kind."""

    name: str  # "pods"
    kind: str  # "Pod"
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[
        str, ...
    ] = ()  # "status", "scale", "log", ...; each has its handler in shim.server.subresources
    strategy: Strategy = field(default_factory=Strategy)
    columns: Sequence[Column] = ()  # empty: NAME and AGE
    storage: GVR | None = None  # where another version or group keeps this kind (events), None: here
    to_storage: Callable[[Object], Object] | None = None  # with ``storage``: this version -> the stored one
    from_storage: Callable[[Object], Object] | None = None

    @property
    def gvr(self) -> GVR:
        return GVR(self.group, self.version, self.name, self.namespaced)

    @property
    def api_version(self) -> str:
        return self.gvr.api_version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    @property
    def prefix(self) -> str:
        """Where objects are kept, as upstream lays out etcd: ``/registry/pods/``, ``/registry/example.com/things/``."""
        kept = self.storage or self.gvr
        if kept.group in _GROUPS_WITH_PREFIX or not _is_built_in(kept.group):
            return f"/registry/{kept.group}/{kept.resource}/"
        return f"/registry/{kept.resource}/"

    def key(self, namespace: str | None, name: str) -> str:
        return f"{self.prefix}{namespace}/{name}" if self.namespaced and namespace else f"{self.prefix}{name}"
