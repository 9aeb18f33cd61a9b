"""Of several that could do a task, one does it: the holder of a Lease, for as long as it renews it.

The others wait until the lease has not changed for its duration *since they first saw it so*: the clocks of machines
need not agree. See https://kubernetes.io/docs/concepts/architecture/leases/#leader-election; the times are those of
upstream's components.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from shim.api.meta import Object, now_micro
from shim.api.status import ApiError
from shim.client import resource as r
from shim.client.transport import Client

log = logging.getLogger(__name__)

NAMESPACE = "kube-system"
DURATION = 15  # seconds a lease holds without being renewed
DEADLINE = 10.0  # seconds without a renewal after which a leader stops: before anyone else can begin
RETRY = 2.0
Ready = Callable[[], None]


async def one_of_several(
    client: Client, name: str, identity: str, work: Callable[[Ready], Awaitable[None]], ready: Ready
) -> None:
    """Do ``work`` while ``identity`` leads; at once, and for good, where there is no identity because it is alone.

    Who waits is as ready as who works. Raises LeadershipLost.
    """
    if not identity:
        await work(ready)
        return
    ready()
    await Election(client, name, identity).lead(lambda: work(lambda: None))


class LeadershipLost(Exception):
    """The lease could not be renewed in time, or somebody else has it: what was done under it must end."""


class Election:
    """One candidate, known by its ``identity``, for the lease ``name``."""

    def __init__(self, client: Client, name: str, identity: str, *, retry: float = RETRY) -> None:
        self._client, self._name, self._identity, self._retry = client, name, identity, retry
        self._lease: Object = {}
        self._seen: tuple[str, float] = ("", 0.0)  # a version of another's lease, and since when it is the newest

    async def lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, then work until cancelled; gives the lease up at the end. Raises LeadershipLost."""
        while not await self._try(self._take):  # noqa: ASYNC110  # time alone tells that a lease is stale
            await asyncio.sleep(self._retry)
        log.info("%s leads as %s", self._name, self._identity)
        working = asyncio.ensure_future(work())
        renewing = asyncio.ensure_future(self._renew())
        try:
            done, _ = await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (working, renewing):
                task.cancel()
            await asyncio.gather(working, renewing, return_exceptions=True)
            await self._try(self._give_up)

    async def _renew(self) -> None:
        clock = asyncio.get_running_loop().time
        renewed = clock()
        while True:
            await asyncio.sleep(self._retry)
            if await self._try(self._take):
                renewed = clock()
            elif self._held_by_another() or clock() - renewed > DEADLINE:
                raise LeadershipLost(f"{self._name} is no longer led by {self._identity}")

    async def _try(self, step: Callable[[], Awaitable[bool]]) -> bool:
        """Whether the step was done; a server that cannot be reached is asked again by whoever calls."""
        try:
            async with asyncio.timeout(DEADLINE / 2):
                return await step()
        except (ApiError, OSError, TimeoutError) as error:
            log.debug("lease %s: %s", self._name, error)
            return False

    async def _take(self) -> bool:
        """Have the lease, or go on having it."""
        try:
            lease = await self._client.get(r.LEASES, self._name, NAMESPACE)
        except ApiError as error:
            if error.code != 404:
                raise
            fresh: Object = {"metadata": {"name": self._name, "namespace": NAMESPACE}, "spec": self._spec({})}
            self._lease = await self._client.create(r.LEASES, fresh, NAMESPACE)
            return True
        self._lease = lease
        if self._held_by_another() and not self._expired(lease):
            return False
        self._lease = await self._client.update(r.LEASES, {**lease, "spec": self._spec(lease.get("spec") or {})})
        return True

    async def _give_up(self) -> bool:
        if self._held_by_another():
            return False
        spec = {**self._lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now_micro()}
        await self._client.update(r.LEASES, {**self._lease, "spec": spec})
        return True

    def _held_by_another(self) -> bool:
        holder = (self._lease.get("spec") or {}).get("holderIdentity") or ""
        return holder not in ("", self._identity)

    def _expired(self, lease: Object) -> bool:
        version, now = lease["metadata"]["resourceVersion"], asyncio.get_running_loop().time()
        if version != self._seen[0]:
            self._seen = version, now
        return now - self._seen[1] >= (lease["spec"].get("leaseDurationSeconds") or DURATION)

    def _spec(self, before: Object) -> Object:
        """The lease held by us from now on, or still."""
        spec = {**before, "leaseDurationSeconds": DURATION, "renewTime": now_micro()}
        if before.get("holderIdentity") != self._identity:
            transitions = before.get("leaseTransitions") or 0
            spec |= {"holderIdentity": self._identity, "acquireTime": spec["renewTime"]}
            spec["leaseTransitions"] = transitions + 1 if before else 0
        return spec
