"""Deployments: roll pods from one template to the next by resizing ReplicaSets, never below the wanted availability.

Each reconcile takes one step: find (or make) the ReplicaSet of the present template, resize what the plan allows, write
the status. The ReplicaSets' own changes wake the Deployment for the next step. ``kubectl rollout undo`` writes an old
template back; its ReplicaSet is then found by that template and becomes the newest revision.
"""

from __future__ import annotations

import copy
import datetime

from shim.api import selectors
from shim.api.meta import Object, controller_of, key_of
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers import deployment_revisions as revisions
from shim.controllers import deployment_rollout as rollout
from shim.controllers import deployment_status as statuses
from shim.controllers.adoption import claim, owner_reference, plan_claims
from shim.controllers.children import Adopters, Children
from shim.controllers.deployment_rollout import Scale
from shim.controllers.loop import Context, Controller
from shim.controllers.pod_control import namespace_terminating
from shim.controllers.pod_readiness import is_deleted
from shim.controllers.written import Written


class DeploymentController(Controller):
    """Owns ReplicaSets; never touches pods."""

    name = "deployment"
    component = "deployment-controller"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.deployments = ctx.informer(r.DEPLOYMENTS)
        self.replica_sets = ctx.informer(r.REPLICASETS)
        self.pods = ctx.informer(r.PODS)
        self.sets_of, self.pods_of = Children(self.replica_sets), Children(self.pods)
        self.adopters = Adopters(self.deployments)
        self.written, self.written_sets = Written(self.deployments), Written(self.replica_sets)
        self.recorder = ctx.recorder(self.component)
        self.deployments.on_change(self.deployment_changed)
        self.replica_sets.on_change(self.set_changed)
        self.pods.on_change(self.pod_changed)

    # --- what wakes a Deployment ---

    def deployment_changed(self, old: Object | None, new: Object | None) -> None:
        for obj in (old, new):
            if obj is not None:
                self.queue.add(key_of(obj))

    def owner_of(self, replica_set: Object) -> Object | None:
        reference = controller_of(replica_set)
        if reference is None or reference.get("kind") != "Deployment":
            return None
        owner = self.deployments.get(f"{replica_set['metadata']['namespace']}/{reference['name']}")
        return owner if owner is not None and owner["metadata"]["uid"] == reference["uid"] else None

    def set_changed(self, old: Object | None, new: Object | None) -> None:
        for obj in (old, new):
            owner = self.owner_of(obj) if obj is not None else None
            if owner is not None:
                self.queue.add(key_of(owner))
        if new is not None and controller_of(new) is None and not is_deleted(new):
            for key in self.adopters.of(new):
                self.queue.add(key)

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        """A Recreate rollout waits for the last old pod to be gone."""
        reference = controller_of(old) if old is not None and new is None else None
        if old is None or reference is None or reference.get("kind") != "ReplicaSet":
            return
        replica_set = self.replica_sets.get(f"{old['metadata']['namespace']}/{reference['name']}")
        owner = self.owner_of(replica_set) if replica_set is not None else None
        if owner is not None and not rollout.is_rolling(owner):
            self.queue.add(key_of(owner))

    # --- what a Deployment does ---

    async def reconcile(self, key: str) -> None:
        deployment = self.written.get(key)
        if deployment is None:
            return
        if deployment["spec"].get("selector") in (None, {}):
            self.recorder.event(
                deployment,
                "Warning",
                "SelectingAll",
                "This deployment is selecting all pods. A non-empty selector is required.",
            )
            return
        sets = await self.claim_sets(deployment)
        if is_deleted(deployment):
            new, old = self.split(deployment, sets)
            await self.write_status(deployment, statuses.plain_status(deployment, new, old))
            return
        pause = statuses.paused_condition(deployment)
        if pause is not None:
            deployment = await self.write_condition(deployment, pause)
        if deployment["spec"].get("paused") or rollout.is_scaling(deployment, sets):
            await self.resize(deployment, sets)
        elif rollout.is_rolling(deployment):
            await self.roll(deployment, sets)
        else:
            await self.recreate(deployment, sets)

    async def claim_sets(self, deployment: Object) -> list[Object]:
        selector = selectors.from_object(deployment["spec"]["selector"])
        candidates = self.sets_of.candidates(deployment)
        namespace = deployment["metadata"]["namespace"]
        unseen = [each for each in self.written_sets.unseen() if each["metadata"]["namespace"] == namespace]
        claims = plan_claims(
            deployment,
            lambda each: selector.matches(each["metadata"].get("labels") or {}),
            self.written_sets.overlay(candidates) + unseen,
        )
        reference = owner_reference(deployment, "apps/v1", "Deployment")
        return await claim(self.ctx.client, r.DEPLOYMENTS, deployment, reference, r.REPLICASETS, claims)

    @staticmethod
    def split(deployment: Object, sets: list[Object]) -> tuple[Object | None, list[Object]]:
        new = revisions.find_new(deployment, sets)
        return new, revisions.find_old(new, sets)

    async def resize(self, deployment: Object, sets: list[Object]) -> None:
        """The Deployment is paused, or its size changed: share the size, roll nothing."""
        deployment, new, old = await self.present_set(deployment, sets, create=False)
        for step in rollout.plan_scale(deployment, new, old):
            await self.scale(deployment, step)
        if deployment["spec"].get("paused"):
            await self.forget_history(deployment, old)
        await self.write_status(deployment, statuses.plain_status(deployment, new, old))

    async def roll(self, deployment: Object, sets: list[Object]) -> None:
        deployment, new, old = await self.present_set(deployment, sets, create=True)
        assert new is not None
        steps = rollout.plan_rolling(deployment, new, old)
        for step in steps:
            await self.scale(deployment, step)
        if not steps and statuses.is_complete(deployment, deployment.get("status") or {}):
            await self.forget_history(deployment, old)
        await self.write_rollout_status(deployment, new, old)

    async def recreate(self, deployment: Object, sets: list[Object]) -> None:
        deployment, new, old = await self.present_set(deployment, sets, create=False)
        running = rollout.active(old)
        for each in running:
            await self.scale(deployment, Scale(each, 0))
        pods = {each["metadata"]["uid"]: self.pods_of.owned_by(each) for each in old}
        if not running and not rollout.old_pods_running(old, pods):
            if new is None:
                deployment, new, old = await self.present_set(deployment, sets, create=True)
            assert new is not None
            await self.scale(deployment, Scale(new, deployment["spec"]["replicas"]))
            if statuses.is_complete(deployment, deployment.get("status") or {}):
                await self.forget_history(deployment, old)
        await self.write_rollout_status(deployment, new, old)

    # --- the present revision ---

    async def present_set(
        self, deployment: Object, sets: list[Object], *, create: bool
    ) -> tuple[Object, Object | None, list[Object]]:
        """The Deployment as it is now, its present ReplicaSet (made if asked), numbered, and the old ones."""
        new, old = self.split(deployment, sets)
        revision = revisions.next_revision(old)
        if new is None:
            if create:
                deployment, new = await self.create_set(deployment, old, revision)
            return deployment, new, old
        annotations = revisions.new_annotations(deployment, new, revision)
        min_ready = deployment["spec"].get("minReadySeconds", 0)
        if annotations != revisions.annotations_of(new) or new["spec"].get("minReadySeconds", 0) != min_ready:
            new = copy.deepcopy(new)
            new["metadata"]["annotations"], new["spec"]["minReadySeconds"] = annotations, min_ready
            new = self.written_sets.remember(await self.ctx.client.update(r.REPLICASETS, new))
        told = None
        progressing = any(
            each["type"] == "Progressing" for each in (deployment.get("status") or {}).get("conditions") or ()
        )
        if statuses.has_deadline(deployment) and not progressing:
            message = f'Found new replica set "{new["metadata"]["name"]}"'
            told = statuses.condition("Progressing", "True", statuses.FOUND_SET, message)
        number = revisions.annotations_of(new).get(revisions.REVISION, "")
        return await self.write_revision(deployment, number, told), new, old

    async def create_set(self, deployment: Object, old: list[Object], revision: int) -> tuple[Object, Object]:
        reference = owner_reference(deployment, "apps/v1", "Deployment")
        replicas = rollout.first_size(deployment, old)
        most = deployment["spec"]["replicas"] + rollout.fenceposts(deployment)[0]
        wanted = revisions.build_replica_set(deployment, reference, revision, replicas, most)
        name, namespace = wanted["metadata"]["name"], wanted["metadata"]["namespace"]
        told = None
        try:
            made = await self.ctx.client.create(r.REPLICASETS, wanted, namespace)
        except ApiError as error:
            made = await self.create_failed(deployment, wanted, error)
        else:
            if replicas > 0:
                self.tell_scaled(deployment, "up", name, 0, replicas)
            if statuses.has_deadline(deployment):
                message = f'Created new replica set "{name}"'
                told = statuses.condition("Progressing", "True", statuses.NEW_SET, message)
        self.written_sets.remember(made)
        return await self.write_revision(deployment, str(revision), told), made

    async def create_failed(self, deployment: Object, wanted: Object, error: ApiError) -> Object:
        """The ReplicaSet that is there already, if it is ours; else tell why there is none and try again later."""
        name, namespace = wanted["metadata"]["name"], wanted["metadata"]["namespace"]
        if namespace_terminating(error):
            raise error
        if error.code == 409:
            there = await self.ctx.client.get(r.REPLICASETS, name, namespace)
            reference = controller_of(there)
            ours = reference is not None and reference["uid"] == deployment["metadata"]["uid"]
            if ours and revisions.same_template(there["spec"]["template"], deployment["spec"]["template"]):
                return there
            # another template has the same hash: count the collision, which changes the name
            status = dict(deployment.get("status") or {})
            status["collisionCount"] = (status.get("collisionCount") or 0) + 1
            await self.write_status(deployment, status)
            raise error
        message = f'Failed to create new replica set "{name}": {error.message}'
        if statuses.has_deadline(deployment):
            await self.write_condition(
                deployment, statuses.condition("Progressing", "False", statuses.SET_ERROR, message)
            )
        self.recorder.event(deployment, "Warning", statuses.SET_ERROR, message)
        raise error

    # --- writing ---

    async def scale(self, deployment: Object, step: Scale) -> None:
        """Resize one ReplicaSet, and note on it the size of the Deployment this was done for."""
        before = step.replica_set["spec"]["replicas"]
        replicas = deployment["spec"]["replicas"]
        if before == step.replicas and not rollout.is_scaling(deployment, [step.replica_set]):
            return
        noted = revisions.replicas_annotations(replicas, replicas + rollout.fenceposts(deployment)[0])
        annotations = revisions.annotations_of(step.replica_set)
        wanted = copy.deepcopy(step.replica_set)
        wanted["spec"]["replicas"] = step.replicas
        wanted["metadata"]["annotations"] = {**annotations, **noted}
        self.written_sets.remember(await self.ctx.client.update(r.REPLICASETS, wanted))
        if before != step.replicas:
            direction = "up" if before < step.replicas else "down"
            self.tell_scaled(deployment, direction, wanted["metadata"]["name"], before, step.replicas)

    def tell_scaled(self, deployment: Object, direction: str, name: str, before: int, after: int) -> None:
        message = f"Scaled {direction} replica set {name} from {before} to {after}"
        self.recorder.event(deployment, "Normal", "ScalingReplicaSet", message)

    async def forget_history(self, deployment: Object, old: list[Object]) -> None:
        for each in revisions.forgettable(deployment, old):
            try:
                await self.ctx.client.delete(r.REPLICASETS, each["metadata"]["name"], each["metadata"]["namespace"])
            except ApiError as error:
                if error.code != 404:
                    raise
            self.written_sets.remember_deleted(each)

    async def write_revision(self, deployment: Object, revision: str, told: Object | None) -> Object:
        """Write the revision annotation, which travels with the status, and a condition."""
        current = revisions.annotations_of(deployment)
        if told is None and current.get(revisions.REVISION) == revision:
            return deployment
        changed = {**deployment, "metadata": {**deployment["metadata"]}}
        changed["metadata"]["annotations"] = {**current, revisions.REVISION: revision}
        status = dict(deployment.get("status") or {})
        if told is not None:
            status["conditions"] = statuses.with_condition(list(status.get("conditions") or ()), told)
        return await self.put_status(changed, status)

    async def write_condition(self, deployment: Object, told: Object) -> Object:
        status = dict(deployment.get("status") or {})
        status["conditions"] = statuses.with_condition(list(status.get("conditions") or ()), told)
        return await self.put_status(deployment, status)

    async def put_status(self, deployment: Object, status: Object) -> Object:
        made = await self.ctx.client.update(r.DEPLOYMENTS, {**deployment, "status": status}, subresource="status")
        return self.written.remember(made)

    async def write_status(self, deployment: Object, status: Object) -> None:
        if status != (deployment.get("status") or {}):
            await self.put_status(deployment, status)

    async def write_rollout_status(self, deployment: Object, new: Object | None, old: list[Object]) -> None:
        at = datetime.datetime.now(datetime.UTC)
        status = statuses.rollout_status(deployment, new, old, at)
        if status != (deployment.get("status") or {}):
            await self.put_status(deployment, status)
            return
        current = next((each for each in status["conditions"] if each["type"] == "Progressing"), None)
        if current is None or current["reason"] == statuses.TIMED_OUT or statuses.is_complete(deployment, status):
            return
        left = statuses.seconds_to_deadline(deployment, at)
        if left is not None:
            self.queue.add_after(key_of(deployment), max(left, 0) + 1)  # times are whole seconds
