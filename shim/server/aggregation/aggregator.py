"""Follows APIServices: which group versions are passed on, whether their servers are there, and what they serve."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from shim.api import conditions
from shim.api.meta import Object
from shim.api.status import ApiError
from shim.resources.bootstrap.api_services import OWN_GROUP, Place
from shim.server.aggregation import trust
from shim.server.aggregation.extension import Extension, Spec
from shim.server.aggregation.local import PREFIX, LocalServices, tell
from shim.server.aggregation.looking import look
from shim.server.following import follow, whenever
from shim.server.registry import Registry
from shim.server.removal import Removal
from shim.server.routes import RequestInfo, Routes
from shim.store.cache import Cache
from shim.store.contract import StoreError

log = logging.getLogger(__name__)

INTERVAL = 30.0  # seconds between looks at a server; upstream's
FIRST_RETRY = 0.1  # seconds until a server that was not there is looked for again, then twice as long each time


class Aggregator:
    """The group versions of extension servers. ``changed`` is called when what they serve has changed.

    ``placed`` when only the places of groups and versions have.
    """

    def __init__(
        self,
        cache: Cache,
        routes: Routes,
        registry: Registry,
        removal: Removal,
        data_dir: Path,
        changed: Callable[[], None],
        placed: Callable[[], None],
    ) -> None:
        self.extensions: dict[tuple[str, str], Extension] = {}
        self.places: dict[tuple[str, str], Place] = {}
        """Where each APIService puts its group and version, whoever serves them."""
        self._cache, self._routes, self._registry = cache, routes, registry
        self._data_dir, self._changed, self._placed = data_dir, changed, placed
        self._local = LocalServices(cache, routes, registry, removal)
        self._watching: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._look_again = asyncio.Event()

    def serving(self, info: RequestInfo) -> Extension | None:
        """The extension a request is passed on to: for its group version, or the documents about that."""
        if not self.extensions:
            return None
        if info.resource:
            return self.extensions.get((info.group, info.version))
        path = info.path.removeprefix("/openapi/v3").rstrip("/")
        found = next((each for each in self.extensions.values() if each.spec.path == path), None)
        if found is not None and path != info.path and found.described.converted is not None:
            return None  # that document is made here
        return found

    def all(self) -> Iterable[Extension]:
        return self.extensions.values()

    def load(self) -> None:
        """Pass on what is registered already; before anything is answered."""
        self._read()

    def wake(self) -> None:
        """What this server itself serves has changed."""
        self._look_again.set()

    async def run(self) -> None:
        """Until cancelled."""
        self.wake()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow())
                group.create_task(whenever(self._look_again, self._local.settle))
                group.create_task(trust.keep(self._cache, self._data_dir))
        finally:
            for task in self._watching.values():
                task.cancel()
            await asyncio.gather(*self._watching.values(), return_exceptions=True)

    async def _follow(self) -> None:
        async for _ in follow(self._cache, PREFIX):
            places = self.places
            if self._read():
                self._changed()
            elif self.places != places:
                self._placed()
            for key, extension in self.extensions.items():
                if key not in self._watching:
                    self._watching[key] = asyncio.create_task(self._watch_over(extension), name=extension.spec.name)
            self.wake()

    def _read(self) -> bool:
        """Bring ``extensions`` up to date; returns whether there are others now."""
        found: dict[tuple[str, str], Extension] = {}
        places: dict[tuple[str, str], Place] = {}
        for entry in self._cache.range(PREFIX):
            obj = entry.decode()
            key = obj["spec"].get("group") or "", obj["spec"]["version"]
            if key == OWN_GROUP:
                continue
            places[key] = obj["spec"]["groupPriorityMinimum"], obj["spec"]["versionPriority"]
            if obj["spec"].get("service") is None:
                continue
            spec, known = Spec.of(obj), self.extensions.get(key)
            same = known is not None and known.spec == spec
            found[key] = known if known is not None and same else Extension(spec, self._cache, self._data_dir)
            found[key].available = conditions.is_true(obj, "Available")
        gone = {key for key, known in self.extensions.items() if found.get(key) is not known}
        for key in gone:
            if task := self._watching.pop(key, None):
                task.cancel()
        changed = bool(gone) or found.keys() != self.extensions.keys()
        self.extensions, self.places = found, places
        return changed

    async def _watch_over(self, extension: Extension) -> None:
        """Look at a server whenever its Service changes, and now and then."""
        woken = asyncio.Event()

        async def listen(prefix: str) -> None:
            async for _ in follow(self._cache, prefix):
                woken.set()

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(listen(extension.service_key))
                group.create_task(listen(extension.slices_prefix))
                group.create_task(self._look_on(extension, woken))
        finally:
            await extension.close()

    async def _look_on(self, extension: Extension, woken: asyncio.Event) -> None:
        pause, retry = INTERVAL, FIRST_RETRY  # the first look is when both listen
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await woken.wait()
            if woken.is_set():
                woken.clear()
                retry = FIRST_RETRY
            before = extension.described
            condition = await look(extension)
            told = await self._tell(extension, condition)
            if extension.described != before:
                self._changed()
            if told and condition["status"] == "True":
                pause, retry = INTERVAL, FIRST_RETRY
            else:
                pause, retry = retry, min(2 * retry, INTERVAL)

    async def _tell(self, extension: Extension, condition: Object) -> bool:
        """Write what a look at a server came to; whether that was taken."""
        try:
            await tell(self._registry, self._routes, extension.spec.name, condition)
        except (ApiError, StoreError, TimeoutError) as error:
            log.info("APIService %s: %s", extension.spec.name, error)
            return False
        return True
