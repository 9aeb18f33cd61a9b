"""How many pods may go now? Keeps the status of PodDisruptionBudgets, from which evictions take.

An eviction takes one from ``disruptionsAllowed`` and names its pod in ``disruptedPods``, so that it counts as gone
before it is. Whoever drains a node waits for this controller to see the pod go and its successor become ready.
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable, Iterable

from shim.api import selectors
from shim.api.conditions import set_condition
from shim.api.meta import Object, controller_of, key_of, parse_time
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.deployment_rollout import scaled
from shim.controllers.loop import Context, Controller
from shim.controllers.pod_readiness import is_deleted, is_ready

DELETION_TIMEOUT = 120.0  # seconds in which an evicted pod is expected to be deleted, as upstream
SCALED = {"ReplicaSet": r.REPLICASETS, "StatefulSet": r.STATEFULSETS, "ReplicationController": r.REPLICATIONCONTROLLERS}

Scale = Callable[[Object], tuple[str, int]]  # of a pod: the uid of what sets its number, and the number


class Uncountable(Exception):
    """It cannot be known how many pods there should be."""


def selected(budget: Object, pods: Iterable[Object]) -> list[Object]:
    """The pods that a budget protects."""
    metadata = budget["metadata"]
    selector = selectors.from_object(budget["spec"].get("selector"))
    inside = (pod for pod in pods if pod["metadata"]["namespace"] == metadata["namespace"])
    return [pod for pod in inside if selector.matches(pod["metadata"].get("labels") or {})]


def expected(spec: Object, pods: list[Object], scale: Scale) -> tuple[int, int]:
    """How many pods there should be, and how many of them healthy. Raises Uncountable."""
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if most is None and not isinstance(least, str):
        return (0, 0) if least is None else (len(pods), least)
    total = sum(dict(scale(pod) for pod in pods if controller_of(pod) is not None).values())
    if isinstance(least, str):
        return total, scaled(least, total, up=True)
    return total, max(total - scaled(most or 0, total, up=True), 0)


def still_disrupted(budget: Object, pods: list[Object], now: datetime.datetime) -> dict[str, str]:
    """Evicted pods whose deletion has not been seen yet, with the time of the eviction."""
    told = (budget.get("status") or {}).get("disruptedPods") or {}
    oldest = now - datetime.timedelta(seconds=DELETION_TIMEOUT)
    alive = {pod["metadata"]["name"] for pod in pods if not is_deleted(pod)}
    return {name: at for name, at in told.items() if name in alive and parse_time(at) >= oldest}


def status_of(budget: Object, pods: list[Object], scale: Scale, now: datetime.datetime) -> Object:
    """What the budget's status should say. Raises Uncountable."""
    total, desired = expected(budget["spec"], pods, scale)
    disrupted = still_disrupted(budget, pods, now)
    healthy = sum(is_ready(pod) and not is_deleted(pod) and pod["metadata"]["name"] not in disrupted for pod in pods)
    allowed = max(healthy - desired, 0) if total > 0 else 0
    generation = budget["metadata"].get("generation", 0)
    conditions = copy.deepcopy((budget.get("status") or {}).get("conditions") or [])
    enough = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    set_condition(conditions, "DisruptionAllowed", *enough, "", observedGeneration=generation)
    for condition in conditions:
        condition.setdefault("message", "")  # always there in this kind of condition
    return {
        "observedGeneration": generation,
        **({"disruptedPods": disrupted} if disrupted else {}),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": total,
        "conditions": conditions,
    }


def failed_status(budget: Object, why: str) -> Object:
    """Of a budget that cannot be computed: nothing may go."""
    status = copy.deepcopy(budget.get("status") or {})
    seen = status.get("observedGeneration")
    set_condition(
        status.setdefault("conditions", []), "DisruptionAllowed", "False", "SyncFailed", why, observedGeneration=seen
    )
    zeros = {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}
    return {**zeros, **status, "disruptionsAllowed": 0}


class DisruptionController(Controller):
    """Follows budgets, and the pods they protect."""

    name = "disruption"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.budgets = ctx.informer(r.PODDISRUPTIONBUDGETS)
        self.pods = ctx.informer(r.PODS)
        self.scaled = {kind: ctx.informer(resource) for kind, resource in SCALED.items()}
        self.deployments = ctx.informer(r.DEPLOYMENTS)
        self.recorder = ctx.recorder("controllermanager")
        self.budgets.on_change(self.budget_changed)
        self.pods.on_change(self.pod_changed)

    def budget_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(key_of(new))

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        pods = [pod for pod in (old, new) if pod is not None]
        for budget in self.budgets.list():
            if _protects(budget, pods):
                self.queue.add(key_of(budget))

    async def reconcile(self, key: str) -> None:
        budget = self.budgets.get(key)
        if budget is None or is_deleted(budget):
            return
        pods = selected(budget, self.pods.list())
        if not pods:
            self.recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        now = datetime.datetime.now(datetime.UTC)
        try:
            status = status_of(budget, pods, self.scale_of, now)
        except Uncountable as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            self.recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", text)
            status = failed_status(budget, str(error))
        if status.get("disruptedPods"):
            self.queue.add_after(key, DELETION_TIMEOUT)
        if status == budget.get("status"):
            return
        try:  # never over an eviction's own write: a conflict is tried again from the newest
            await self.ctx.client.update(r.PODDISRUPTIONBUDGETS, {**budget, "status": status}, subresource="status")
        except ApiError as error:
            if error.code != 404:
                raise

    def scale_of(self, pod: Object) -> tuple[str, int]:
        """The number that the pod's controller is asked to keep; a Deployment's stands for its ReplicaSets'."""
        metadata = pod["metadata"]
        reference = controller_of(pod) or {}
        kind, namespace = reference.get("kind", ""), metadata["namespace"]
        if kind not in self.scaled:
            raise Uncountable(f'{kind} of pod "{metadata["name"]}" does not implement the scale subresource')
        owner = self.scaled[kind].get(f"{namespace}/{reference['name']}")
        if owner is None or owner["metadata"]["uid"] != reference["uid"]:
            raise Uncountable(f'found no controllers for pod "{metadata["name"]}"')
        above = controller_of(owner)
        if above is not None and above["kind"] == "Deployment":
            deployment = self.deployments.get(f"{namespace}/{above['name']}")
            if deployment is not None and deployment["metadata"]["uid"] == above["uid"]:
                owner = deployment
        return owner["metadata"]["uid"], int(owner["spec"].get("replicas", 1))


def _protects(budget: Object, pods: list[Object]) -> bool:
    try:
        return bool(selected(budget, pods))
    except selectors.SelectorError:
        return False
