"""StatefulSets: pods with a name, an order and storage of their own."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable

from shim.api import selectors
from shim.api.meta import Object, controller_of, key_of
from shim.api.selectors import Selector, SelectorError
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.adoption import claim, owner_reference, plan_claims
from shim.controllers.children import NAMESPACE, Children, by_namespace
from shim.controllers.history import History, forgettable, plan_revision, template_patch
from shim.controllers.loop import Context, Controller
from shim.controllers.pod_control import namespace_terminating, slow_start
from shim.controllers.pod_readiness import is_deleted, seconds_until_available
from shim.controllers.statefulset_identity import (
    claim_owners,
    claims,
    ordinal_of,
    ordinals,
    revision_of,
    with_identity,
    with_storage,
)
from shim.controllers.statefulset_plan import Action, plan_actions, plan_status
from shim.controllers.status_write import write_status
from shim.controllers.template_hash import short_hash
from shim.controllers.written import Written

HASH_LABEL = "controller.kubernetes.io/hash"


class StatefulSetController(Controller):
    """Owns pods, their claims (as far as the retention policy says) and ControllerRevisions."""

    name = "statefulset"
    component = "statefulset-controller"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.sets = ctx.informer(r.STATEFULSETS)
        self.pods = ctx.informer(r.PODS)
        self.claims = ctx.informer(r.PERSISTENTVOLUMECLAIMS)
        self.children = Children(self.pods)
        by_namespace(self.sets)
        self.written, self.written_pods = Written(self.sets), Written(self.pods)
        self.written_claims = Written(self.claims)
        self.history = History(ctx.client, ctx.informer(r.CONTROLLERREVISIONS), r.STATEFULSETS, "StatefulSet")
        self.recorder = ctx.recorder(self.component)
        self.sets.on_change(self.set_changed)
        self.pods.on_change(self.pod_changed)
        self.claims.on_change(self.claim_changed)

    # --- what wakes a set ---

    def set_changed(self, old: Object | None, new: Object | None) -> None:
        for obj in (old, new):
            if obj is not None:
                self.queue.add(key_of(obj))

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        for pod in (old, new):
            if pod is None:
                continue
            reference = controller_of(pod)
            if reference is not None:
                if reference.get("kind") == "StatefulSet":
                    self.queue.add(f"{pod['metadata']['namespace']}/{reference['name']}")
            elif pod is new and (old is None or old["metadata"].get("labels") != pod["metadata"].get("labels")):
                for each in self.sets.by(NAMESPACE, pod["metadata"]["namespace"]):
                    if ordinal_of(pod, each["metadata"]["name"]) is not None:
                        self.queue.add(key_of(each))

    def claim_changed(self, old: Object | None, new: Object | None) -> None:
        """A claim that went with its pod: the next pod of that name may have waited for its end."""
        if old is None or new is not None:
            return
        for reference in old["metadata"].get("ownerReferences") or ():
            if reference["kind"] == "Pod":
                self.queue.add(f"{old['metadata']['namespace']}/{reference['name'].rpartition('-')[0]}")

    # --- what a set does ---

    async def reconcile(self, key: str) -> None:
        stateful_set = self.written.get(key)
        if stateful_set is None:
            return
        try:
            selector = selectors.from_object(stateful_set["spec"].get("selector"))
        except SelectorError:
            return
        revisions = await self.history.of(stateful_set, selector)
        pods = await self.claim_pods(stateful_set, selector)
        stateful_set, current, update, revisions = await self.present_revisions(stateful_set, revisions)
        if stateful_set["spec"].get("volumeClaimTemplates") and not is_deleted(stateful_set):
            await self.follow_policy(stateful_set, pods)
        at = datetime.datetime.now(datetime.UTC)
        actions = plan_actions(stateful_set, pods, current, update, at)
        failure = await self.perform(stateful_set, actions)
        collisions = int((stateful_set.get("status") or {}).get("collisionCount") or 0)
        status = plan_status(stateful_set, pods, actions if failure is None else [], current, update, collisions, at)
        if status != stateful_set.get("status"):
            self.written.remember(await write_status(self.ctx.client, r.STATEFULSETS, stateful_set, status))
        if failure is not None:
            raise failure
        live = {current["metadata"]["name"], update["metadata"]["name"], *map(revision_of, pods)}
        limit = stateful_set["spec"].get("revisionHistoryLimit", 10)
        await self.history.forget(forgettable(revisions, live, limit))
        wait = seconds_until_available(pods, int(stateful_set["spec"].get("minReadySeconds") or 0), at)
        if wait is not None:
            self.queue.add_after(key, wait)

    async def claim_pods(self, stateful_set: Object, selector: Selector) -> list[Object]:
        name = stateful_set["metadata"]["name"]

        def matches(pod: Object) -> bool:
            labels = pod["metadata"].get("labels") or {}
            return ordinal_of(pod, name) is not None and selector.matches(labels)

        namespace = stateful_set["metadata"]["namespace"]
        unseen = [pod for pod in self.written_pods.unseen() if pod["metadata"]["namespace"] == namespace]
        candidates = self.written_pods.overlay(self.children.candidates(stateful_set)) + unseen
        reference = owner_reference(stateful_set, "apps/v1", "StatefulSet")
        plan = plan_claims(stateful_set, matches, candidates)
        return await claim(self.ctx.client, r.STATEFULSETS, stateful_set, reference, r.PODS, plan)

    async def present_revisions(
        self, stateful_set: Object, revisions: list[Object]
    ) -> tuple[Object, Object, Object, list[Object]]:
        """The set (its collision count may have grown), its current and its update revision, and all of them."""
        data = template_patch(stateful_set)
        step = plan_revision(revisions, data)
        collisions = int((stateful_set.get("status") or {}).get("collisionCount") or 0)
        if step.existing is None:
            while True:
                name_hash = short_hash(data, collisions)
                try:
                    update = await self.history.create(stateful_set, data, step.number, name_hash, HASH_LABEL)
                    break
                except ApiError as error:
                    if error.code != 409:
                        raise
                    collisions += 1
            status = {**(stateful_set.get("status") or {}), "collisionCount": collisions}
            if collisions:
                stateful_set = {**stateful_set, "status": status}
            revisions = [*revisions, update]
        elif step.renumber:
            update = await self.history.renumber(step.existing, step.number)
        else:
            update = step.existing
        named = (stateful_set.get("status") or {}).get("currentRevision")
        current = next((each for each in revisions if each["metadata"]["name"] == named), update)
        return stateful_set, current, update, revisions

    async def perform(self, stateful_set: Object, actions: list[Action]) -> Exception | None:
        """Carry the actions out: in turn when the order counts, else in growing batches. The answer is what failed."""
        if stateful_set["spec"].get("podManagementPolicy") != "Parallel":
            for action in actions:
                try:
                    await self.act(stateful_set, action)
                except Exception as refused:
                    return None if namespace_terminating(refused) else refused
            return None
        waiting = iter(actions)
        _, failure = await slow_start(len(actions), lambda: self.act(stateful_set, next(waiting)))
        return None if failure is None or namespace_terminating(failure) else failure

    async def act(self, stateful_set: Object, action: Action) -> None:
        pod = action.pod
        verbs: dict[str, tuple[str, Callable[[Object, Object], Awaitable[bool]]]] = {
            "create": ("Create", self.create),
            "delete": ("Delete", self.delete),
            "claims": ("Update", self.make_claims),
            "repair": ("Update", self.repair),
        }
        verb, act = verbs[action.verb]
        name, set_name = pod["metadata"]["name"], stateful_set["metadata"]["name"]
        try:
            told = await act(stateful_set, pod)
        except ApiError as error:
            if not namespace_terminating(error):
                message = f"{verb} Pod {name} in StatefulSet {set_name} failed error: {error.message}"
                self.recorder.event(stateful_set, "Warning", f"Failed{verb}", message)
            raise
        if told:
            message = f"{verb} Pod {name} in StatefulSet {set_name} successful"
            self.recorder.event(stateful_set, "Normal", f"Successful{verb}", message)

    async def create(self, stateful_set: Object, pod: Object) -> bool:
        if self.awaits_end_of_claims(stateful_set, pod):
            return False
        await self.make_claims(stateful_set, pod)
        try:
            self.written_pods.remember(await self.ctx.client.create(r.PODS, pod, pod["metadata"]["namespace"]))
        except ApiError as error:
            if error.code == 409:  # the old one of this name is not quite gone: its end will wake us
                return False
            raise
        return True

    async def delete(self, stateful_set: Object, pod: Object) -> bool:
        await self.keep_claims(stateful_set, pod)
        try:
            gone = await self.ctx.client.delete(r.PODS, pod["metadata"]["name"], pod["metadata"]["namespace"])
        except ApiError as error:
            if error.code != 404:
                raise
            return False
        if gone.get("kind") == "Pod" and is_deleted(gone):
            self.written_pods.remember(gone)
        return True

    async def repair(self, stateful_set: Object, pod: Object) -> bool:
        number = ordinal_of(pod, stateful_set["metadata"]["name"])
        assert number is not None
        await self.make_claims(stateful_set, pod)
        changed = with_storage(with_identity(pod, stateful_set, number), stateful_set, number)
        self.written_pods.remember(await self.ctx.client.update(r.PODS, changed))
        return True

    # --- storage ---

    async def make_claims(self, stateful_set: Object, pod: Object) -> bool:
        """Create the claims the pod misses."""
        number = ordinal_of(pod, stateful_set["metadata"]["name"])
        assert number is not None
        for wanted in claims(stateful_set, number):
            if self.written_claims.get(key_of(wanted)) is not None:
                continue
            name, set_name = wanted["metadata"]["name"], stateful_set["metadata"]["name"]
            where = f"Pod {pod['metadata']['name']} in StatefulSet {set_name}"
            wanted["metadata"]["ownerReferences"] = claim_owners(wanted, stateful_set, pod, in_range=True)
            try:
                made = await self.ctx.client.create(r.PERSISTENTVOLUMECLAIMS, wanted, wanted["metadata"]["namespace"])
            except ApiError as error:
                if error.code == 409:
                    continue
                self.recorder.event(
                    stateful_set,
                    "Warning",
                    "FailedCreate",
                    f"Create Claim {name} for {where} failed error: {error.message}",
                )
                raise
            self.written_claims.remember(made)
            self.recorder.event(stateful_set, "Normal", "SuccessfulCreate", f"Create Claim {name} {where} success")
        return False

    def awaits_end_of_claims(self, stateful_set: Object, pod: Object) -> bool:
        """Whether claims are still there that go with an earlier pod of this name."""
        policy = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
        number = ordinal_of(pod, stateful_set["metadata"]["name"])
        if policy.get("whenScaled") != "Delete" or number is None:
            return False
        found = (self.written_claims.get(key_of(wanted)) for wanted in claims(stateful_set, number))
        return any(
            (reference["kind"], reference["name"]) == ("Pod", pod["metadata"]["name"])
            for claim in found
            if claim is not None
            for reference in claim["metadata"].get("ownerReferences") or ()
        )

    async def follow_policy(self, stateful_set: Object, pods: list[Object]) -> None:
        """The retention policy may have been changed, or the number of pods: who owns claims changes with them."""
        for pod in pods:
            if is_deleted(pod) or not await self.keep_claims(stateful_set, pod):
                continue
            if ordinal_of(pod, stateful_set["metadata"]["name"]) in ordinals(stateful_set):
                metadata = stateful_set["metadata"]
                message = f"Update Pod {pod['metadata']['name']} in StatefulSet {metadata['name']} successful"
                self.recorder.event(stateful_set, "Normal", "SuccessfulUpdate", message)

    async def keep_claims(self, stateful_set: Object, pod: Object) -> bool:
        """Give a pod's claims the owners by which they stay or go with it; whether they had others."""
        changes = False
        number = ordinal_of(pod, stateful_set["metadata"]["name"])
        assert number is not None
        for wanted in claims(stateful_set, number):
            found = self.written_claims.get(key_of(wanted))
            if found is None:
                continue
            owners = claim_owners(found, stateful_set, pod, number in ordinals(stateful_set))
            if owners != (found["metadata"].get("ownerReferences") or []):
                changed = {**found, "metadata": {**found["metadata"], "ownerReferences": owners}}
                self.written_claims.remember(await self.ctx.client.update(r.PERSISTENTVOLUMECLAIMS, changed))
                changes = True
        return changes
