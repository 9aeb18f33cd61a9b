"""Server-side apply, and the record of who set what."""

from __future__ import annotations

import orjson

CONFIGMAPS = "/api/v1/namespaces/{ns}/configmaps"


async def _apply(api, manager, data, *, force=False, name="a"):
    query = f"fieldManager={manager}{'&force=true' if force else ''}"
    body = api.configmap(name, data=data)
    return await api.patch(f"{CONFIGMAPS}/{name}?{query}", orjson.dumps(body), "apply-patch+yaml")


def _managers(answer):
    return [(entry["manager"], entry["operation"]) for entry in answer.json["metadata"]["managedFields"]]


async def test_applying_creates_and_then_merges(api):
    made = await _apply(api, "one", {"a": "1", "b": "1"})
    assert made.status == 201
    merged = await _apply(api, "two", {"c": "2"})
    assert merged.status == 200
    assert merged.json["data"] == {"a": "1", "b": "1", "c": "2"}
    less = await _apply(api, "one", {"a": "1"})
    assert less.json["data"] == {"a": "1", "c": "2"}
    assert _managers(less) == [("one", "Apply"), ("two", "Apply")]


async def test_what_others_own_is_taken_by_force_alone(api):
    await _apply(api, "one", {"a": "1"})
    refused = await _apply(api, "two", {"a": "2"})
    assert refused.status == 409
    assert refused.message == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    taken = await _apply(api, "two", {"a": "2"}, force=True)
    assert taken.json["data"] == {"a": "2"}


async def test_applying_the_same_again_writes_nothing(api):
    first = (await _apply(api, "one", {"a": "1"})).json
    again = (await _apply(api, "one", {"a": "1"})).json
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_other_writes_are_recorded_under_the_programs_name(api):
    made = await api.post(CONFIGMAPS, api.configmap("a", data={"k": "v"}), headers={"User-Agent": "kubectl/v1.36"})
    assert _managers(made) == [("kubectl", "Update")]
    patched = await api.patch(f"{CONFIGMAPS}/a?fieldManager=editor", {"data": {"n": "2"}})
    assert sorted(_managers(patched)) == [("editor", "Update"), ("kubectl", "Update")]


async def test_an_applier_must_name_itself(api):
    refused = await api.patch(f"{CONFIGMAPS}/a", orjson.dumps(api.configmap("a")), "apply-patch+yaml")
    assert refused.status == 422
    assert "fieldManager: Required value: is required for apply patch" in refused.message
