"""What admission is asked: a request on its way to the store, and a view of what the cluster holds already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shim import cel
from shim.api.meta import GVR, Object
from shim.api.schema import Type
from shim.api.status import ApiError, forbidden
from shim.api.timing import Histograms
from shim.resources.metadata import path_segment
from shim.resources.strategy import Resource

CREATE, UPDATE, DELETE, CONNECT = "CREATE", "UPDATE", "DELETE", "CONNECT"
PATCHES = "patch.webhook.admission.k8s.io/"
"""Annotations of the audit log that begin so quote what was sent: they are for logs that hold requests."""
MIRROR = "kubernetes.io/config.mirror"
"""The annotation of a pod that only shows what a node runs from a file."""


class Who(Protocol):
    """The user behind a request (``shim.server.users.User``)."""

    @property
    def name(self) -> str: ...
    @property
    def groups(self) -> Sequence[str]: ...
    @property
    def uid(self) -> str: ...
    @property
    def extra(self) -> Mapping[str, Sequence[str]]: ...
    def info(self) -> Object:
        """``UserInfo`` of authentication.k8s.io."""


@dataclass(frozen=True, slots=True)
class Charge:
    """An object that is changed by a request besides its own, from the revision it has: both happen, or neither."""

    gvr: GVR
    obj: Object


@dataclass(slots=True)
class Reinvocation:
    """Which webhooks are to be asked a second time, because others changed the object after them."""

    round: int = 0
    wanted: bool = False
    """Whether the chain shall run once more."""
    output: bytes = b""
    """The object as the webhooks left it last."""
    asked: set[str] = field(default_factory=set)
    due: set[str] = field(default_factory=set)

    def ask_again(self) -> None:
        """Every webhook asked until now that wishes it is due."""
        self.due |= self.asked
        self.asked = set()


@dataclass(slots=True)
class Request:
    """One write. ``obj`` is what would be stored and may be changed in place; ``old`` is what is stored now."""

    operation: str
    resource: Resource
    namespace: str | None
    name: str
    user: Who
    obj: Object | None = None
    old: Object | None = None
    subresource: str = ""
    dry_run: bool = False
    options: Object = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    """Texts for Warning headers."""
    annotations: dict[str, str] = field(default_factory=dict)
    """What the audit log is to say of this request."""
    reinvocation: Reinvocation | None = None
    charges: list[Charge] = field(default_factory=list)
    held: list[Callable[[], None]] = field(default_factory=list)
    """What lets others go on once this write is done."""

    def replace(self, obj: Object) -> None:
        """Make the object another one, in place: whoever writes it holds it as well."""
        assert self.obj is not None
        self.obj.clear()
        self.obj.update(obj)

    def finish(self) -> None:
        """The write has happened, or has failed: let others go on, and forget what it was charged."""
        while self.held:
            self.held.pop()()
        self.charges.clear()

    def is_for(self, resource: str, *operations: str, group: str = "", subresource: str = "") -> bool:
        """Whether this is a write of the resource (itself, or this subresource) by one of the operations."""
        return (
            self.resource.name == resource
            and self.resource.group == group
            and self.subresource == subresource
            and self.operation in operations
        )


class Reader(Protocol):
    """The cluster as memory has it. Objects are shared: never change them."""

    def get(self, gvr: GVR, namespace: str | None, name: str) -> Object | None: ...

    def list(self, gvr: GVR, namespace: str | None = None) -> list[Object]: ...

    def may(self, user: Who, verb: str, gvr: GVR, name: str = "", *, namespace: str = "") -> bool:
        """Whether the roles let this user do this."""

    def judge(self, user: Who, asked: cel.Attributes) -> cel.Decision:
        """The same for expressions, which may ask for others and for more."""

    def equivalents(self, resource: Resource) -> Sequence[Resource]:
        """The other groups and versions under which the same objects are served."""

    def conform(self, obj: Object, kind: str, api_version: str, *, strict: bool = False) -> Object:
        """An object as its schema has it: what is unknown is left out. Raises 500 for values of a wrong type.

        ``strict``: what is unknown is wrong, too.
        """

    def resource_of(self, api_version: str, kind: str) -> GVR | None:
        """The resource that serves a kind, if one does."""

    def type_of(self, api_version: str, kind: str) -> Type:
        """How objects of a kind merge."""


class Plugin:
    """One rule. It may change the object of a request (``mutate``), then have its say on the result (``validate``).

    What must be right at the very moment of the write is said last (``charge``), and again whenever another writer
    came in between. All raise ApiError to refuse. All plugins mutate before the first one validates.
    """

    resources: tuple[tuple[str, str], ...] = ()
    """The (group, resource) pairs the plugin wants to see; empty: all."""
    counts: Mapping[str, Counter[tuple[str, ...]]] = {}
    durations: Mapping[str, Histograms] = {}
    """What the plugin measures of its own, by the names of the metrics; the server knows their labels."""

    async def mutate(self, request: Request, reader: Reader) -> None: ...

    async def validate(self, request: Request, reader: Reader) -> None: ...

    async def charge(self, request: Request, reader: Reader) -> None: ...

    async def close(self) -> None: ...


def refuse(request: Request, why: str) -> ApiError:
    """403 as admission words it: it names the object even where its name is still to be generated."""
    name = request.name
    if not name and request.obj:
        metadata = request.obj.get("metadata") or {}
        name = metadata.get("name") or metadata.get("generateName") or ""
    return forbidden(request.resource.group, request.resource.name, name or "Unknown", why)


def unusable(name: str) -> str:
    """Why nothing can be asked for by a name that an object has, in the words of a client; "" where it can."""
    if not name:
        return "resource name may not be empty"
    complaints = path_segment(name)
    return f'invalid resource name "{name}": [{" ".join(complaints)}]' if complaints else ""


def together(complaints: Sequence[str]) -> str:
    """Several complaints as one text, each once, as upstream's Aggregate prints them."""
    once = list(dict.fromkeys(complaints))
    return once[0] if len(once) == 1 else f"[{', '.join(once)}]"
