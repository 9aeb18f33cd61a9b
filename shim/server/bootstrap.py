"""What a server writes before it serves: the objects every cluster has.

Only what is missing is written: whoever changed a bootstrap role keeps the change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from shim.api.apply import update_managed_fields
from shim.api.meta import Object, new_uid, now, split_api_version
from shim.codec.definitions import load_schema
from shim.resources.bootstrap import objects
from shim.server.routes import Routes
from shim.store.cache import Also, Cache
from shim.store.contract import Conflict

log = logging.getLogger(__name__)

OURSELVES = "kube-apiserver"  # who has written what a server writes by itself, in managedFields
_PREPARED = ("status", "spec.finalizers")  # what nobody owns who creates an object: it is set in passing
FAIRNESS = "api-priority-and-fairness-config-producer-v1"  # the same of priority levels and FlowSchemas


async def bootstrap(cache: Cache, routes: Routes) -> None:
    """Create what is missing of ``shim.resources.bootstrap``. One commit of the store for all of it."""
    missing = []
    for gvr, namespace, obj in objects():
        row = routes.get(gvr.group, gvr.version, gvr.resource)
        if row is None:
            log.warning("%s is not served: its bootstrap objects are left out", gvr.group_resource)
            continue
        key = row.key(namespace, obj["metadata"]["name"])
        if cache.get(key) is None:
            if row.strategy.counts_generation:
                obj = {**obj, "metadata": {**obj["metadata"], "generation": row.strategy.first_generation}}
            missing.append(create(cache, key, born(obj, namespace)))
    await asyncio.gather(*missing)


async def create(cache: Cache, key: str, obj: Object, also: Sequence[Also] = ()) -> None:
    """Store an object, unless it is there."""
    try:
        await cache.create(key, obj, also)
    except Conflict:
        pass  # another server was quicker


def born(obj: Object, namespace: str | None) -> Object:
    """With what every stored object has, which includes who has written it."""
    metadata = {**obj["metadata"], "uid": new_uid(), "creationTimestamp": now()}
    if namespace:
        metadata["namespace"] = namespace
    group, version = split_api_version(obj["apiVersion"])
    definition = load_schema().for_kind(group, version, obj["kind"])
    manager = FAIRNESS if group == "flowcontrol.apiserver.k8s.io" else OURSELVES
    if owners := update_managed_fields(None, obj, definition=definition, manager=manager, ignored=_PREPARED):
        metadata["managedFields"] = owners
    return {**obj, "metadata": metadata}
