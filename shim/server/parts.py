"""What request handlers work with: everything here is made once, at start, and handed to each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from shim.api.meta import Object
from shim.api.oddities import Oddity
from shim.api.schema import Schema
from shim.resources.strategy import Resource
from shim.resources.subresources import Subresource
from shim.server import options
from shim.server.negotiation import AS_STORED, Rendering, rendering
from shim.server.options import Query
from shim.server.routes import RequestInfo, Routes
from shim.server.users import User
from shim.settings import ApiServerSettings
from shim.store.cache import Cache

if TYPE_CHECKING:  # these in turn need the names above
    from shim.server.audit.record import Record
    from shim.server.authz import Authorizer
    from shim.server.bearers import Bearers
    from shim.server.registry import Registry
    from shim.server.removal import Removal
    from shim.server.tokens import Tokens


@dataclass(slots=True)
class Parts:
    """The server's inner parts."""

    settings: ApiServerSettings
    cache: Cache
    routes: Routes
    schema: Schema
    tokens: Tokens
    bearers: Bearers
    authorizer: Authorizer
    registry: Registry
    removal: Removal


@dataclass(slots=True)
class Call:
    """One request being answered."""

    http: web.BaseRequest
    parts: Parts
    user: User
    info: RequestInfo
    query: Query
    resource: Resource
    subresource: Subresource | None = None
    warnings: list[str] = field(default_factory=list)
    odd: set[Oddity] = field(default_factory=set)
    """What of the decoded object is seen on the way, but never stored."""
    record: Record | None = None
    """What the audit log tells of it, if anything."""

    @property
    def rendering(self) -> Rendering:
        """How the answer is to be written. Raises 406."""
        accept = self.http.headers.get("Accept")
        return rendering(accept, "get" in self.resource.verbs) if accept else AS_STORED

    @property
    def key(self) -> str:
        """Where the object this request names is stored."""
        return self.resource.key(self.info.namespace, self.info.name)

    @property
    def prefix(self) -> str:
        """Where the collection this request names is stored."""
        if self.info.namespace and self.resource.namespaced:
            return f"{self.resource.prefix}{self.info.namespace}/"
        return self.resource.prefix

    def value(self, name: str) -> str:
        """The first value of a query parameter, or ""."""
        return options.first(self.query, name)


def index(routes: Routes, key: str, obj: Object) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The labels and fields selectors may ask of an object; what the cache keeps beside its bytes."""
    metadata = obj["metadata"]
    fields = {"metadata.name": metadata["name"]}
    if namespace := metadata.get("namespace"):
        fields["metadata.namespace"] = namespace
    try:
        fields.update(routes.of_key(key).strategy.selectable_fields(obj))
    except (KeyError, ValueError):
        pass  # a kind that is no longer served
    return metadata.get("labels") or {}, fields
