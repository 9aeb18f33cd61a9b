"""The loop: a change of a Service or its endpoints becomes a change of the kernel's rules.

- Rules are written from complete copies only: never before both watches have listed everything once.
- A failed write is repeated, and begins by reading what the kernel has.
- The rules stay when the loop ends: connections do not notice a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from netproxy.firewall import FirewallError
from netproxy.health.liveness import Liveness
from netproxy.health.metrics import Metrics
from netproxy.health.service_checks import ServiceChecks
from netproxy.links import conntrack, namespaces
from netproxy.rules.kernel import KernelRules
from netproxy.services import chains
from netproxy.services.stale import stale_flows
from netproxy.services.tracker import Tracker

log = logging.getLogger(__name__)

BURST = 0.010  # a rollout changes several objects at once; they are written together
RETRY = 1.0
CHECK = 30.0  # rules that somebody flushed come back within this time


class ServiceProxy:
    """Keeps the rules of this network namespace equal to the Services."""

    def __init__(self, tracker: Tracker, checks: ServiceChecks, liveness: Liveness, metrics: Metrics) -> None:
        self._tracker, self._checks, self._liveness, self._metrics = tracker, checks, liveness, metrics
        self._kernel = KernelRules(chains.FAMILY)

    async def run(self, written: Callable[[], None]) -> None:
        """Work until cancelled; ``written`` is called once the first rules are in the kernel."""
        namespaces.sysctl("net/ipv4/conf/all/route_localnet", "1")  # node ports on 127.0.0.1; see compiler.NO_MARTIANS
        while not await self._write():
            pass
        written()
        self._tracker.triggers()  # what happened before is nothing that somebody has waited for
        clock = asyncio.get_running_loop().time
        next_check = clock() + CHECK
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_check):
                    await self._tracker.changed()
                    await asyncio.sleep(BURST)
            await self._write()
            if clock() >= next_check:
                await self._check()
                next_check = clock() + CHECK

    async def _write(self) -> bool:
        """Write what changed; False, after a pause, when the kernel did not take it."""
        began = time.perf_counter()
        self._liveness.queued()
        triggers = self._tracker.triggers()
        rules, changes = self._tracker.compile()
        try:
            await asyncio.to_thread(self._kernel.apply, rules)
        except FirewallError as error:
            log.error("rules not written, trying again: %s", error)
            self._metrics.refused()
            await asyncio.sleep(RETRY)
            self._tracker.touch()
            return False
        self._liveness.written()
        if changes:
            self._metrics.written(time.perf_counter() - began, rules, triggers)
        await self._checks.sync(self._tracker.health_checks)
        flows = stale_flows(changes)
        if flows:
            await asyncio.to_thread(conntrack.forget, flows)
        return True

    async def _check(self) -> None:
        rules, _ = self._tracker.compile()
        try:
            if await asyncio.to_thread(self._kernel.check, rules):
                log.warning("somebody changed the rules; they are as they should be again")
        except FirewallError as error:
            log.error("rules not checked: %s", error)
