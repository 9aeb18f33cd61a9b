"""Definitions without sense, bodies that are wrong, and a store that goes away under a definition."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from shim.server import app, following
from shim.server.tests.conftest import Api, serving
from shim.server.tests.widgets import API_SERVICES, CRDS, Widgets, conditions, eventually
from shim.store.contract import StoreError
from shim.store.sqlite import open_sqlite


async def test_definitions_without_sense_are_refused(api: Api) -> None:
    widgets = Widgets(api)
    base = "spec.validation.openAPIV3Schema.properties[spec]"

    async def refusal(**spec: Any) -> str:
        schema = {"type": "object", "properties": {"spec": {**spec}}}
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        crd = {**widgets.crd, "spec": {**widgets.crd["spec"], "versions": [version]}}
        answer = await api.post(CRDS, crd)
        assert answer.status == 422, answer.data
        return answer.message.partition("is invalid: ")[2]

    assert await refusal() == f"{base}.type: Required value: must not be empty for specified object fields"
    assert await refusal(type="array") == f"{base}.items: Required value: must be specified"
    assert await refusal(type="string", pattern="(") == (
        f'{base}.pattern: Invalid value: "(": must be a valid regular expression, but isn\'t: error parsing regexp: '
        "missing closing ): `(`"
    )
    assert await refusal(type="string", default=1) == (
        f'{base}.default: Invalid value: "integer": {base}.default in body must be of type string: "integer"'
    )
    assert await refusal(type="object", properties={"a": {"type": "string"}}, allOf=[{"type": "object"}]) == (
        f"{base}.allOf[0].type: Forbidden: must be empty to be structural"
    )
    rule = {"rule": "self.b == 1"}
    message = await refusal(type="object", properties={"a": {"type": "string"}}, **{"x-kubernetes-validations": [rule]})
    assert "compilation failed: ERROR: <input>:1:5: undefined field 'b'\n | self.b == 1\n | ....^" in message
    rule = {"rule": "self.all(x, self.all(y, x != y))"}
    message = await refusal(type="array", items={"type": "string"}, **{"x-kubernetes-validations": [rule]})
    assert message.startswith(
        f"[{base}.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more"
    )
    rule = {"rule": "self.a == oldSelf.a"}
    items = {"type": "object", "properties": {"a": {"type": "integer"}}, "x-kubernetes-validations": [rule]}
    message = await refusal(type="array", maxItems=9, items=items)
    assert "oldSelf cannot be used on the uncorrelatable portion of the schema within" in message


async def test_wrong_bodies_never_break_the_server(api: Api) -> None:
    widgets = await Widgets(api).define()
    for body in (
        {"metadata": {"name": 5}},
        {"metadata": "x"},
        {"spec": []},
        {"spec": None},
        {"spec": {"parts": {"a": 1}}},
        {"spec": {"size": 1e99}},
        {"status": []},
        {"metadata": {"labels": {"a": 1}}},
    ):
        refused = await api.post(widgets.path(), {**widgets.widget("bad", size=1), **body})
        assert 400 <= refused.status < 500 or refused.status == 201, (body, refused.data)
    for schema in ([], {"type": 5}, {"type": "object", "properties": []}, {"type": "object", "properties": {"a": 5}}):
        crd = Widgets(api).crd
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema
        assert (await api.post(CRDS, crd)).status in (400, 422), schema
    for items in (5, [], {"type": 5}, {"properties": 5}, {"x-kubernetes-list-map-keys": 5}):
        crd = Widgets(api).crd
        properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        properties["list"] = {"type": "array", "items": items}
        assert (await api.post(CRDS, crd)).status in (400, 422), items


async def test_a_definition_that_names_no_stored_version_does_not_keep_a_server_from_starting(tmp_path):
    crd = Widgets(Api("", None, None, tmp_path)).crd  # type: ignore[arg-type]  # only its text is needed
    del crd["spec"]["versions"][0]["storage"]
    crd["metadata"]["uid"] = "an-old-server-made-it"
    crd["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
    store = open_sqlite(tmp_path / "store.db")
    key = f"/registry/apiextensions.k8s.io/customresourcedefinitions/{crd['metadata']['name']}"
    await store.put(key, orjson.dumps(crd))
    await store.close()
    async with serving(tmp_path) as api:
        name = crd["metadata"]["name"]
        assert (await api.get(f"{CRDS}/{name}")).status == 200
        assert (await api.get(f"/apis/{crd['spec']['group']}/v1/widgets")).status == 404
        await api.delete(f"{CRDS}/{name}")
        while (await api.get(f"{CRDS}/{name}")).status != 404:  # noqa: ASYNC110  # its finalizer is taken off in time
            await asyncio.sleep(0.01)


async def test_a_definition_made_right_before_the_store_goes_away_is_established_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one deleted then is let go of, with its APIService."""
    monkeypatch.setattr(following, "RETRY", 0.02)
    store = _Leaving(open_sqlite(tmp_path / "store.db"))

    async def leaving(settings: Any) -> _Leaving:
        return store

    monkeypatch.setattr(app, "_open_store", leaving)
    async with serving(tmp_path) as api:
        widgets = Widgets(api)
        store.leave_after = widgets.name
        assert (await api.post(CRDS, widgets.crd)).status == 201
        await store.refuses()
        assert not conditions((await api.get(f"{CRDS}/{widgets.name}")).json)
        store.away = False
        await widgets.until(lambda crd: "Established" in conditions(crd))
        await eventually(lambda: api.get(f"{API_SERVICES}/v1.{widgets.group}"), 200)
        assert (await eventually(lambda: widgets.create(size=1), 201)).status == 201
        store.leave_after = widgets.name
        assert (await api.delete(f"{CRDS}/{widgets.name}")).status == 200
        await store.refuses()
        store.away = False
        await eventually(lambda: api.get(f"{CRDS}/{widgets.name}"), 404)
        await eventually(lambda: api.get(f"{API_SERVICES}/v1.{widgets.group}"), 404)


class _Leaving:
    """A store that takes one more write of a name, and then none until it is told to."""

    def __init__(self, store: Any) -> None:
        self._store, self.away, self.leave_after = store, False, ""
        self._refused = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put(self, key: str, value: bytes, **more: Any) -> int:
        if self.away:
            self._refused.set()
            raise StoreError("away")
        if self.leave_after and key.endswith(self.leave_after):
            self.leave_after, self.away = "", True
        return int(await self._store.put(key, value, **more))

    async def refuses(self) -> None:
        """Until it has refused something."""
        async with asyncio.timeout(30):
            await self._refused.wait()
        self._refused.clear()
