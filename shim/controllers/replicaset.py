"""ReplicaSets: keep as many pods alive as ``spec.replicas`` says.

The same controller serves ReplicationControllers (see ``replication_controller``); what differs is in class attributes.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from shim.api import selectors
from shim.api.meta import GVR, Object, controller_of, key_of
from shim.api.selectors import Selector, SelectorError
from shim.client import resource as r
from shim.controllers.adoption import claim, owner_reference, plan_claims
from shim.controllers.children import Adopters, Children
from shim.controllers.expectations import Expectations
from shim.controllers.loop import Context, Controller
from shim.controllers.pod_control import (
    PodControl,
    all_or_first_failure,
    namespace_terminating,
    pod_from_template,
    slow_start,
)
from shim.controllers.pod_ranking import choose_victims
from shim.controllers.pod_readiness import (
    is_active,
    is_deleted,
    is_ready,
    is_terminating,
    seconds_until_available,
)
from shim.controllers.replicas import replicas_status, wanted_replicas
from shim.controllers.status_write import write_status
from shim.controllers.written import Written

BURST = 500  # creates and deletes at once, for one owner


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many pods to create, and which to delete; one of them is always empty."""

    create: int
    delete: list[Object]


def plan_scaling(owner: Object, pods: list[Object], related: list[Object], at: datetime.datetime) -> Scaling:
    """What brings the number of active pods to ``spec.replicas``."""
    difference = len(pods) - wanted_replicas(owner)
    if difference < 0:
        return Scaling(min(-difference, BURST), [])
    return Scaling(0, choose_victims(pods, related, min(difference, BURST), at) if difference else [])


class ReplicaSetController(Controller):
    """Owns pods through their controller reference; adopts matching orphans, releases what stops matching."""

    name = "replicaset"
    component = "replicaset-controller"
    resource: GVR = r.REPLICASETS
    kind = "ReplicaSet"
    counts_terminating = True

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.owners = ctx.informer(self.resource)
        self.pods = ctx.informer(r.PODS)
        self.children = Children(self.pods)
        self.siblings = Children(self.owners)
        self.adopters = Adopters(self.owners, self.selector)
        self.written = Written(self.owners)
        self.expectations = Expectations(self.pods, self.queue.add)
        self.control = PodControl(ctx.client, ctx.recorder(self.component))
        self.owners.on_change(self.owner_changed)
        self.pods.on_change(self.pod_changed)

    @staticmethod
    def selector(owner: Object) -> Selector:
        """Which pods this owner means. Raises SelectorError."""
        return selectors.from_object(owner["spec"].get("selector"))

    # --- what wakes an owner ---

    def owner_changed(self, old: Object | None, new: Object | None) -> None:
        for obj in (old, new):
            if obj is not None:
                key = key_of(obj)
                if new is None or (old is not None and old["metadata"]["uid"] != new["metadata"]["uid"]):
                    self.expectations.forget(key)
                self.queue.add(key)

    def owner_of(self, pod: Object) -> Object | None:
        reference = controller_of(pod)
        if reference is None or reference.get("kind") != self.kind:
            return None
        owner = self.owners.get(f"{pod['metadata']['namespace']}/{reference['name']}")
        return owner if owner is not None and owner["metadata"]["uid"] == reference["uid"] else None

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new if new is not None else old
        assert pod is not None
        previous = self.owner_of(old) if old is not None else None
        owner = self.owner_of(pod)
        if previous is not None and previous is not owner:
            self.queue.add(key_of(previous))
        if owner is not None:
            key = key_of(owner)
            if new is None or is_deleted(new):
                self.expectations.deleted(key, key_of(pod))
            self.queue.add(key)
        elif new is not None and controller_of(new) is None and not is_deleted(new):
            relabelled = old is None or old["metadata"].get("labels") != new["metadata"].get("labels")
            if relabelled or previous is not None:
                for waiting in self.adopters.of(new):
                    self.queue.add(waiting)

    # --- what an owner does ---

    async def reconcile(self, key: str) -> None:
        owner = self.written.get(key)
        if owner is None:
            self.expectations.forget(key)
            return
        may_scale = self.expectations.satisfied(key)
        try:
            selector = self.selector(owner)
        except SelectorError:
            return  # the server refuses such selectors; nothing can be done for one that slipped through
        reference = owner_reference(owner, self.resource.api_version, self.kind)
        candidates = self.children.candidates(owner)
        claims = plan_claims(
            owner,
            lambda pod: selector.matches(pod["metadata"].get("labels") or {}),
            filter(is_active, candidates),
        )
        pods = await claim(self.ctx.client, self.resource, owner, reference, r.PODS, claims)
        failure: Exception | None = None
        if may_scale and not is_deleted(owner):
            failure = await self.scale(key, owner, reference, pods)

        at = datetime.datetime.now(datetime.UTC)
        terminating = None
        if self.counts_terminating:
            dying = filter(is_terminating, self.children.owned_by(owner))
            terminating = sum(selector.matches(pod["metadata"].get("labels") or {}) for pod in dying)
        status = replicas_status(owner, pods, terminating, failure, at)
        if status != owner.get("status"):
            self.written.remember(await write_status(self.ctx.client, self.resource, owner, status))
        if failure is not None:
            raise failure
        min_ready = int(owner["spec"].get("minReadySeconds") or 0)
        if status.get("readyReplicas", 0) != status.get("availableReplicas", 0):
            wait = seconds_until_available(list(filter(is_ready, pods)), min_ready, at)
            self.queue.add_after(key, wait if wait is not None else float(min_ready))

    async def scale(self, key: str, owner: Object, reference: Object, pods: list[Object]) -> Exception | None:
        """Create or delete what is missing or too much; the answer is why that did not work."""
        plan = plan_scaling(owner, pods, self.related_pods(owner), datetime.datetime.now(datetime.UTC))
        if plan.create:
            pod = pod_from_template(owner["spec"]["template"], owner["metadata"]["name"], reference)
            self.expectations.expect(key)
            _, failure = await slow_start(plan.create, lambda: self.create(key, owner, pod))
            return None if failure is None or namespace_terminating(failure) else failure
        if plan.delete:
            self.expectations.expect(key, deletions=[key_of(pod) for pod in plan.delete])
            try:
                await all_or_first_failure([self.delete(key, owner, pod) for pod in plan.delete])
            except Exception as failure:
                return failure
        return None

    async def create(self, key: str, owner: Object, pod: Object) -> None:
        self.expectations.created(key, await self.control.create(owner, pod))

    async def delete(self, key: str, owner: Object, pod: Object) -> None:
        try:
            await self.control.delete(owner, pod)
        except Exception:
            self.expectations.deleted(key, key_of(pod))  # no event will come for a delete that was refused
            raise

    def related_pods(self, owner: Object) -> list[Object]:
        """The pods of every set with the same controller: those on a crowded node go first."""
        reference = controller_of(owner)
        family = [owner]
        if reference is not None:
            family = self.siblings.of(reference["uid"])
        return [pod for sibling in family for pod in self.children.owned_by(sibling)]
