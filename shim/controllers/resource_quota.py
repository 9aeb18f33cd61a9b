"""How much of each quota is used? Counts what a namespace holds, whenever something may have been given back.

The API server charges a quota in the transaction that stores an object, so that only deletions and ends need this
controller. It never reads its own copies for counting: the quota is read first, then what it limits, both from the
server, and the result is written over the revision that was read. Whatever was charged by then is in the lists;
whoever charges later makes the write fail, and it is counted again. So it is where there seems to be nothing to write:
what was charged meanwhile may hide what was given back.
"""

from __future__ import annotations

import asyncio
from functools import partial

from shim.api import quota as rules
from shim.api.meta import GVR, Object, key_of
from shim.api.pod_amounts import Amounts, parsed
from shim.api.quantity import ZERO
from shim.api.status import ApiError
from shim.client import resource as r
from shim.client.discovery import discover
from shim.controllers.children import NAMESPACE, by_namespace
from shim.controllers.loop import Context, Controller

RESYNC = 300.0  # seconds, upstream's --resource-quota-sync-period: finds pods that outlived their grace period
DISCOVERY = 30.0  # seconds until a kind that the server does not serve is looked for again, as upstream
WELL_KNOWN = {
    rules.qualified(gvr.group, gvr.resource): gvr
    for gvr in (
        r.PODS,
        r.SERVICES,
        r.PERSISTENTVOLUMECLAIMS,
        r.CONFIGMAPS,
        r.SECRETS,
        r.REPLICATIONCONTROLLERS,
        r.RESOURCEQUOTAS,
    )
}


def kinds_of(quota: Object) -> set[str]:
    """The kinds that a quota limits, as ``resource.group``."""
    names = (quota.get("spec") or {}).get("hard") or {}
    counted = {name.removeprefix("count/") for name in names if name.startswith("count/")}
    counted |= {kind for kind in rules.MEASURED if any(map(rules.measure_of(kind).named, names))}
    return counted - rules.UNCOUNTED


def gave_back(kind: str, old: Object, new: Object | None) -> bool:
    """Whether this change may have made a quota's usage smaller, or moved it to another scope."""
    if new is None:
        return True
    if kind in ("pods", "services"):
        usage = rules.measure_of(kind).usage
        moved = kind == "pods" and rules.is_terminating(new) != rules.is_terminating(old)
        return moved or usage(new) != usage(old)
    if kind == "persistentvolumeclaims":
        classes = [rules.attributes_classes(each) for each in (old, new)]
        return classes[0] != classes[1] or rules.storage_of(old) != rules.storage_of(new)
    return False


def total(quota: Object, kind: str, objects: list[Object]) -> Amounts:
    """What objects of one kind take of the quota; zero is said of each name that speaks of the kind."""
    measure = rules.measure_of(kind)
    names = [name for name in (quota["spec"].get("hard") or {}) if measure.named(name)]
    used: Amounts = dict.fromkeys(names, ZERO)
    for obj in objects:
        if rules.covers(quota, measure, obj):
            usage = measure.usage(obj)
            used = {name: value + usage.get(name, ZERO) for name, value in used.items()}
    return used


class ResourceQuotaController(Controller):
    """Follows quotas, and every kind that one of them limits."""

    name = "resourcequota"

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.quotas = ctx.informer(r.RESOURCEQUOTAS)
        by_namespace(self.quotas)
        self.quotas.on_change(self.quota_changed)
        ctx.informer(r.CUSTOMRESOURCEDEFINITIONS).on_change(self.definition_changed)
        self.followed: dict[str, GVR] = {}
        self._following = asyncio.Lock()

    def quota_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        hard, status = (new.get("spec") or {}).get("hard") or {}, new.get("status") or {}
        if old is None or hard != (status.get("hard") or {}) or hard.keys() - (status.get("used") or {}).keys():
            self.queue.add(key_of(new))

    def definition_changed(self, old: Object | None, new: Object | None) -> None:
        """A kind that was missing may be served now."""
        if new is not None:
            for quota in self.quotas.list():
                if kinds_of(quota) - self.followed.keys():
                    self.queue.add(key_of(quota))

    def changed(self, kind: str, old: Object | None, new: Object | None) -> None:
        if old is not None and gave_back(kind, old, new):
            namespace = old["metadata"]["namespace"]
            for quota in self.quotas.by(NAMESPACE, namespace):
                if kind in kinds_of(quota):
                    self.queue.add(key_of(quota))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(super().run())
            tasks.create_task(self._resync())

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(RESYNC)
            for quota in self.quotas.list():
                self.queue.add(key_of(quota))

    async def reconcile(self, key: str) -> None:
        namespace, name = key.split("/")
        client = self.ctx.client
        quota = await self._read(namespace, name)
        if quota is None:
            return
        kinds = kinds_of(quota)
        async with self._following:
            await self._follow(kinds)
        if kinds - self.followed.keys():
            self.queue.add_after(key, DISCOVERY)
        hard, status = parsed(quota["spec"].get("hard")), quota.get("status") or {}
        used = parsed(status.get("used"))
        for kind in sorted(kinds & self.followed.keys()):
            found = await client.list(self.followed[kind], namespace)
            used |= total(quota, kind, found["items"])
        used = {name: used[name] for name in hard if name in used}
        if parsed(status.get("hard")) == hard and parsed(status.get("used")) == used and status.get("hard") is not None:
            now = await self._read(namespace, name)
            if now is not None and now["metadata"]["resourceVersion"] != quota["metadata"]["resourceVersion"]:
                self.queue.add(key)
            return
        counted = {
            field: {name: str(value) for name, value in sorted(amounts.items())}
            for field, amounts in (("hard", hard), ("used", used))
        }
        try:
            await client.update(r.RESOURCEQUOTAS, {**quota, "status": counted}, subresource="status")
        except ApiError as error:
            if error.code != 404:
                raise

    async def _read(self, namespace: str, name: str) -> Object | None:
        try:
            return await self.ctx.client.get(r.RESOURCEQUOTAS, name, namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def _follow(self, kinds: set[str]) -> None:
        """Be told of changes of these kinds. What the server does not serve is not counted."""
        missing = kinds - self.followed.keys()
        if not missing:
            return
        known = dict(WELL_KNOWN)
        if missing - known.keys():
            known |= {
                rules.qualified(each.gvr.group, each.gvr.resource): each.gvr
                for each in (await discover(self.ctx.client)).served
                if each.gvr.namespaced and {"list", "watch"} <= each.verbs
            }
        for kind in missing & known.keys():
            informer = self.ctx.informer(known[kind])
            informer.on_change(partial(self.changed, kind))
            await informer.synced()
            self.followed[kind] = known[kind]
