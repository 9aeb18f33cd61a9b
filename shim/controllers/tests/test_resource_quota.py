"""Quotas on a real API server, counted and charged."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from shim.api.meta import Object
from shim.api.status import ApiError
from shim.client import resource as r
from shim.controllers.loop import Context
from shim.controllers.resource_quota import ResourceQuotaController, gave_back, kinds_of, total
from shim.controllers.tests.live import World, served, world
from shim.settings import ControllerSettings


def quota(**hard: str) -> Object:
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}}


def test_a_quota_names_kinds() -> None:
    hard = {"count/deployments.apps": "1", "count/events": "1", "requests.storage": "1"}
    assert kinds_of(quota(pods="1", **hard)) == {"pods", "deployments.apps", "persistentvolumeclaims"}


def test_only_some_changes_give_something_back() -> None:
    running: Object = {"metadata": {}, "spec": {}, "status": {"phase": "Running"}}
    ended = {**running, "status": {"phase": "Succeeded"}}
    assert gave_back("pods", running, ended)
    resized = {"metadata": {}, "spec": {"containers": [{"name": "c"}]}}
    large, small = (
        {**resized, "status": {"containerStatuses": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}
        for cpu in ("2", "1")
    )
    assert gave_back("pods", large, small)
    assert gave_back("configmaps", {}, None)
    assert not gave_back("pods", running, running)
    assert not gave_back("configmaps", {}, {})


def test_what_is_not_there_counts_as_zero() -> None:
    counted = total(quota(pods="1", secrets="1"), "pods", [])
    assert {name: str(value) for name, value in counted.items()} == {"pods": "0"}


def used(obj: Object) -> Object:
    found: Object = (obj.get("status") or {}).get("used") or {}
    return found


def config_map(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


async def made(here: World, name: str) -> bool:
    """Whether the quota let this ConfigMap be made."""
    try:
        await here.client.create(r.CONFIGMAPS, config_map(name), "default")
    except ApiError as error:
        if "exceeded quota: q" not in error.message:
            raise
        return False
    return True


async def test_as_many_are_made_as_the_quota_allows(tmp_path: Path) -> None:
    """Writers race, objects come and go, and there is never one too many."""
    async with world(tmp_path, [ResourceQuotaController]) as here:
        await here.client.create(r.RESOURCEQUOTAS, quota(configmaps="5", **{"count/configmaps": "5"}), "default")
        await here.until(r.RESOURCEQUOTAS, "q", lambda obj: used(obj) == {"configmaps": "0", "count/configmaps": "0"})
        won = await asyncio.gather(*(made(here, f"c{number}") for number in range(25)))
        assert sum(won) == 5
        names = [f"c{number}" for number, one in enumerate(won) if one]
        full = await here.client.get(r.RESOURCEQUOTAS, "q", "default")
        assert used(full) == {"configmaps": "5", "count/configmaps": "5"}, "charged with the object, not later"
        for turn in range(3):  # a deletion makes the controller count while others write
            await here.client.delete(r.CONFIGMAPS, names.pop(), "default")
            await here.until(r.RESOURCEQUOTAS, "q", lambda obj: used(obj)["configmaps"] == "4")
            assert sum(await asyncio.gather(*(made(here, f"r{turn}-{number}") for number in range(5)))) == 1
        assert len((await here.client.list(r.CONFIGMAPS, "default"))["items"]) == 5


async def test_a_refused_write_costs_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, [ResourceQuotaController]) as here:
        await here.client.create(r.RESOURCEQUOTAS, quota(configmaps="5"), "default")
        await here.until(r.RESOURCEQUOTAS, "q", lambda obj: used(obj) == {"configmaps": "0"})
        assert await made(here, "a")
        with pytest.raises(ApiError, match="already exists"):
            await here.client.create(r.CONFIGMAPS, config_map("a"), "default")
        path = "/api/v1/namespaces/default/configmaps?dryRun=All"
        headers = {"Content-Type": "application/json"}
        status, _ = await here.client.raw("POST", path, orjson.dumps(config_map("b")), headers)
        assert status == 201
        assert used(await here.client.get(r.RESOURCEQUOTAS, "q", "default")) == {"configmaps": "1"}


async def test_a_changed_quota_is_counted_again(tmp_path: Path) -> None:
    async with world(tmp_path, [ResourceQuotaController]) as here:
        await here.client.create(r.RESOURCEQUOTAS, quota(configmaps="5"), "default")
        hard = {"configmaps": None, "services": "2", "count/deployments.apps": "3"}
        await here.client.patch(r.RESOURCEQUOTAS, "q", {"spec": {"hard": hard}}, "default")
        counted = await here.until(r.RESOURCEQUOTAS, "q", lambda obj: "services" in used(obj))
        assert counted["status"] == {
            "hard": {"services": "2", "count/deployments.apps": "3"},
            "used": {"services": "1", "count/deployments.apps": "0"},
        }, "the kubernetes Service is there"


async def test_what_is_charged_while_it_counts_does_not_hide_what_was_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path) as client:
        flags = ControllerSettings(kubeconfig=tmp_path / "admin.kubeconfig")
        controller = ResourceQuotaController(Context(client, flags))
        controller.followed = {"configmaps": r.CONFIGMAPS}  # no informers: it counts when it is told to

        async def charged() -> Object:
            return used(await client.get(r.RESOURCEQUOTAS, "q", "default"))

        await client.create(r.RESOURCEQUOTAS, quota(**{"count/configmaps": "5"}), "default")
        await controller.reconcile("default/q")
        await client.create(r.CONFIGMAPS, config_map("a"), "default")
        await client.delete(r.CONFIGMAPS, "a", "default")
        assert await charged() == {"count/configmaps": "1"}
        listed = client.list

        async def list_late(*args: Any) -> Object:
            monkeypatch.undo()
            await client.create(r.CONFIGMAPS, config_map("b"), "default")
            return await listed(*args)

        monkeypatch.setattr(client, "list", list_late)
        await controller.reconcile("default/q")  # counts 1, and 1 was charged before that one
        assert await charged() == {"count/configmaps": "2"}
        async with asyncio.timeout(30):
            await controller.reconcile(await controller.queue.get())
        assert await charged() == {"count/configmaps": "1"}
