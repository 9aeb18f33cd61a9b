"""What is a controller? Informers tell it of changes, it queues keys, and workers reconcile one key each.

- Every controller is only told of keys, never of changes: it compares what is with what is wanted, and acts.
- A key that fails is tried again later each time; a controller that ends unexpectedly is begun anew.
- Informers are shared: one watch per resource, whoever asks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from shim.api.meta import GVR
from shim.api.status import ApiError
from shim.client import Client, EventRecorder, Informer, WorkQueue
from shim.settings import ControllerSettings

log = logging.getLogger(__name__)

RESTART = 1.0  # seconds until what ended unexpectedly is begun anew
QUIET = 4  # a key's first failures are the everyday races with other writers: said at debug level only


class Context:
    """What controllers have in common: the client, the settings, one informer per resource and selection of it."""

    def __init__(self, client: Client, settings: ControllerSettings) -> None:
        self.client = client
        self.settings = settings
        self._informers: dict[tuple[GVR, str | None, str], Informer] = {}
        self._recorders: dict[str, EventRecorder] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def informer(self, gvr: GVR, namespace: str | None = None, *, field_selector: str = "") -> Informer:
        """The shared copy of a resource; it runs from :meth:`run` on, or at once when that has begun."""
        key = (gvr, namespace, field_selector)
        informer = self._informers.get(key)
        if informer is None:
            informer = self._informers[key] = Informer(self.client, gvr, namespace, field_selector=field_selector)
            if self._tasks is not None:
                self._tasks.create_task(informer.run(), name=f"informer {gvr.group_resource}")
        return informer

    def shared(self, gvr: GVR) -> Informer | None:
        """The copy of all objects of a resource, if somebody has asked for it."""
        return self._informers.get((gvr, None, ""))

    def recorder(self, component: str) -> EventRecorder:
        if component not in self._recorders:
            self._recorders[component] = EventRecorder(self.client, component)
        return self._recorders[component]

    def run(self, tasks: asyncio.TaskGroup) -> None:
        """Begin every informer as a task of this group."""
        self._tasks = tasks
        for (gvr, *_), informer in self._informers.items():
            tasks.create_task(informer.run(), name=f"informer {gvr.group_resource}")

    async def synced(self) -> None:
        """Wait until every informer has its first complete copy."""
        for informer in list(self._informers.values()):
            await informer.synced()


class Controller:
    """One control loop. A subclass subscribes to informers in ``__init__`` and implements ``reconcile``."""

    name = ""
    workers = 5

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.queue = WorkQueue()

    async def reconcile(self, key: str) -> None:
        """Bring one object nearer to what is wanted. Raise to be called again, later each time."""
        raise NotImplementedError

    async def run(self) -> None:
        """Work until cancelled. The informers have synced when this begins."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.workers):
                tasks.create_task(self._work(), name=f"{self.name} {number}")

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self.reconcile(key)
            except ApiError as error:
                # Conflict: the informer was behind; it will have caught up next time
                tried = self.queue.failures(key)
                log.log(logging.DEBUG if tried < QUIET else logging.WARNING, "%s: %s: %s", self.name, key, error)
                self.queue.add_rate_limited(key)
            except Exception:
                log.exception("%s: %s", self.name, key)
                self.queue.add_rate_limited(key)
            else:
                self.queue.forget(key)
            finally:
                self.queue.done(key)


async def keep_running(name: str, start: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run what should never end; when it does, say so and run it again."""
    while True:
        try:
            await start()
            log.error("%s ended unexpectedly", name)
        except Exception:
            log.exception("%s failed", name)
        await asyncio.sleep(RESTART)


async def run_controllers(
    controllers: list[type[Controller]],
    client: Client,
    settings: ControllerSettings,
    ready: Callable[[], None],
    made: list[Controller] | None = None,
) -> None:
    """Run the controllers of a table side by side in this process until cancelled; ``made`` is filled with them."""
    ctx = Context(client, settings)
    made = [] if made is None else made
    made[:] = [controller(ctx) for controller in controllers]
    async with asyncio.TaskGroup() as tasks:
        ctx.run(tasks)
        await ctx.synced()
        for controller in made:
            tasks.create_task(keep_running(controller.name, controller.run), name=controller.name)
        ready()
