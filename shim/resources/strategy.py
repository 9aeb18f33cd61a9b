"""What makes a kind itself: how its objects are defaulted, prepared, validated, selected and shown.

The REST machinery (``shim.server``) is generic and asks these questions in this order:

- create: decode -> ``default`` -> admission -> uid, creationTimestamp, generated name -> ``prepare_for_create``
  -> ``validate`` -> store, with ``metadata.generation`` 1 if ``counts_generation``;
- update: decode -> ``default`` -> admission -> ``prepare_for_update`` -> ``validate_update`` -> store,
  with one more generation if ``counts_generation`` and ``desired_changed``;
- update of the status: the same with ``prepare_for_status_update`` and ``validate_status_update``, and no generation.

All methods are pure functions of plain objects; those named prepare and default change their argument in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol

from shim.api import keys, names
from shim.api.meta import GVR, Object
from shim.api.status import FieldError
from shim.resources import metadata

_WRITTEN_METADATA = ("labels", "annotations", "finalizers", "ownerReferences", "deletionTimestamp", "selfLink")
_NOT_DESIRED = ("apiVersion", "kind", "metadata", "status")


class Check(Enum):
    """One thing that is asked of an update."""

    METADATA_CHANGE = auto()  # whether the metadata may follow the old one
    METADATA = auto()  # whether it is in order by itself
    BODY = auto()  # whether the rest is
    CHANGE = auto()  # whether the rest may follow the old one


class ScalePaths(NamedTuple):
    """Where an object keeps what its subresource ``scale`` shows."""

    replicas: tuple[str, ...]
    status: tuple[str, ...]
    selector: tuple[str, ...] = ()

    @staticmethod
    def at(obj: Object, path: tuple[str, ...]) -> Any:
        """The value at one of these places, or None."""
        value: Any = obj
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value


class TakesLong(Exception):
    """A judgement that would keep the server from its other work: ``causes`` makes it, in a thread of its own."""

    def __init__(self, causes: Callable[[], list[FieldError]]) -> None:
        self.causes = causes


class Strategy:
    """The behaviour most kinds share; a kind overrides what differs."""

    allow_create_on_update = False
    allow_unconditional_update = True
    counts_generation = True
    """Whether ``metadata.generation`` counts changes outside metadata and status (upstream: not every kind does)."""
    first_generation = 1
    """What is counted from: CSIDrivers are born without one."""
    counts_as_sent = False
    """Whether what :meth:`prepare_for_update` takes back counts as a change, too."""
    has_status = False
    """Whether the status is a subresource: then only writes to it change it."""
    status_resets: tuple[str, ...] = ("spec",)
    """What a write of the status cannot change, whatever it says: fields, dotted."""
    default_propagation = "Background"
    """What becomes of dependents when a delete request does not say: Background, or Orphan."""
    default_propagation_warning = ""
    """What is said of a delete request that leaves it at that."""
    scale_paths: ScalePaths | None = None
    """Where the numbers of the subresource scale are; only custom resources say."""
    name_rule: metadata.NameRule = staticmethod(names.dns1123_subdomain)
    update_checks: tuple[Check, ...] = (Check.METADATA_CHANGE, Check.METADATA, Check.BODY, Check.CHANGE)
    """What upstream asks of an update of this kind, in its order; what it asks of every update is the server's."""
    any_finalizer = False
    """Whether a finalizer may be one that is neither the cluster's own nor has a domain; a few kinds never asked."""
    any_prefix = False
    """Whether ``generateName`` is not looked at, only the name that comes of it."""
    trusts_metadata = False
    """Whether an update of the metadata may be wrong although the kind's own rules found nothing."""

    looks_at_namespace = False
    """Whether it matters what the namespace says that an object is written into: then :meth:`validate_in` is asked."""
    records_creator = False
    """Whether an object says who created it: then :meth:`record_creator` is asked."""

    def record_creator(self, obj: Object, user: Object) -> None:
        """Write ``user`` (UserInfo of authentication.k8s.io) into a new object, whatever the client wrote there."""

    def default(self, obj: Object) -> None:
        """Fill in what upstream's defaulting functions fill in."""

    def default_applied(self, obj: Object) -> None:
        """The same for what an apply came to, in which upstream lets nulls stand."""
        self.default(obj)

    def initial_status(self, obj: Object) -> Object:
        """The status an object is born with."""
        return {}

    def prepare_for_create(self, obj: Object) -> None:
        """Drop what a client may not set (status, where it is a subresource)."""
        if self.has_status:
            obj["status"] = self.initial_status(obj)

    def prepare_for_update(self, new: Object, old: Object) -> None:
        """Carry over what an update may not change silently (status)."""
        if self.has_status:
            if "status" in old:
                new["status"] = old["status"]
            else:
                new.pop("status", None)

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        """Keep everything but metadata and status from ``old``."""
        for key in [key for key in new if key not in _NOT_DESIRED and key not in old]:
            del new[key]
        for key, value in old.items():
            if key not in _NOT_DESIRED:
                new[key] = value
        for path in self.status_resets:
            group, _, field = path.partition(".")
            for name in (field,) if field else _WRITTEN_METADATA if group == "metadata" else ():
                new["metadata"].pop(name, None)
                if name in old["metadata"]:
                    new["metadata"][name] = old["metadata"][name]

    def resets(self, subresource: str) -> tuple[str, ...]:
        """What a write of the object, or of a subresource, cannot change: nobody owns it for having sent it."""
        if subresource == "status":
            return self.status_resets
        return ("status",) if self.has_status else ()

    def desired_changed(self, new: Object, old: Object) -> bool:
        """Whether anything outside metadata and status differs: what a generation is."""
        wanted = {key: value for key, value in new.items() if key not in _NOT_DESIRED}
        return wanted != {key: value for key, value in old.items() if key not in _NOT_DESIRED}

    def validate(self, obj: Object) -> list[FieldError]:
        """Every reason why this object cannot be created, each with its field path."""
        return [*self.validate_metadata(obj), *self.validate_body(obj)]

    def validate_metadata(self, obj: Object) -> list[FieldError]:
        """The reasons that lie in the metadata."""
        return metadata.validate(obj, self.name_rule, any_finalizer=self.any_finalizer, any_prefix=self.any_prefix)

    def validate_body(self, obj: Object) -> list[FieldError]:
        """The reasons that lie outside the metadata; most kinds ask the same of a created and of a changed object."""
        return []

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        """Every reason why this update is refused; complete by itself, ``validate`` is not asked."""
        known = metadata.validate_update(new, old, any_finalizer=self.any_finalizer)
        doubtful = bool(known) or metadata.may_still_be_wrong(new, old)
        causes: list[FieldError] = []
        for check in self.update_checks:
            if check is Check.BODY:
                causes += self.validate_body(new)
            elif check is Check.CHANGE:
                causes += self.validate_change(new, old)
            elif check is Check.METADATA_CHANGE:
                causes += known
            elif doubtful:
                causes += self.validate_metadata(new)
        return causes

    def validate_change(self, new: Object, old: Object) -> list[FieldError]:
        """The reasons that lie in the difference."""
        return []

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        """Every reason why this update of the status is refused."""
        return metadata.validate_update(new, old) + self.validate_status(new, old)

    def validate_in(self, namespace: Object, new: Object, old: Object | None) -> list[FieldError]:
        """The reasons that lie in the namespace, against a new object or, with ``old``, a new status."""
        return []

    def validate_status(self, new: Object, old: Object) -> list[FieldError]:
        """The reasons that lie in the status."""
        return []

    def validate_finalize(self, new: Object, old: Object) -> list[FieldError]:
        """Every reason why this update of ``spec.finalizers``, which is a subresource of namespaces, is refused."""
        return metadata.validate_update(new, old)

    def warnings(self, obj: Object) -> list[str]:
        """Texts for Warning headers."""
        return []

    def update_warnings(self, new: Object, old: Object) -> list[str]:
        """The same for an update."""
        return self.warnings(new)

    def status_warnings(self, new: Object) -> list[str]:
        """The same for an update of the status."""
        return []

    table_order: Callable[[Object], Any] | None = None
    """The key by which the rows of a Table are sorted; by name when None, as every list."""

    def shown_in_table(self, metadata: Object) -> Object:
        """The metadata that goes with a row of a Table: what the server itself keeps, without a version's additions."""
        return metadata

    def selectable_fields(self, obj: Object) -> Mapping[str, str]:
        """Field selectors this kind supports beyond metadata.name and metadata.namespace."""
        return {}

    def field_names(self) -> Mapping[str, str]:
        """What the fields are called in selectors -> in ``selectable_fields``, where a version has names of its own."""
        return {name: name for name in self.selectable_fields({"metadata": {}, "spec": {}, "status": {}})}

    unknown_field = "field label not supported: {}"
    """What is said of a field that nothing can be selected by, of kinds that have fields of their own."""

    def begin_deletion(self, obj: Object) -> bool:
        """Mark an object that is deleted in steps of its own kind; False where the usual ones do."""
        return False

    def side(self, subresource: str) -> Strategy:
        """What holds for updates through a subresource with rules of its own, where the kind has such."""
        return self

    def grace_period(self, obj: Object, requested: int | None) -> int:
        """Seconds an object lives on with a deletionTimestamp; 0 deletes at once. Pods override this."""
        return 0


