"""The loop: a change of a policy, a pod or a namespace becomes a change of this node's rules and sets.

- A new pod of this node is held back (:mod:`netproxy.links.newcomers`) until rules that know it are
  in the kernel: it is filtered before it can send.
- What is enforced stays when the loop ends; the next one adopts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from netproxy.firewall import FirewallError
from netproxy.links import newcomers
from netproxy.policies import chains
from netproxy.policies.compiler import Enforced
from netproxy.policies.sets import KernelSets
from netproxy.policies.tracker import Tracker
from netproxy.rules.kernel import KernelRules

log = logging.getLogger(__name__)

BURST = 0.005  # pods come in groups; a new one waits for this
RETRY = 1.0
CHECK = 30.0  # rules that somebody flushed come back within this time


class PolicyEnforcer:
    """Keeps this node's rules for pods equal to the policies."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._rules, self._sets = KernelRules(chains.FAMILY), KernelSets()

    async def run(self) -> None:
        """Work until cancelled."""
        clock = asyncio.get_running_loop().time
        next_check = clock() + CHECK
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tracker.run())
            while True:
                await self._tracker.synced()
                await self._write(check=clock() >= next_check)
                if clock() >= next_check:
                    next_check = clock() + CHECK
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(next_check):
                        await self._tracker.changed()
                        await asyncio.sleep(BURST)

    async def _write(self, *, check: bool) -> None:
        wanted, new = self._tracker.compile(), self._tracker.new_addresses()
        try:
            await asyncio.to_thread(self._enforce, wanted, new, self._tracker.idle, check)
        except (FirewallError, OSError) as error:
            log.error("policies not enforced, trying again: %s", error)
            self._sets.forget()
            await asyncio.sleep(RETRY)
            self._tracker.announce(new)

    def _enforce(self, wanted: Enforced, new: set[str], idle: bool, check: bool) -> None:
        """Bring the kernel to what is wanted, at no moment forbidding more than before and after."""
        if check:
            self._sets.forget()
        if not idle:
            newcomers.begin()
        self._sets.extend(wanted.sets)
        if check and self._rules.check(wanted.rules):
            log.warning("the rules of policies are as they should be again")
        self._rules.apply(wanted.rules)
        self._sets.reduce(wanted.sets)
        if idle:
            newcomers.end()
        else:
            newcomers.admit(new)
