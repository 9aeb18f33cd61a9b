"""How many pods may go now? Keeps the status of PodDisruptionBudgets, from which evictions take.

An eviction takes one from ``disruptionsAllowed`` and names its pod in ``disruptedPods``, so that it counts as gone
before it is. Whoever drains a node waits for this controller to see the pod go and its successor become ready.
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterable

from shim.api import conditions as c
from shim.api import selectors
from shim.api.meta import Object, controller_of, key_of, parse_time, split_api_version
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.children import NAMESPACE, by_namespace
from shim.controllers.deployment_rollout import scaled
from shim.controllers.loop import Context, Controller
from shim.controllers.pod_readiness import is_deleted, is_ready
from shim.controllers.scales import Scales

DELETION_TIMEOUT = 120.0  # seconds in which an evicted pod is expected to be deleted, as upstream
FOLLOWED = {
    ("apps", "ReplicaSet"): r.REPLICASETS,
    ("apps", "StatefulSet"): r.STATEFULSETS,
    ("", "ReplicationController"): r.REPLICATIONCONTROLLERS,
}
"""Owners whose numbers are known without asking."""

UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of "
    "the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please "
    'set ".spec.minAvailable" field of the PDB to an integer value.'
)


class Uncountable(Exception):
    """It cannot be known how many pods there should be."""


def selected(budget: Object, pods: Iterable[Object]) -> list[Object]:
    """The pods that a budget protects."""
    metadata = budget["metadata"]
    selector = selectors.from_object(budget["spec"].get("selector"))
    inside = (pod for pod in pods if pod["metadata"]["namespace"] == metadata["namespace"])
    return [pod for pod in inside if selector.matches(pod["metadata"].get("labels") or {})]


def counts_owners(spec: Object) -> bool:
    """Whether there should be as many pods as their owners ask for; otherwise as many as there are."""
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def desired(spec: Object, total: int) -> int:
    """How many pods of so many should be healthy."""
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if most is not None:
        return max(total - scaled(most, total, up=True), 0)
    return scaled(least, total, up=True) if isinstance(least, str) else least or 0


def still_disrupted(budget: Object, pods: list[Object], now: datetime.datetime) -> dict[str, str]:
    """Evicted pods whose deletion has not been seen yet, with the time of the eviction."""
    told = (budget.get("status") or {}).get("disruptedPods") or {}
    oldest = now - datetime.timedelta(seconds=DELETION_TIMEOUT)
    alive = {pod["metadata"]["name"] for pod in pods if not is_deleted(pod)}
    return {name: at for name, at in told.items() if name in alive and parse_time(at) >= oldest}


def status_of(budget: Object, pods: list[Object], total: int, now: datetime.datetime) -> Object:
    """What the budget's status should say when there should be so many pods."""
    wanted = desired(budget["spec"], total)
    disrupted = still_disrupted(budget, pods, now)
    healthy = sum(is_ready(pod) and not is_deleted(pod) and pod["metadata"]["name"] not in disrupted for pod in pods)
    allowed = max(healthy - wanted, 0) if total > 0 else 0
    generation = budget["metadata"].get("generation", 0)
    conditions = copy.deepcopy((budget.get("status") or {}).get("conditions") or [])
    enough = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    c.set_condition(conditions, "DisruptionAllowed", *enough, "", observedGeneration=generation)
    for condition in conditions:
        condition.setdefault("message", "")  # always there in this kind of condition
    return {
        "observedGeneration": generation,
        **({"disruptedPods": disrupted} if disrupted else {}),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": wanted,
        "expectedPods": total,
        "conditions": conditions,
    }


