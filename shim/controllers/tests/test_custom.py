"""Custom resources in the hands of controllers that knew nothing of them: garbage, namespaces, quotas."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shim.api.meta import GVR, Object
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.garbage_collector import GarbageCollector
from shim.controllers.namespace import NamespaceController
from shim.controllers.resource_quota import ResourceQuotaController
from shim.controllers.service_accounts import ServiceAccountController
from shim.controllers.tests.live import PATIENCE, World, world

WIDGETS = GVR("example.com", "v1", "widgets")
CONTROLLERS = [GarbageCollector, NamespaceController, ResourceQuotaController, ServiceAccountController]


async def define(world: World, subresources: Object | None = None) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    if subresources:
        version["subresources"] = subresources
    names = {"plural": "widgets", "kind": "Widget"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    crd: Object = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": spec,
    }
    await world.client.create(r.CUSTOMRESOURCEDEFINITIONS, crd)
    await world.until(
        r.CUSTOMRESOURCEDEFINITIONS,
        "widgets.example.com",
        lambda crd: any(
            each["type"] == "Established" and each["status"] == "True"
            for each in (crd.get("status") or {}).get("conditions") or ()
        ),
    )


def widget(name: str, **metadata: object) -> Object:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name, **metadata}}


async def gone(world: World, resource: GVR, name: str, namespace: str | None) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await world.client.get(resource, name, namespace)
            except ApiError as error:
                if error.code == 404:
                    return
                raise
            await asyncio.sleep(0.02)


async def test_custom_resources_are_collected_counted_and_go_with_their_namespace(tmp_path: Path) -> None:
    async with world(tmp_path, CONTROLLERS) as here:
        client = here.client
        quota: Object = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "few"},
            "spec": {"hard": {"count/widgets.example.com": "2"}},
        }
        await client.create(r.RESOURCEQUOTAS, quota, "default")
        await define(here)
        await here.until(r.RESOURCEQUOTAS, "few", lambda quota: bool((quota.get("status") or {}).get("used")))
        owner = await client.create(WIDGETS, widget("owner"), "default")
        reference = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "owner", "uid": owner["metadata"]["uid"]}
        await client.create(WIDGETS, widget("owned", ownerReferences=[reference]), "default")
        config: Object = {"metadata": {"name": "owned", "ownerReferences": [reference]}}
        await client.create(r.CONFIGMAPS, config, "default")
        with pytest.raises(ApiError, match=r"exceeded quota: few, requested: count/widgets.example.com=1"):
            await client.create(WIDGETS, widget("third"), "default")
        await client.delete(WIDGETS, "owner", "default")
        await gone(here, WIDGETS, "owned", "default")
        await gone(here, r.CONFIGMAPS, "owned", "default")
        await client.create(r.NAMESPACES, {"metadata": {"name": "other"}})
        await client.create(WIDGETS, widget("inside"), "other")
        await client.delete(r.NAMESPACES, "other")
        await gone(here, r.NAMESPACES, "other", None)
