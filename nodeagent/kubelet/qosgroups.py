"""The cgroups that pods stand in: one around all pods of the node, and in it one for each lower class of quality.

Together pods get no more than the node sets aside for them. Among each other, all burstable pods weigh as much as
they request together, and all best-effort pods next to nothing, so that these never slow down who asked for something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from nodeagent.engine.contract import Engine, EngineError, Resources
from nodeagent.kubelet import nodeevents, resources
from nodeagent.kubelet.resources import Amounts
from shim.api.quantity import Quantity

LOOK_EVERY = 60.0  # as upstream: pods that have gone weigh until then


def limits(room: Mapping[str, Quantity], burstable: Iterable[Amounts]) -> dict[str, Resources]:
    """By the path of the cgroup. ``room``: what all pods may use; ``burstable``: what such pods request. Pure."""
    milli = sum(amounts["cpu"].milli for amounts in burstable if "cpu" in amounts)
    return {
        resources.ALL_PODS: Resources(
            cpu_shares=resources.shares(room["cpu"].milli),
            memory_limit=room["memory"].value,
            pids_limit=room["pid"].value,
        ),
        resources.BURSTABLE: Resources(cpu_shares=resources.shares(milli)),
        resources.BEST_EFFORT: Resources(cpu_shares=resources.MIN_SHARES),
    }


class QosGroups:
    """Keeps them so."""

    def __init__(
        self, engine: Engine, room: Mapping[str, Quantity], burstable: Callable[[], Iterable[Amounts]]
    ) -> None:
        self._engine, self.room, self._burstable = engine, room, burstable
        self._in_force: dict[str, Resources] = {}

    async def make_room(self, quality: str) -> None:
        """A pod of this quality is about to start. Raises EngineError."""
        if quality == "Burstable" or not self._in_force:  # others weigh nothing among all that do
            await self.adapt()

    async def adapt(self) -> None:
        """Change what is different by now. Raises EngineError."""
        for path, wanted in limits(self.room, self._burstable()).items():
            if self._in_force.get(path) != wanted:
                self._in_force[path] = wanted  # before anybody else looks
                await self._engine.limit_group(path, wanted)

    async def keep(self, tell: Callable[[str, str, str], None]) -> None:
        """Until cancelled; ``tell`` records an event about the node, by its type, reason and message."""
        told = False
        while True:
            try:
                await self.adapt()
                if not told:
                    tell("Normal", *nodeevents.ENFORCED)
                    told = True
            except EngineError as error:
                self._in_force.clear()
                tell("Warning", *nodeevents.not_enforced(str(error)))
            await asyncio.sleep(LOOK_EVERY)
