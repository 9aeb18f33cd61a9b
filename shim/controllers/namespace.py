"""How does a namespace go away? Everything in it is deleted, and once nothing remains its finalizer is taken off.

Pods go before everything else, so that none runs on without the configuration and policies it was given.
What remains is asked of the server each time, never of a copy: a namespace must not go while something is in it.
"""

from __future__ import annotations

import asyncio
import copy
import datetime
import logging
from collections import Counter
from dataclasses import dataclass, field

from shim.api import conditions
from shim.api.meta import GVR, Object, parse_time
from shim.api.status import ApiError
from shim.client import resource as r
from shim.client.discovery import discover
from shim.controllers.children import NAMESPACE, by_namespace
from shim.controllers.loop import Context, Controller

log = logging.getLogger(__name__)

FINALIZER = "kubernetes"
FIRST_LOOK, LONGEST_LOOK = 0.1, 5.0  # seconds until what is being deleted is counted again


@dataclass(slots=True)
class Remains:
    """What was still there: objects by resource and by finalizer, and what could not be deleted."""

    objects: Counter[str] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def count(self, gvr: GVR, namespace: str, items: list[Object], *, patient: bool) -> None:
        """What is still there of a resource; that nothing holds it is a failure, unless it may take its time."""
        if not items:
            return
        self.objects[f"{gvr.resource}.{gvr.group}"] += len(items)  # the dot stands in the core group too
        held = [finalizer for item in items for finalizer in item["metadata"].get("finalizers") or ()]
        self.finalizers.update(held)
        if not held and not patient:
            shown = f"{gvr.group}/{gvr.version}, Resource={gvr.resource}"
            self.failures.append(f"unexpected items still remain in namespace: {namespace} for gvr: {shown}")


