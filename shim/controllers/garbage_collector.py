"""What goes when its owner goes? Objects follow their owners: in the background, before them, or not at all.

- background: an object all of whose owners are gone is deleted;
- foreground: an owner with the finalizer ``foregroundDeletion`` waits until the dependents that block it are gone;
- orphan: an owner with the finalizer ``orphan`` waits until its dependents have forgotten it.

An owner counts as gone only when the server itself says so, asked by name and compared by uid: the copies that
tell of changes may be behind. And no owner is released before every kind has been listed: a dependent that is not
known yet would be taken for none.

Most kinds are followed by their metadata alone; those that other controllers follow anyway are followed with them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from shim.api.meta import GVR, Object, split_api_version
from shim.api.status import ApiError
from shim.client import Informer
from shim.client import resource as r
from shim.client.discovery import discover
from shim.controllers.loop import Context, Controller
from shim.controllers.ownership import FOREGROUND, ORPHAN, Graph, Item

log = logging.getLogger(__name__)

DISCOVERY = 30.0  # upstream's period: new kinds are followed from then on
SLOW_KIND = 5.0  # one kind that cannot be listed must not keep the others from being followed
UNSEEN = 5.0  # until an owner that is there, but not in the copies yet, is asked for again
REMEMBERED = 500
IGNORED = {r.EVENTS, r.EVENTS_V1}  # many, short-lived, and nobody's owner


class GarbageCollector(Controller):
    """Keys of the queue are uids."""

    name = "garbage-collector"
    workers = 10

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.graph = Graph()
        self.kinds: dict[tuple[str, str, str], GVR] = {}
        self.informers: dict[GVR, Informer] = {}
        self.ends: dict[GVR, Callable[[], None]] = {}  # what ends being told by an informer
        self.to_follow: set[GVR] = set()  # those that have an informer, or get one soon
        self.absent: OrderedDict[tuple[str | None, str], None] = OrderedDict()
        self.complete = asyncio.Event()  # every kind has been listed: the graph lacks no dependent
        self.postponed: set[str] = set()  # owners that wait for that
        self.of_unknown_kinds: set[str] = set()  # objects whose owners' kinds were not served when they were looked at
        self.defined = asyncio.Event()  # a definition of custom resources has changed
        ctx.informer(r.CUSTOMRESOURCEDEFINITIONS).on_change(lambda old, new: self.defined.set())

    async def run(self) -> None:
        self.complete.clear()
        self.postponed.clear()
        for gvr in list(self.informers):  # if this is not the first time, what ran then has ended
            self.forget_kind(gvr)
        self.graph = Graph()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.follow_all(tasks), name="following every kind")
            await super().run()

    async def follow_all(self, tasks: asyncio.TaskGroup) -> None:
        """Follow every kind the server serves, as kinds come and go."""
        running: dict[GVR, asyncio.Task[None]] = {}
        while True:
            self.defined.clear()
            try:
                found = await discover(self.ctx.client)
            except ApiError as error:
                log.info("cannot discover what to follow: %s", error)
                await asyncio.sleep(1.0)
                continue
            wanted = [
                each for each in found.served if {"list", "watch", "delete"} <= each.verbs and each.gvr not in IGNORED
            ]
            # what cannot be asked now is there all the same, and so are its owners
            unasked = {kind: gvr for kind, gvr in self.kinds.items() if f"{gvr.group}/{gvr.version}" in found.stale}
            self.to_follow = {each.gvr for each in wanted} | (self.informers.keys() & set(unasked.values()))
            self.kinds = unasked | {(each.gvr.group, each.gvr.version, each.kind): each.gvr for each in found.served}
            for gvr in self.informers.keys() - self.to_follow:
                self.forget_kind(gvr)
                if gvr in running:
                    running.pop(gvr).cancel()
            for each in wanted:
                if each.gvr not in self.informers:
                    informer = self.ctx.shared(each.gvr)
                    if informer is None:
                        informer = Informer(self.ctx.client, each.gvr, metadata_only=True)
                        name = f"metadata {each.gvr.group_resource}"
                        running[each.gvr] = tasks.create_task(informer.run(), name=name)
                    self.informers[each.gvr] = informer
                    self.ends[each.gvr] = informer.on_change(partial(self.changed, each.gvr))
                    # one after the other: the first seconds of a cluster belong to others
                    await self.patiently(informer)
            for key in self.of_unknown_kinds:
                self.queue.add(key)
            self.of_unknown_kinds.clear()
            if not self.complete.is_set():
                for informer in self.informers.values():
                    await informer.synced()
                self.complete.set()
                for key in self.postponed:
                    self.queue.add(key)
                self.postponed.clear()
            await self.more_kinds()

    async def more_kinds(self) -> None:
        """Until a definition of custom resources has changed, or for a while: other kinds come without a word."""
        try:
            async with asyncio.timeout(DISCOVERY):
                await self.defined.wait()
        except TimeoutError:
            pass

    async def patiently(self, informer: Informer) -> None:
        try:
            async with asyncio.timeout(SLOW_KIND):
                await informer.synced()
        except TimeoutError:
            log.warning("%s cannot be listed: no owner is released until it can", informer.gvr.group_resource)

    def forget_kind(self, gvr: GVR) -> None:
        self.ends.pop(gvr)()
        for obj in self.informers.pop(gvr).list():
            self.graph.remove(obj["metadata"]["uid"])

    def changed(self, gvr: GVR, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self.gone(Item(gvr, old["metadata"]))
            return
        item = Item(gvr, new["metadata"])
        self.graph.put(item)
        if item.owners or item.waits_for(FOREGROUND) or item.waits_for(ORPHAN):
            before = old["metadata"] if old is not None else {}
            same = (before.get("ownerReferences"), before.get("deletionTimestamp"), before.get("finalizers")) == (
                item.metadata.get("ownerReferences"),
                item.metadata.get("deletionTimestamp"),
                item.metadata.get("finalizers"),
            )
            if not same and not self.is_settled(item):
                self.queue.add(item.uid)
        if old is not None and item.owners != (old["metadata"].get("ownerReferences") or []):
            self.owners_again(old["metadata"])  # one less to wait for, perhaps

    def is_settled(self, item: Item) -> bool:
        """Whether nothing is to be done as long as its owners are here: their ends will be told."""
        if item.waits_for(FOREGROUND) or item.waits_for(ORPHAN):
            return False
        owners = [self.graph.get(reference["uid"]) for reference in item.owners]
        return all(
            owner is not None and owner.namespace in (None, item.namespace) and not owner.waits_for(FOREGROUND)
            for owner in owners
        )

    def gone(self, item: Item) -> None:
        self.graph.remove(item.uid)
        self.remember_absent(item.namespace, item.uid)
        for dependent in self.graph.dependents(item.uid):
            self.queue.add(dependent.uid)
        self.owners_again(item.metadata)

    def owners_again(self, metadata: Object) -> None:
        for reference in metadata.get("ownerReferences") or ():
            owner = self.graph.get(reference["uid"])
            if owner is not None and owner.deleting:
                self.queue.add(owner.uid)

    def remember_absent(self, namespace: str | None, uid: str) -> None:
        self.absent[namespace, uid] = None
        while len(self.absent) > REMEMBERED:
            self.absent.popitem(last=False)

    async def reconcile(self, key: str) -> None:
        item = self.graph.get(key)
        if item is None:
            return
        if (item.waits_for(ORPHAN) or item.waits_for(FOREGROUND)) and not self.complete.is_set():
            self.postponed.add(key)
            return
        try:
            if item.waits_for(ORPHAN):
                await self.orphan_dependents(item)
            elif item.waits_for(FOREGROUND):
                await self.finish_foreground(item)
            elif item.owners and not item.deleting:
                await self.follow_owners(item)
        except ApiError as error:
            if error.code != 404:
                raise

    async def orphan_dependents(self, owner: Item) -> None:
        """Every dependent forgets the owner, which then may go."""
        for dependent in self.graph.dependents(owner.uid):
            await self.drop_owners(dependent, {owner.uid})
        await self.drop_finalizer(owner, ORPHAN)

    async def finish_foreground(self, owner: Item) -> None:
        """The owner may go once nothing blocks it; until then its dependents are to go."""
        dependents = self.graph.dependents(owner.uid)
        if not any(dependent.blocks(owner.uid) for dependent in dependents):
            await self.drop_finalizer(owner, FOREGROUND)
            return
        for dependent in dependents:
            if not dependent.deleting:
                self.queue.add(dependent.uid)

    async def follow_owners(self, item: Item) -> None:
        """Forget owners that are gone while others are there; go when none is."""
        live = await self.ask(item.gvr, item.name, item.namespace)
        if live is None or live["metadata"]["uid"] != item.uid:
            return
        item = Item(item.gvr, live["metadata"])
        if item.deleting:
            return
        solid, dangling, waiting = await self.classify(item)
        if solid:
            if dangling or waiting:
                await self.drop_owners(item, dangling | waiting)
            return
        if not dangling and not waiting:
            return
        dependents = self.graph.dependents(item.uid)
        if waiting and dependents:
            propagation = "Foreground"  # whoever waits for this one waits for what is beneath it too
        elif ORPHAN in (item.metadata.get("finalizers") or ()):
            propagation = "Orphan"
        elif FOREGROUND in (item.metadata.get("finalizers") or ()):
            propagation = "Foreground"
        else:
            propagation = "Background"
        if waiting and any(each.waits_for(FOREGROUND) for each in dependents):
            await self.unblock(live, item)  # what is beneath waits already: in a circle everyone would for ever
            live = await self.ask(item.gvr, item.name, item.namespace)
            if live is None:
                return
        # by the version that was looked at: it may have been adopted since
        await self.ctx.client.delete(
            item.gvr,
            item.name,
            item.namespace,
            uid=item.uid,
            resource_version=live["metadata"]["resourceVersion"],
            propagation=propagation,
        )
        log.debug("%s %s follows its owners", item.gvr.group_resource, item.name)

    async def classify(self, item: Item) -> tuple[set[str], set[str], set[str]]:
        """The uids of owners that are there, of those that are gone, and of those that wait for their dependents."""
        solid, dangling, waiting = set(), set(), set()
        for reference in item.owners:
            uid = reference["uid"]
            metadata = await self.owner(item, reference)
            if metadata is None:
                dangling.add(uid)
            elif Item(item.gvr, metadata).waits_for(FOREGROUND):
                waiting.add(uid)
            else:
                solid.add(uid)
        return solid, dangling, waiting

    async def owner(self, item: Item, reference: Object) -> Object | None:
        """The metadata of an owner, None when it is gone."""
        uid = reference["uid"]
        known = self.graph.get(uid)
        if known is not None and known.namespace in (None, item.namespace):
            return known.metadata
        if (item.namespace, uid) in self.absent or (None, uid) in self.absent:
            return None
        group, version = split_api_version(reference["apiVersion"])
        gvr = self.kinds.get((group, version, reference["kind"])) or next(
            (found for (g, _, kind), found in self.kinds.items() if (g, kind) == (group, reference["kind"])), None
        )
        if gvr is None:
            # a kind that is not served (yet): nothing can be said of its objects, so nothing may be deleted
            self.of_unknown_kinds.add(item.uid)
            message = f"no resource for owner {reference['apiVersion']} {reference['kind']} of {item.name}"
            raise ApiError(404 if self.kinds else 503, "NotFound", message)
        namespace = item.namespace if gvr.namespaced else None
        if gvr.namespaced and namespace is None:
            return {"uid": uid}  # a cluster-wide object cannot have an owner in a namespace: leave it alone
        live = await self.ask(gvr, reference["name"], namespace)
        if live is None or live["metadata"]["uid"] != uid:
            self.remember_absent(namespace, uid)
            return None
        if known is None and gvr in self.to_follow:
            self.queue.add_after(item.uid, UNSEEN)  # should it go before its copy is seen, nobody would tell
        metadata: Object = live["metadata"]
        return metadata

    async def ask(self, gvr: GVR, name: str, namespace: str | None) -> Object | None:
        try:
            return await self.ctx.client.get(gvr, name, namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def drop_owners(self, item: Item, uids: set[str]) -> None:
        """Take owner references off an object, and nothing else: by the version that was looked at."""
        live = await self.ask(item.gvr, item.name, item.namespace)
        if live is None or live["metadata"]["uid"] != item.uid:
            return
        present = live["metadata"].get("ownerReferences") or []
        kept = [each for each in present if each["uid"] not in uids]
        if kept != present:
            await self.patch(live, item, {"ownerReferences": kept or None})

    async def unblock(self, live: Object, item: Item) -> None:
        """Let the owners go before this object."""
        present = live["metadata"].get("ownerReferences") or []
        if any(each.get("blockOwnerDeletion") for each in present):
            freed = [{**each, "blockOwnerDeletion": False} for each in present]
            await self.patch(live, item, {"ownerReferences": freed})

    async def drop_finalizer(self, item: Item, finalizer: str) -> None:
        live = await self.ask(item.gvr, item.name, item.namespace)
        if live is None or live["metadata"]["uid"] != item.uid:
            return
        present = live["metadata"].get("finalizers") or []
        if finalizer in present:
            await self.patch(live, item, {"finalizers": [each for each in present if each != finalizer] or None})

    async def patch(self, live: Object, item: Item, metadata: Object) -> None:
        version = {"uid": item.uid, "resourceVersion": live["metadata"]["resourceVersion"]}
        await self.ctx.client.patch(item.gvr, item.name, {"metadata": {**version, **metadata}}, item.namespace)