def failed_status(budget: Object, why: str) -> Object:
    """Of a budget that cannot be computed: nothing may go."""
    status = copy.deepcopy(budget.get("status") or {})
    seen = status.get("observedGeneration")
    c.set_condition(
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
        self.owners = {kind: ctx.informer(resource) for kind, resource in FOLLOWED.items()}
        self.deployments = ctx.informer(r.DEPLOYMENTS)
        self.scales = Scales(ctx.client)
        self.recorder = ctx.recorder("controllermanager")
        for informer in (self.budgets, self.pods):
            by_namespace(informer)
        self.budgets.on_change(self.budget_changed)
        self.pods.on_change(self.pod_changed)

    def budget_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(key_of(new))

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        pods = [pod for pod in (old, new) if pod is not None]
        for budget in self.budgets.by(NAMESPACE, pods[0]["metadata"]["namespace"]):
            if _protects(budget, pods):
                self.queue.add(key_of(budget))

    async def reconcile(self, key: str) -> None:
        budget = self.budgets.get(key)
        if budget is None or is_deleted(budget):
            return
        pods = selected(budget, self.pods.by(NAMESPACE, budget["metadata"]["namespace"]))
        if not pods:
            self.recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        try:
            total = await self.total(budget, pods) if counts_owners(budget["spec"]) else len(pods)
            status = status_of(budget, pods, total, datetime.datetime.now(datetime.UTC))
        except (Uncountable, ApiError) as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            self.recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", text)
            status = failed_status(budget, str(error))
        else:
            self.tell_of_survivors(budget, pods, status)
        if status.get("disruptedPods"):
            self.queue.add_after(key, DELETION_TIMEOUT)
        if status == budget.get("status"):
            return
        try:  # never over an eviction's own write: a conflict is tried again from the newest
            await self.ctx.client.update(r.PODDISRUPTIONBUDGETS, {**budget, "status": status}, subresource="status")
        except ApiError as error:
            if error.code != 404:
                raise

    def tell_of_survivors(self, budget: Object, pods: list[Object], status: Object) -> None:
        """Evicted pods that nobody deleted are counted again."""
        told, still = (budget.get("status") or {}).get("disruptedPods") or {}, status.get("disruptedPods") or {}
        for pod in pods:
            name = pod["metadata"]["name"]
            if name in told and name not in still and not is_deleted(pod):
                namespace = budget["metadata"]["namespace"]  # upstream has it twice, too
                text = f"Pod was expected by PDB {namespace}/{namespace} to be deleted but it wasn't"
                self.recorder.event(pod, "Warning", "NotDeleted", text)

    async def total(self, budget: Object, pods: list[Object]) -> int:
        """The sum of what the pods' owners are asked to keep. Raises Uncountable and ApiError."""
        scales: dict[str, int] = {}  # by the uid of what sets the number
        seen: set[str] = set()
        unmanaged = False
        for pod in pods:
            reference = controller_of(pod)
            if reference is None:
                unmanaged = True
            elif reference["uid"] not in seen:
                seen.add(reference["uid"])
                uid, replicas = await self.scale_of(pod, reference)
                scales[uid] = replicas
        if unmanaged:
            self.recorder.event(
                budget, "Warning", "UnmanagedPods", UNMANAGED.format(selectors.go_text(budget["spec"].get("selector")))
            )
        return sum(scales.values())

    async def scale_of(self, pod: Object, reference: Object) -> tuple[str, int]:
        """Who sets the number of the pod's kind, and the number; a Deployment's stands for its ReplicaSets'."""
        namespace, kind = pod["metadata"]["namespace"], reference["kind"]
        group, version = split_api_version(reference["apiVersion"])
        followed = self.owners.get((group, kind))
        owner = followed.get(f"{namespace}/{reference['name']}") if followed is not None else None
        if owner is None or owner["metadata"]["uid"] != reference["uid"]:
            return await self.asked(pod, reference, group, version)
        above = controller_of(owner)
        if above is not None and above["kind"] == "Deployment":
            deployment = self.deployments.get(f"{namespace}/{above['name']}")
            if deployment is not None and deployment["metadata"]["uid"] == above["uid"]:
                owner = deployment
        return owner["metadata"]["uid"], int(owner["spec"].get("replicas", 1))

    async def asked(self, pod: Object, reference: Object, group: str, version: str) -> tuple[str, int]:
        """The same of an owner that is not followed, e.g. a custom resource: what its scale says."""
        kind = reference["kind"]
        served = await self.scales.served(group, kind)
        if served is None:
            raise Uncountable(f'no matches for kind "{kind}" in version "{reference["apiVersion"]}"')
        if "scale" not in served.subresources:
            raise Uncountable(f"{served.gvr.group_resource} does not implement the scale subresource")
        try:
            scale = await self.scales.get(served.gvr, reference["name"], pod["metadata"]["namespace"])
        except ApiError as error:
            if error.code != 404:
                raise
            scale = {"metadata": {}}
        if scale["metadata"].get("uid") != reference["uid"]:
            raise Uncountable(f'found no controllers for pod "{pod["metadata"]["name"]}"')
        return reference["uid"], int((scale.get("spec") or {}).get("replicas") or 0)


def _protects(budget: Object, pods: list[Object]) -> bool:
    try:
        return bool(selected(budget, pods))
    except selectors.SelectorError:
        return False