def keep_all_but_spec(new: Object, old: Object) -> None:
    """Make ``new`` what is stored, but for its spec and what the server itself has put into its metadata."""
    spec, found = new.get("spec"), new["metadata"]
    kept = {**old["metadata"], "resourceVersion": found.get("resourceVersion")}
    kept.pop("managedFields", None)
    if managed := found.get("managedFields"):
        kept["managedFields"] = managed
    new.clear()
    new.update(old)
    new["metadata"], new["spec"] = kept, spec


class WithStatus(Strategy):
    """A kind without rules of its own whose status is a subresource."""

    has_status = True


class Uncounted(Strategy):
    """A kind without rules of its own and without a generation."""

    counts_generation = False


class UncountedWithStatus(WithStatus):
    """Both."""

    counts_generation = False


@dataclass(frozen=True, slots=True)
class Column:
    """One printed column: its definition in Tables, and how its cell is read from an object."""

    name: str  # "" for a cell that the head of a Table does not have
    type: str  # string, integer, boolean, date
    description: str  # or a pointer into the schema: shim.resources.columns.common.description resolves it
    cell: Callable[[Object], Any]
    format: str = ""
    priority: int = 0  # 0 is always shown, 1 with -o wide


ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class Converter(Protocol):
    """Converts objects of a custom resource between its versions; it has to ask somebody."""

    async def ready(self, objects: Iterable[Object], api_version: str) -> None:
        """Make sure that stored objects can be revived in a version."""

    def known(self, obj: Object, api_version: str) -> Object:
        """A stored object in a version that was made ready."""

    async def convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        """Objects that are not stored yet in another version."""


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
    columns: Sequence[Column] = ()  # in table.py never empty; see shim.resources.columns.common.DEFAULT
    deprecated: str = ""  # what a Warning header of every answer says of this kind
    storage: GVR | None = None  # where another version or group keeps this kind (events), None: here
    to_storage: Callable[[Object], Object] | None = None  # with ``storage``: this version -> the stored one
    from_storage: Callable[[Object], Object] | None = None
    custom: bool = False
    """Defined by a CustomResourceDefinition."""
    revive: Callable[[Object], Object] | None = None
    """Of custom resources: what is stored -> this version, as if it were written now. Rules judge this version."""
    preserve: Callable[[Object], Object] | None = None  # this version -> the stored one
    converter: Converter | None = None
    """Who converts between the versions, where they are not the same but for their name."""
    named: str = ""  # the singular name, where it is not the kind in small letters
    list_named: str = ""  # the kind of lists, where it is not the kind and "List"
    head: bytes = b""
    since: float = math.inf
    """What is stored since this revision, and begins with ``head``, needs no conversion when it is read."""
    closed: bool = False
    """Its definition is being deleted: nothing more is created."""
    gvr: GVR = field(init=False, repr=False, compare=False)
    api_version: str = field(init=False, repr=False, compare=False)
    prefix: str = field(init=False, repr=False, compare=False)
    """Where objects are kept: ``/registry/pods/``, ``/registry/example.com/things/``."""

    def __post_init__(self) -> None:
        """Make the names that every request asks for."""
        gvr = GVR(self.group, self.version, self.name, self.namespaced)
        kept = self.storage or gvr
        object.__setattr__(self, "gvr", gvr)  # so frozen dataclasses are filled
        object.__setattr__(self, "api_version", gvr.api_version)
        object.__setattr__(self, "prefix", keys.prefix_of(kept.group, kept.resource, custom=self.custom))

    @property
    def singular(self) -> str:
        return self.named or self.kind.lower()

    @property
    def list_kind(self) -> str:
        return self.list_named or f"{self.kind}List"

    def as_is(self, revision: int, data: bytes) -> bool:
        """Whether stored bytes are what this row shows."""
        return self.revive is None or (revision >= self.since and data.startswith(self.head))

    def key(self, namespace: str | None, name: str) -> str:
        return f"{self.prefix}{namespace}/{name}" if self.namespaced and namespace else f"{self.prefix}{name}"
