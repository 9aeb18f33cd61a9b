"""DaemonSets: one pod on every node that can have it."""

from __future__ import annotations

import datetime
import time

from shim.api import selectors
from shim.api.meta import Object, controller_of, key_of
from shim.api.selectors import Selector, SelectorError
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.adoption import claim, owner_reference, plan_claims
from shim.controllers.children import Adopters, Children
from shim.controllers.daemonset_plan import (
    DaemonPlan,
    by_node,
    daemon_template,
    decisive,
    eligibility,
    node_of,
    pinned,
    plan_placement,
    plan_status,
    plan_update,
)
from shim.controllers.expectations import Expectations
from shim.controllers.history import History, by_number, forgettable, plan_revision, template_patch
from shim.controllers.loop import Context, Controller
from shim.controllers.pod_control import (
    PodControl,
    all_or_first_failure,
    namespace_terminating,
    pod_from_template,
    slow_start,
)
from shim.controllers.pod_readiness import is_deleted, phase, seconds_until_available
from shim.controllers.replicaset import BURST
from shim.controllers.status_write import write_status
from shim.controllers.template_hash import short_hash
from shim.controllers.written import Written

HASH_LABEL = "controller-revision-hash"
FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 900.0  # between replacements of a daemon that fails on a node, as upstream


