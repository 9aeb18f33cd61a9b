"""What do all controllers together ask of the server? Each kind is listed once, and a pod costs a few requests."""

from __future__ import annotations

from pathlib import Path

from shim.api.meta import Object
from shim.client import resource as r
from shim.controllers.table import CONTROLLERS
from shim.controllers.tests.faulty import Faulty, faulty, only_running
from shim.controllers.tests.test_live import SERVICE, workload

FIRST, MORE = 4, 20
FOR_A_POD = 10  # its creation, and for what it changes in statuses, slices and budgets of others at the very most


async def test_no_kind_is_listed_twice_and_a_pod_costs_little(tmp_path: Path) -> None:
    async with faulty(tmp_path, CONTROLLERS) as here:
        budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}}
        spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}
        await here.client.create(r.PODDISRUPTIONBUDGETS, {**budget, "spec": spec}, "default")
        await here.client.create(r.SERVICES, SERVICE, "default")
        await here.client.create(r.DEPLOYMENTS, workload("Deployment", replicas=FIRST), "default")
        await all_told(here, FIRST)
        before = here.theirs.asked.copy()

        await here.client.patch(r.DEPLOYMENTS, "w", {"spec": {"replicas": FIRST + MORE}}, "default")

        await all_told(here, FIRST + MORE)
        asked = here.theirs.asked - before
        await here.client.delete(r.DEPLOYMENTS, "w", "default", propagation="Foreground")
        await here.settles(r.DEPLOYMENTS, lambda left: not left)
        await here.settles(r.PODS, lambda left: not left)
        assert asked["POST"] >= MORE
        assert asked["GET"] < MORE  # nobody looks at every pod
        assert asked.total() <= FOR_A_POD * MORE
        assert {path: times for path, times in here.theirs.listed.items() if times > 1} == {}


async def all_told(here: Faulty, count: int) -> None:
    """Every controller has said what it had to say of so many pods."""
    await here.settles(r.PODS, only_running(count))
    await here.settles(r.DEPLOYMENTS, lambda all: all[0]["status"].get("availableReplicas") == count)
    await here.settles(r.PODDISRUPTIONBUDGETS, lambda all: all[0]["status"].get("currentHealthy") == count)

    def sliced(slices: list[Object]) -> bool:
        mine = [each for each in slices if each["metadata"]["labels"].get("kubernetes.io/service-name") == "s"]
        return sum(len(each.get("endpoints") or ()) for each in mine) == count

    await here.settles(r.ENDPOINTSLICES, sliced)
