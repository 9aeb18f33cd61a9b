"""Controllers that are stopped at any moment and whose watches break, on a real API server: for tests of what survives.

Hypothesis chooses what users, kubelets and bad luck do, and in which order.

A stop is a death between two requests: what was asked is answered, and nothing that was only remembered is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from shim.api.meta import GVR, Object, controller_of
from shim.api.status import ApiError
from shim.client import Client, Informer
from shim.client import resource as r
from shim.client.transport import Batch, Unreachable
from shim.controllers.loop import Controller, run_controllers
from shim.controllers.pod_readiness import is_deleted, is_finished
from shim.controllers.tests.live import HollowKubelet, World, served
from shim.settings import ControllerSettings

PATIENCE = 90.0  # for a busy machine; nothing is measured


class BreakingClient(Client):
    """A client whose watches break when told to, and that asks nothing more once it is stopped."""

    _stopped = False
    _breaks: asyncio.Future[ApiError] | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._in_flight: set[asyncio.Future[Any]] = set()
        self.listed: Counter[str] = Counter()  # paths
        self.asked: Counter[str] = Counter()  # verbs

    async def list(self, gvr: GVR, namespace: str | None = None, **more: Any) -> Object:
        self.listed[f"{gvr.path(namespace)} {more.get('field_selector') or ''}{more.get('metadata_only') or ''}"] += 1
        return await super().list(gvr, namespace, **more)

    def break_watches(self, *, expired: bool) -> None:
        """End all watches: lost on the way, or because what they missed is no longer kept."""
        if self._breaks is not None and not self._breaks.done():
            error = ApiError(410, "Expired", "too old resource version") if expired else _lost()
            self._breaks.set_result(error)

    async def stop(self) -> None:
        """Let what was asked be answered, and ask no more."""
        self._stopped = True
        if self._in_flight:
            await asyncio.wait(self._in_flight)

    async def _send(self, *args: Any, **more: Any) -> Any:
        if self._stopped:
            raise _lost()
        self.asked[args[0]] += 1
        request = asyncio.ensure_future(super()._send(*args, **more))
        self._in_flight.add(request)
        request.add_done_callback(self._in_flight.discard)
        return await asyncio.shield(request)

    async def watch_batches(self, *args: Any, **more: Any) -> AsyncGenerator[Batch, None]:
        if self._breaks is None or self._breaks.done():
            self._breaks = asyncio.get_running_loop().create_future()
        breaks = self._breaks
        batches = super().watch_batches(*args, **more)
        while True:
            following = asyncio.ensure_future(anext(batches))
            try:
                await asyncio.wait([following, breaks], return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not following.done():  # broken, or nobody listens any more
                    following.cancel()
                    await asyncio.wait([following])
                    await batches.aclose()
            if breaks.done():
                await batches.aclose()
                raise breaks.result()
            try:
                yield following.result()
            except StopAsyncIteration:
                return


def _lost() -> Unreachable:
    return Unreachable("the server", ConnectionResetError("cut"))


class Faulty(World):
    """A server, hollow nodes, and controllers that can be stopped, begun anew and cut off."""

    def __init__(self, client: Client, kubeconfig: Path, controllers: list[type[Controller]]) -> None:
        super().__init__(client)
        self._kubeconfig, self._controllers = kubeconfig, controllers
        self._theirs: BreakingClient | None = None
        self._running: asyncio.Task[None] | None = None
        self.broken: list[str] = []  # what should never have been seen

    @property
    def theirs(self) -> BreakingClient:
        """The controllers' client."""
        assert self._theirs is not None
        return self._theirs

    async def start(self) -> None:
        self._theirs = BreakingClient.from_kubeconfig(self._kubeconfig)  # type: ignore[assignment]
        assert self._theirs is not None
        ready, flags = asyncio.Event(), ControllerSettings(kubeconfig=self._kubeconfig)
        self._running = asyncio.create_task(run_controllers(self._controllers, self._theirs, flags, ready.set))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait([self._running, waiting], return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            self._running.result()

    async def stop(self) -> None:
        if self._running is not None and self._theirs is not None:
            await self._theirs.stop()
            self._running.cancel()
            await asyncio.wait([self._running])
            await self._theirs.close()
            self._running = None

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def break_watches(self, *, expired: bool = False) -> None:
        assert self._theirs is not None
        self._theirs.break_watches(expired=expired)

    @contextlib.asynccontextmanager
    async def observing(self, gvr: GVR, look: Callable[[list[Object]], str | None]) -> AsyncIterator[None]:
        """Look at all objects of a kind after every change; whatever is said against one is remembered."""
        informer = Informer(self.client, gvr)

        def changed(old: Object | None, new: Object | None) -> None:
            found = look(informer.list())
            if found is not None:
                self.broken.append(found)

        informer.on_change(changed)
        following = asyncio.create_task(informer.run())
        await informer.synced()
        try:
            yield
        finally:
            following.cancel()
            await asyncio.wait([following])

    async def settles(self, gvr: GVR, done: Callable[[list[Object]], bool]) -> list[Object]:
        """All objects of a kind as soon as they are as they should be in the end."""
        informer, changed = Informer(self.client, gvr), asyncio.Event()
        informer.on_change(lambda old, new: changed.set())
        following = asyncio.create_task(informer.run())
        try:
            async with asyncio.timeout(PATIENCE):
                await informer.synced()
                while not done(informer.list()):
                    changed.clear()
                    await changed.wait()
                return informer.list()
        except TimeoutError:
            raise AssertionError(f"{gvr.resource} never settled: {informer.list()}") from None
        finally:
            following.cancel()
            await asyncio.wait([following])


@contextlib.asynccontextmanager
async def faulty(
    folder: Path, controllers: list[type[Controller]], behave: Callable[[Object], str] = lambda _: "run"
) -> AsyncIterator[Faulty]:
    """Everything started; at the end nothing must have been seen that never should be."""
    async with served(folder) as client:
        here = Faulty(client, folder / "admin.kubeconfig", controllers)
        kubelet = asyncio.create_task(HollowKubelet(client, behave).run())
        await here.start()
        try:
            yield here
            assert here.broken == []
        finally:
            await here.stop()
            kubelet.cancel()
            await asyncio.wait([kubelet])


# What happens, and in which order.

Step = tuple[str, int]
FAULTS = ("restart", "cut", "expire")


def steps(*verbs: str) -> st.SearchStrategy[list[Step]]:
    """What happens: a verb and a number, which means something else to each."""
    return st.lists(st.tuples(st.sampled_from((*verbs, *FAULTS)), st.integers(0, 4)), min_size=3, max_size=9)


def often(test: Callable[..., None]) -> Callable[..., None]:
    # a failure is told as it came: to make it smaller would take minutes
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    return settings(max_examples=6, deadline=None, phases=phases, suppress_health_check=list(HealthCheck))(test)


def story(
    controllers: list[type[Controller]],
    told: Callable[[Faulty], Awaitable[None]],
    behave: Callable[[Object], str] = lambda _: "run",
) -> None:
    async def tell() -> None:
        with tempfile.TemporaryDirectory(prefix="shim-faults-") as folder:
            async with faulty(Path(folder), controllers, behave) as here:
                await told(here)

    asyncio.run(tell())


async def happen(here: Faulty, plan: Sequence[Step], verbs: dict[str, Callable[[int], Awaitable[Any]]]) -> None:
    """One after the other; what is refused because of what happened before is no fault."""
    for verb, number in plan:
        if verb == "restart":
            await here.restart()
        elif verb in FAULTS:
            here.break_watches(expired=verb == "expire")
        else:
            try:
                await verbs[verb](number)
            except ApiError as error:
                if error.code not in (403, 404, 409):
                    raise


async def one_of(here: Faulty, number: int) -> Object | None:
    pods = sorted(await here.pods(), key=lambda pod: str(pod["metadata"]["name"]))
    return pods[number % len(pods)] if pods else None


def on_pods(here: Faulty) -> dict[str, Callable[[int], Awaitable[Any]]]:
    async def delete(number: int) -> None:
        if (pod := await one_of(here, number)) is not None:
            await here.client.delete(r.PODS, pod["metadata"]["name"], "default", grace_period=0)

    async def fail(number: int) -> None:
        if (pod := await one_of(here, number)) is not None and not is_finished(pod):
            status = {"status": {"phase": "Failed"}}
            await here.client.patch(r.PODS, pod["metadata"]["name"], status, "default", subresource="status")

    async def disown(number: int) -> None:
        if (pod := await one_of(here, number)) is not None:
            await here.client.patch(r.PODS, pod["metadata"]["name"], {"metadata": {"labels": {"app": "b"}}}, "default")

    return {"delete": delete, "fail": fail, "disown": disown}


def only_running(count: int) -> Callable[[list[Object]], bool]:
    """Whether there are so many of the workload's pods, all of them running."""

    def done(pods: list[Object]) -> bool:
        mine = [pod for pod in pods if pod["metadata"]["labels"].get("app") == "a" and not is_finished(pod)]
        running = [pod for pod in mine if not is_deleted(pod) and (pod.get("status") or {}).get("phase") == "Running"]
        return len(running) == len(mine) == count and all(controller_of(pod) for pod in mine)

    return done
