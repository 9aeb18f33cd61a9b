"""Which APIServices speak of this server itself? One for each group version it serves, custom resources' among them.

What a label (``api_services.KEPT``) says is kept ``onstart`` is put right once, when a server starts, what is kept
``true`` always, and what has no label never, as upstream's aggregator does.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterable

from shim.api import conditions
from shim.api.keys import prefix_of
from shim.api.meta import Object
from shim.api.status import ApiError
from shim.resources.api_services import available
from shim.resources.bootstrap import api_services
from shim.resources.bootstrap.api_services import ALWAYS, API_SERVICES, KEPT, ON_START
from shim.resources.metrics import GROUP as METRICS_GROUP
from shim.server.deletions import DeleteOptions
from shim.server.intent import Write
from shim.server.registry import Registry
from shim.server.removal import Removal
from shim.server.routes import Routes
from shim.server.users import SERVER
from shim.store.cache import Cache
from shim.store.contract import StoreError

log = logging.getLogger(__name__)

PREFIX = prefix_of(API_SERVICES.group, API_SERVICES.resource)
MANAGER = "kube-apiserver"


class LocalServices:
    """Keeps them."""

    def __init__(self, cache: Cache, routes: Routes, registry: Registry, removal: Removal) -> None:
        self._cache, self._routes = cache, routes
        self._registry, self._removal = registry, removal
        self._started = False

    async def settle(self) -> bool:
        """Put right what has changed, at first also while no server was there; whether something of it was refused.

        The definitions of custom resources are followed, and each APIService that needs no other server is told that
        it is there.
        """
        refused = False
        if not self._started:
            refused = await self._keep(ON_START, api_services.built_in())
            if self._routes.versions(METRICS_GROUP):
                refused |= await self._keep("", [api_services.of_metrics()])
            self._started = not refused
        custom = ((row.group, row.version) for row in self._routes.resources if row.custom)
        refused |= await self._keep(ALWAYS, api_services.of_custom_resources(custom))
        for entry in self._cache.range(PREFIX):
            obj = entry.decode()
            if obj["spec"].get("service") is None:
                refused |= await self._done(obj, self._tell(obj))
        return refused

    async def _keep(self, kept: str, wanted: Iterable[Object]) -> bool:
        """Make those that are missing; of those with this label, correct what differs and delete what is not wanted."""
        refused = False
        missing = {each["metadata"]["name"]: each for each in wanted}
        for entry in self._cache.range(PREFIX):
            obj = entry.decode()
            name = obj["metadata"]["name"]
            right = missing.pop(name, None)
            if not kept or (obj["metadata"].get("labels") or {}).get(KEPT) != kept:
                continue
            if right is None:
                refused |= await self._done(obj, self._delete(obj))
            elif obj["spec"] != right["spec"]:
                refused |= await self._done(obj, self._correct(name, right["spec"]))
        for obj in missing.values():
            refused |= await self._done(obj, self._create(obj))
        return refused

    async def _done(self, obj: Object, change: Awaitable[object]) -> bool:
        """Make one change; whether it was refused. Not so what somebody else came before: the next event shows that."""
        try:
            await change
        except (ApiError, StoreError, TimeoutError) as error:
            log.info("APIService %s: %s", obj["metadata"]["name"], error)
            return not isinstance(error, ApiError) or error.code not in (404, 409)
        return False

    async def _tell(self, obj: Object) -> None:
        local = available("")
        have = conditions.find(obj, local["type"])
        if have is None or any(have.get(key) != local[key] for key in ("status", "reason", "message")):
            await tell(self._registry, self._routes, obj["metadata"]["name"], local)

    async def _create(self, obj: Object) -> None:
        await self._registry.create(write(self._routes, obj["metadata"]["name"]), obj)

    async def _correct(self, name: str, spec: Object) -> None:
        await self._registry.update(write(self._routes, name), lambda old: {**old, "spec": spec})

    async def _delete(self, obj: Object) -> None:
        options = DeleteOptions(uid=obj["metadata"]["uid"])
        await self._removal.delete(write(self._routes, obj["metadata"]["name"]), options)


def write(routes: Routes, name: str, subresource: str = "") -> Write:
    """A write of an APIService by this server."""
    row = routes.get(API_SERVICES.group, API_SERVICES.version, API_SERVICES.resource)
    assert row is not None
    return Write(row, "", name, SERVER, subresource, manager=MANAGER)


async def tell(registry: Registry, routes: Routes, name: str, condition: Object) -> None:
    """Set the condition of an APIService where it says something else. Raises ApiError and StoreError."""
    one = write(routes, name, "status")
    strategy = one.resource.strategy

    def change(old: Object) -> Object:
        told = [dict(each) for each in (old.get("status") or {}).get("conditions") or ()]
        conditions.set_condition(
            told, condition["type"], condition["status"], condition["reason"], condition["message"]
        )
        return {**old, "status": {**(old.get("status") or {}), "conditions": told}}

    await registry.update(
        one, change, prepare=strategy.prepare_for_status_update, validate=strategy.validate_status_update
    )
