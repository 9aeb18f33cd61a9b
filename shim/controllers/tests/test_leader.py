"""Of several candidates one leads; when it goes, or can no longer renew its lease, the next does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shim.client import resource as r
from shim.client.leader import Election, LeadershipLost
from shim.controllers.tests.cluster import Cluster, cluster

SYSTEM = "kube-system"


class Candidate:
    """Notes when it leads."""

    def __init__(self, c: Cluster, name: str) -> None:
        self.leads = asyncio.Event()
        election = Election(c.client, "task", name, retry=0.05)
        self.task = asyncio.create_task(election.lead(self._work))

    async def _work(self) -> None:
        self.leads.set()
        await asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def holder(c: Cluster) -> tuple[str, int]:
    spec = (await c.client.get(r.LEASES, "task", SYSTEM))["spec"]
    return spec["holderIdentity"], spec["leaseTransitions"]


async def test_one_leads_and_hands_over_when_it_stops(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c, asyncio.timeout(60):
        first = Candidate(c, "first")
        await first.leads.wait()
        second = Candidate(c, "second")
        assert await holder(c) == ("first", 0)
        assert not second.leads.is_set()
        await first.stop()
        await second.leads.wait()
        assert await holder(c) == ("second", 1)
        await second.stop()


async def test_a_lease_that_is_not_renewed_is_taken_over_after_its_time(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c, asyncio.timeout(60):
        dead = {"holderIdentity": "dead", "leaseDurationSeconds": 1, "leaseTransitions": 3}
        await c.client.create(r.LEASES, {"metadata": {"name": "task"}, "spec": dead}, SYSTEM)
        heir = Candidate(c, "heir")
        await heir.leads.wait()
        assert await holder(c) == ("heir", 4)
        await heir.stop()


async def test_a_leader_whose_lease_another_has_stops(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c, asyncio.timeout(60):
        leader = Candidate(c, "leader")
        await leader.leads.wait()
        usurped = {"spec": {"holderIdentity": "usurper", "leaseDurationSeconds": 60}}
        await c.client.patch(r.LEASES, "task", usurped, SYSTEM)
        with pytest.raises(LeadershipLost):
            await leader.task
        assert (await holder(c))[0] == "usurper"