def terminating_conditions(present: list[Object], remains: Remains, undiscovered: str) -> list[Object]:
    """The conditions of a namespace that is being deleted, in upstream's words."""
    objects = [f"{name} has {count} resource instances" for name, count in sorted(remains.objects.items())]
    finalizers = [f"{name} in {count} resource instances" for name, count in sorted(remains.finalizers.items())]
    failures = "Failed to delete all resource types, {} remaining: {}".format(
        len(remains.failures), ", ".join(remains.failures)
    )
    table = [
        # type, is it so, then reason and message, otherwise reason and message
        ("NamespaceDeletionDiscoveryFailure", bool(undiscovered), "DiscoveryFailed", undiscovered,
         "ResourcesDiscovered", "All resources successfully discovered"),
        ("NamespaceDeletionGroupVersionParsingFailure", False, "", "",
         "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ("NamespaceDeletionContentFailure", bool(remains.failures), "ContentDeletionFailed", failures,
         "ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ("NamespaceContentRemaining", bool(objects), "SomeResourcesRemain",
         f"Some resources are remaining: {', '.join(objects)}",
         "ContentRemoved", "All content successfully removed"),
        ("NamespaceFinalizersRemaining", bool(finalizers), "SomeFinalizersRemain",
         f"Some content in the namespace has finalizers remaining: {', '.join(finalizers)}",
         "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
    ]  # fmt: skip
    result = copy.deepcopy(present)
    for type_, so, reason, message, otherwise_reason, otherwise in table:
        if so:
            conditions.set_condition(result, type_, "True", reason, message)
        else:
            conditions.set_condition(result, type_, "False", otherwise_reason, otherwise)
    return result


class NamespaceController(Controller):
    """Empties and finishes namespaces that are being deleted."""

    name = "namespace"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.namespaces = ctx.informer(r.NAMESPACES)
        self.pods = ctx.informer(r.PODS)
        by_namespace(self.pods)
        self.looks: dict[str, float] = {}
        self.namespaces.on_change(self.namespace_changed)
        self.pods.on_change(self.pod_changed)

    def namespace_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self.looks.pop(old["metadata"]["name"], None)
        elif new["metadata"].get("deletionTimestamp") and (old is None or not old["metadata"].get("deletionTimestamp")):
            self.queue.add(new["metadata"]["name"])

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            name = old["metadata"]["namespace"]
            if name in self.looks and not self.pods.by(NAMESPACE, name):
                self.queue.add(name)  # the last pod has gone: the rest need not wait for the next look

    async def reconcile(self, key: str) -> None:
        try:
            namespace = await self.ctx.client.get(r.NAMESPACES, key)
        except ApiError as error:
            if error.code == 404:
                return
            raise
        if not namespace["metadata"].get("deletionTimestamp"):
            return
        if FINALIZER not in (namespace["spec"].get("finalizers") or ()):
            return
        if (namespace.get("status") or {}).get("phase") != "Terminating":
            status = {**(namespace.get("status") or {}), "phase": "Terminating"}
            namespace = await self.ctx.client.update(
                r.NAMESPACES, {**namespace, "status": status}, subresource="status"
            )
        remains, undiscovered = await self.delete_content(namespace)
        namespace = await self.tell(namespace, remains, undiscovered)
        if remains.objects or remains.failures or undiscovered:
            look = self.looks.get(key, FIRST_LOOK)
            self.looks[key] = min(LONGEST_LOOK, look * 2)
            self.queue.add_after(key, look)
            return
        finalizers = [each for each in namespace["spec"]["finalizers"] if each != FINALIZER]
        spec = {**namespace["spec"], "finalizers": finalizers}
        await self.ctx.client.update(r.NAMESPACES, {**namespace, "spec": spec}, subresource="finalize")
        log.info("namespace %s is gone", key)

    async def delete_content(self, obj: Object) -> tuple[Remains, str]:
        """Delete all that can be deleted now; what is left, and why not everything is known of."""
        remains, namespace = Remains(), obj["metadata"]["name"]
        try:
            found = await discover(self.ctx.client)
        except ApiError as error:
            return remains, str(error)
        wanted = [each.gvr for each in found.served if each.gvr.namespaced and {"list", "delete"} <= each.verbs]
        await self.delete_all(r.PODS, namespace, remains, patient=self.pods_may_end(obj))
        if not remains.objects:
            others = [gvr for gvr in wanted if gvr not in (r.PODS, r.EVENTS_V1)]
            await asyncio.gather(*(self.delete_all(gvr, namespace, remains) for gvr in others))
        if not found.stale:
            return remains, ""
        return remains, f"Discovery failed for some groups, {len(found.stale)} failing: {found.failure()}"

    def pods_may_end(self, namespace: Object) -> bool:
        """Whether the namespace's pods still have time to end."""
        pods = self.pods.by(NAMESPACE, namespace["metadata"]["name"])
        running = (pod for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"))
        grace = max((pod["spec"].get("terminationGracePeriodSeconds") or 0 for pod in running), default=0)
        since = parse_time(namespace["metadata"]["deletionTimestamp"])
        return datetime.datetime.now(datetime.UTC) < since + datetime.timedelta(seconds=grace)

    async def delete_all(self, gvr: GVR, namespace: str, remains: Remains, *, patient: bool = False) -> None:
        try:
            if not await self.there(gvr, namespace):
                return
            await self.ctx.client.delete_collection(gvr, namespace, propagation="Background")
            remains.count(gvr, namespace, await self.there(gvr, namespace), patient=patient)
        except ApiError as error:
            if error.code not in (404, 405):
                remains.failures.append(error.message)

    async def there(self, gvr: GVR, namespace: str) -> list[Object]:
        answer = await self.ctx.client.list(gvr, namespace, metadata_only=True)
        return list(answer.get("items") or ())

    async def tell(self, namespace: Object, remains: Remains, undiscovered: str) -> Object:
        present = (namespace.get("status") or {}).get("conditions") or []
        only_pods = set(remains.objects) == {"pods."}  # as upstream: nothing is counted before they are gone
        told = Remains(failures=remains.failures) if only_pods else remains
        wanted = terminating_conditions(present, told, undiscovered)
        if wanted == present or not (present or remains.objects or remains.failures or undiscovered):
            return namespace  # an empty namespace goes without a word
        status = {**namespace["status"], "conditions": wanted}
        return await self.ctx.client.update(r.NAMESPACES, {**namespace, "status": status}, subresource="status")