class DaemonSetController(Controller):
    """Owns pods, each pinned to a node, and ControllerRevisions."""

    name = "daemonset"
    component = "daemonset-controller"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.sets = ctx.informer(r.DAEMONSETS)
        self.pods = ctx.informer(r.PODS)
        self.nodes = ctx.informer(r.NODES)
        self.children = Children(self.pods)
        self.adopters = Adopters(self.sets)
        self.written = Written(self.sets)
        self.history = History(ctx.client, ctx.informer(r.CONTROLLERREVISIONS), r.DAEMONSETS, "DaemonSet")
        self.expectations = Expectations(self.pods, self.queue.add)
        self.recorder = ctx.recorder(self.component)
        self.control = PodControl(ctx.client, self.recorder)
        self.failures: dict[tuple[str, str], tuple[float, float]] = {}  # (set uid, node) -> (until when, how long)
        self.sets.on_change(self.set_changed)
        self.pods.on_change(self.pod_changed)
        self.nodes.on_change(self.node_changed)

    # --- what wakes a set ---

    def set_changed(self, old: Object | None, new: Object | None) -> None:
        for obj in (old, new):
            if obj is not None:
                if new is None:
                    self.expectations.forget(key_of(obj))
                    gone = obj["metadata"]["uid"]
                    self.failures = {key: value for key, value in self.failures.items() if key[0] != gone}
                self.queue.add(key_of(obj))

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        for pod in (old, new):
            reference = controller_of(pod) if pod is not None else None
            if pod is None:
                continue
            if reference is None:
                if pod is new and (old is None or old["metadata"].get("labels") != pod["metadata"].get("labels")):
                    for key in self.adopters.of(pod):
                        self.queue.add(key)
                continue
            if reference.get("kind") != "DaemonSet":
                continue
            key = f"{pod['metadata']['namespace']}/{reference['name']}"
            if new is None or is_deleted(new):
                self.expectations.deleted(key, key_of(pod))
            self.queue.add(key)

    def node_changed(self, old: Object | None, new: Object | None) -> None:
        """A node came, went, or changed what decides on its pods."""
        if old is not None and new is not None and decisive(old) == decisive(new):
            return
        for each in self.sets.list():
            before = eligibility(each, old) if old is not None else None
            after = eligibility(each, new) if new is not None else None
            if before != after:
                self.queue.add(key_of(each))

    # --- what a set does ---

    async def reconcile(self, key: str) -> None:
        daemon_set = self.written.get(key)
        if daemon_set is None or is_deleted(daemon_set):
            return
        try:
            selector = selectors.from_object(daemon_set["spec"].get("selector"))
        except SelectorError:
            return
        if selector.empty:
            message = "This daemon set is selecting all pods. A non-empty selector is required."
            self.recorder.event(daemon_set, "Warning", "SelectingAll", message)
            return
        daemon_set, revision_hash, revisions = await self.present_revision(daemon_set, selector)
        pods = await self.claim_pods(daemon_set, selector)
        nodes = sorted(self.nodes.list(), key=lambda node: str(node["metadata"]["name"]))
        at = datetime.datetime.now(datetime.UTC)
        failure: Exception | None = None
        if self.expectations.satisfied(key):
            failure = await self.place(key, daemon_set, nodes, pods, revision_hash, at)
        status = plan_status(daemon_set, nodes, by_node(pods), revision_hash, at)
        if status != daemon_set.get("status"):
            self.written.remember(await write_status(self.ctx.client, r.DAEMONSETS, daemon_set, status))
        if failure is not None:
            raise failure
        live = {name for pod in pods if (name := _revision_name(daemon_set, pod)) is not None}
        live.add(f"{daemon_set['metadata']['name']}-{revision_hash}")
        limit = daemon_set["spec"].get("revisionHistoryLimit", 10)
        await self.history.forget(forgettable(revisions, live, limit))
        wait = seconds_until_available(pods, int(daemon_set["spec"].get("minReadySeconds") or 0), at)
        if wait is not None:
            self.queue.add_after(key, wait)

    async def claim_pods(self, daemon_set: Object, selector: Selector) -> list[Object]:
        plan = plan_claims(
            daemon_set,
            lambda pod: selector.matches(pod["metadata"].get("labels") or {}),
            self.children.candidates(daemon_set),
        )
        reference = owner_reference(daemon_set, "apps/v1", "DaemonSet")
        return await claim(self.ctx.client, r.DAEMONSETS, daemon_set, reference, r.PODS, plan)

    async def present_revision(self, daemon_set: Object, selector: Selector) -> tuple[Object, str, list[Object]]:
        """The set, the hash its pods carry, and all revisions."""
        revisions = await self.history.of(daemon_set, selector)
        data = template_patch(daemon_set)
        step = plan_revision(revisions, data)
        if step.renumber and step.existing is not None:
            present = await self.history.renumber(step.existing, step.number)
            others = [each for each in revisions if each["metadata"]["name"] != present["metadata"]["name"]]
            revisions = by_number([*others, present])
        elif step.existing is not None:
            present = step.existing
        else:
            collisions = (daemon_set.get("status") or {}).get("collisionCount")
            name_hash = short_hash(daemon_set["spec"]["template"], collisions)
            try:
                present = await self.history.create(daemon_set, data, step.number, name_hash, HASH_LABEL)
            except ApiError as error:
                if error.code == 409:  # another template has this hash: the count changes the name
                    status = {**(daemon_set.get("status") or {}), "collisionCount": (collisions or 0) + 1}
                    self.written.remember(await write_status(self.ctx.client, r.DAEMONSETS, daemon_set, status))
                raise
            revisions = [*revisions, present]
        return daemon_set, present["metadata"]["labels"][HASH_LABEL], revisions

    async def place(
        self,
        key: str,
        daemon_set: Object,
        nodes: list[Object],
        pods: list[Object],
        revision_hash: str,
        at: datetime.datetime,
    ) -> Exception | None:
        """First a pod wherever one belongs; only when that is so, replace old ones."""
        here = by_node(pods)
        uid = daemon_set["metadata"]["uid"]
        present = time.monotonic()
        waiting = {node: until - present for (owner, node), (until, _) in self.failures.items() if owner == uid}
        backing_off = {node for node, left in waiting.items() if left > 0}
        plan = plan_placement(daemon_set, nodes, here, revision_hash, backing_off, at)
        for node, pod in plan.ended:
            self.tell_ended(daemon_set, node, pod)
        if any(phase(pod) == "Failed" for node in backing_off for pod in here.get(node, ())):
            self.queue.add_after(key, min(left for left in waiting.values() if left > 0))
        if not plan.create and not plan.delete:
            plan = plan_update(daemon_set, nodes, here, revision_hash, at)
        return await self.perform(key, daemon_set, plan, revision_hash)

    def tell_ended(self, daemon_set: Object, node: str, pod: Object) -> None:
        name = key_of(pod)
        if phase(pod) == "Succeeded":
            message = f"Found succeeded daemon pod {name} on node {node}, will try to delete it"
            self.recorder.event(daemon_set, "Normal", "SucceededDaemonPod", message)
            return
        key = (daemon_set["metadata"]["uid"], node)
        until, last = self.failures.get(key, (0.0, 0.0))
        present = time.monotonic()
        # a daemon that has run well for long enough begins anew
        delay = FIRST_BACKOFF if last == 0 or present - until > 2 * LONGEST_BACKOFF else min(2 * last, LONGEST_BACKOFF)
        self.failures[key] = (present + delay, delay)
        message = f"Found failed daemon pod {name} on node {node}, will try to kill it"
        self.recorder.event(daemon_set, "Warning", "FailedDaemonPod", message)

    async def perform(self, key: str, daemon_set: Object, plan: DaemonPlan, revision_hash: str) -> Exception | None:
        creates, deletes = plan.create[:BURST], plan.delete[:BURST]
        if not creates and not deletes:
            return None
        self.expectations.expect(key, deletions=[key_of(pod) for pod in deletes])
        template = daemon_template(daemon_set, revision_hash)
        reference = owner_reference(daemon_set, "apps/v1", "DaemonSet")
        waiting = iter(creates)

        async def create() -> None:
            pod = pod_from_template(pinned(template, next(waiting)), daemon_set["metadata"]["name"], reference)
            self.expectations.created(key, await self.control.create(daemon_set, pod))

        _, failure = await slow_start(len(creates), create)
        try:
            await all_or_first_failure([self.delete(key, daemon_set, pod) for pod in deletes])
        except Exception as refused:
            failure = failure or refused
        return None if failure is None or namespace_terminating(failure) else failure

    async def delete(self, key: str, daemon_set: Object, pod: Object) -> None:
        try:
            await self.control.delete(daemon_set, pod)
        except Exception:
            self.expectations.deleted(key, key_of(pod))
            raise


def _revision_name(daemon_set: Object, pod: Object) -> str | None:
    label = (pod["metadata"].get("labels") or {}).get(HASH_LABEL)
    return f"{daemon_set['metadata']['name']}-{label}" if label and node_of(pod) else None
