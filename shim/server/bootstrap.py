"""What a server writes before it serves: the objects every cluster has, and its own Service.

Only what is missing is written: whoever changed a bootstrap role keeps the change.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging

from shim.api.meta import Object, new_uid, now
from shim.resources.bootstrap import objects
from shim.server.routes import Routes
from shim.settings import ApiServerSettings
from shim.store.cache import Cache
from shim.store.contract import Conflict, StoreError

log = logging.getLogger(__name__)

NAME, NAMESPACE = "kubernetes", "default"
REPUBLISH = 10.0  # upstream's interval
_SKIP_MIRROR = {"endpointslice.kubernetes.io/skip-mirror": "true"}
_OF_SERVICE = {"kubernetes.io/service-name": NAME}


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
            missing.append(_create(cache, key, _born(obj, namespace)))
    await asyncio.gather(*missing)


async def keep_published(cache: Cache, settings: ApiServerSettings, address: str, port: int) -> None:
    """Whoever deletes the Service ``kubernetes`` gets it back; runs until cancelled."""
    while True:
        await asyncio.sleep(REPUBLISH)
        try:
            await publish(cache, settings, address, port)
        except StoreError as error:
            log.warning("publishing the kubernetes Service: %s", error)


async def publish(cache: Cache, settings: ApiServerSettings, address: str, port: int) -> None:
    """The Service ``kubernetes``, by which pods reach this server, with this server as its one endpoint."""
    meta: Object = {"name": NAME, "namespace": NAMESPACE}
    labels = {"component": "apiserver", "provider": "kubernetes"}
    service: Object = {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": meta | {"labels": labels},
        "spec": {
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
            "clusterIP": address,
            "clusterIPs": [address],
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    }
    await _ensure(cache, f"/registry/services/{NAMESPACE}/{NAME}", service, ("spec", "ports"))
    own = settings.advertise_address or settings.bind[0]
    family = f"IPv{ipaddress.ip_address(own).version}"
    endpoints: Object = {
        "kind": "Endpoints",
        "apiVersion": "v1",
        "metadata": meta | {"labels": _SKIP_MIRROR},
        "subsets": [
            {"addresses": [{"ip": own}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]},
        ],
    }
    slice_: Object = {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": meta | {"labels": _OF_SERVICE, "generation": 1},
        "addressType": family,
        "endpoints": [{"addresses": [own], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "protocol": "TCP", "port": port}],
    }
    await _ensure(cache, f"/registry/endpoints/{NAMESPACE}/{NAME}", endpoints, ("subsets",))
    await _ensure(cache, f"/registry/endpointslices/{NAMESPACE}/{NAME}", slice_, ("endpoints",), ("ports",))


async def _ensure(cache: Cache, key: str, obj: Object, *paths: tuple[str, ...]) -> None:
    """Create an object, or bring the fields at these paths up to date."""
    entry = cache.get(key)
    if entry is None:
        await _create(cache, key, _born(obj, NAMESPACE))
        return
    present = entry.decode()
    changed = False
    for path in paths:
        have, want = present, obj
        for name in path[:-1]:
            have, want = have[name], want[name]
        if have.get(path[-1]) != want[path[-1]]:
            have[path[-1]] = want[path[-1]]
            changed = True
    if changed:
        await cache.update(key, present, expected=entry.revision)


async def _create(cache: Cache, key: str, obj: Object) -> None:
    try:
        await cache.create(key, obj)
    except Conflict:
        pass  # another server was quicker


def _born(obj: Object, namespace: str | None) -> Object:
    metadata = {**obj["metadata"], "uid": new_uid(), "creationTimestamp": now()}
    if namespace:
        metadata["namespace"] = namespace
    return {**obj, "metadata": metadata}
