"""The probes of every running container: one task each, their verdicts kept as Health values.

Until its startup probe succeeds a container has no other probes. A liveness or startup probe that failed for good
stops: the container will be killed, and its next run is probed anew.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import aiohttp

from nodeagent.engine.contract import Engine
from nodeagent.kubelet.observed import Health, Run
from nodeagent.kubelet.probes.check import Outcome, check
from shim.api.meta import Object

SOONEST = 0.02  # seconds; doubles
_COUNTED = {"success": "successful", "failure": "failed", "error": "unknown"}
KINDS = ("startup", "liveness", "readiness")


@dataclass(slots=True)
class Probed:
    """One run under probes."""

    run: Run
    container: Object
    ip: str
    health: Health
    changed: Callable[[], None]
    tell: Callable[[str, str], None]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def now(self, health: Health) -> None:
        if health != self.health:
            self.health = health
            self.changed()


class Prober:
    """Starts and stops probes; knows the health of every run that has any."""

    def __init__(self, engine: Engine, http: aiohttp.ClientSession) -> None:
        self._engine = engine
        self._http = http
        self._probed: dict[str, Probed] = {}
        self.counts: Counter[tuple[str, str, str]] = Counter()  # by run, kind of probe and result

    def start(
        self,
        run: Run,
        container: Object,
        ip: str,
        *,
        known: Health | None,
        changed: Callable[[], None],
        tell: Callable[[str, str], None],
    ) -> None:
        """Begin to probe a run. ``known``: what an earlier agent found, so that its end goes unnoticed.

        ``changed`` is called when the health changes, ``tell`` with reason and message of each event.
        """
        if run.id in self._probed or not any(container.get(f"{kind}Probe") for kind in KINDS):
            return
        fresh = Health(started=not container.get("startupProbe"), ready=not container.get("readinessProbe"))
        probed = Probed(run, container, ip, known or fresh, changed, tell)
        self._probed[run.id] = probed
        probed.tasks.append(asyncio.get_running_loop().create_task(self._probe(probed)))

    def stop(self, run: str) -> None:
        """The run has ended, or is about to be stopped; its health stays as it was until :meth:`forget`."""
        if probed := self._probed.get(run):
            for task in probed.tasks:
                task.cancel()

    def forget(self, run: str) -> None:
        self.stop(run)
        if self._probed.pop(run, None) is not None:
            self.counts = Counter({key: count for key, count in self.counts.items() if key[0] != run})

    def health(self, run: str) -> Health | None:
        probed = self._probed.get(run)
        return probed.health if probed else None

    def close(self) -> None:
        for run in list(self._probed):
            self.forget(run)

    async def _probe(self, probed: Probed) -> None:
        if not probed.health.started:
            if not await self._until(probed, "startup", probed.container["startupProbe"]):
                probed.now(replace(probed.health, failed="startup"))
                return
            probed.now(replace(probed.health, started=True))
        loop = asyncio.get_running_loop()
        if probe := probed.container.get("readinessProbe"):
            probed.tasks.append(loop.create_task(self._readiness(probed, probe)))
        if (probe := probed.container.get("livenessProbe")) and not await self._until(
            probed, "liveness", probe, succeed=False
        ):
            probed.now(replace(probed.health, failed="liveness"))

    async def _readiness(self, probed: Probed, probe: Object) -> None:
        last, count = probed.health.ready, 0
        async for outcome in self._outcomes(probed, "readiness", probe):
            success = outcome.result == "success"
            count = count + 1 if success == last else 1
            last = success
            if count >= int(probe.get("successThreshold" if success else "failureThreshold") or (1 if success else 3)):
                probed.now(replace(probed.health, ready=success))

    async def _until(self, probed: Probed, kind: str, probe: Object, *, succeed: bool = True) -> bool:
        """Probe until it fails too often in a row (False), or with ``succeed`` until it succeeds (True)."""
        failures = 0
        async for outcome in self._outcomes(probed, kind, probe):
            if outcome.result == "success":
                failures = 0
                if succeed:
                    return True
            else:
                failures += 1
                if failures >= int(probe.get("failureThreshold") or 3):
                    return False
        return False

    async def _outcomes(self, probed: Probed, kind: str, probe: Object) -> AsyncIterator[Outcome]:
        """Success or failure once a period; a check that could not be made tells nothing but is told of.

        A server opens its port a moment after its start. Within the first period a refused connection is therefore
        just tried again, soon: the pod is ready when its server is, not a period later.
        """
        initial = float(probe.get("initialDelaySeconds") or 0)
        left = probed.run.started_at + initial - time.time()
        await asyncio.sleep(min(max(0.0, left), initial))  # never longer, should the clock have jumped
        loop = asyncio.get_running_loop()
        period = float(probe.get("periodSeconds") or 10)
        due = opening = loop.time()
        soon = SOONEST
        while True:
            outcome: Outcome = await check(
                probe, probed.container, probed.run.id, probed.ip, engine=self._engine, http=self._http
            )
            if outcome.refused and kind != "liveness" and loop.time() + soon < opening + period:
                await asyncio.sleep(soon)
                soon *= 2
                continue
            self.counts[probed.run.id, kind.capitalize(), _COUNTED[outcome.result]] += 1
            if outcome.result == "failure":
                probed.tell("Unhealthy", f"{kind.capitalize()} probe failed: {outcome.output}")
            elif outcome.result == "error":
                why = f"{kind.capitalize()} probe errored and resulted in unknown state: {outcome.output}"
                probed.tell("Unhealthy", why)
            elif outcome.doubt:
                probed.tell("ProbeWarning", f"{kind.capitalize()} probe warning: {outcome.doubt}")
            if outcome.result != "error":
                yield outcome
            due = max(due + period, loop.time())
            await asyncio.sleep(due - loop.time())
