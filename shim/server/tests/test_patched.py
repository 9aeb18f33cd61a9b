"""What a patch leaves is an object of its kind, or is refused in the words of the way it was patched."""

from __future__ import annotations

import json

import pytest

CONFIGMAPS = "/api/v1/namespaces/{ns}/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{ns}/deployments"
STRATEGIC, MERGE, JSON_PATCH = "strategic-merge-patch+json", "merge-patch+json", "json-patch+json"
DEPLOYMENT = {
    "metadata": {"name": "d"},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    },
}


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ({"spec": {"replicas": "x"}}, 'map[spec:map[replicas:x]]": unrecognized type: int32'),
        ({"spec": {"replicas": 1.5}}, 'map[spec:map[replicas:1.5]]": cannot convert float64 to int32'),
        ({"metadata": {"labels": {"a": 1}}}, 'map[metadata:map[labels:map[a:1]]]": cannot convert int64 to string'),
        ({"metadata": 5}, 'map[metadata:5]": cannot restore struct from: int64'),
    ],
)
async def test_a_strategic_merge_is_quoted_itself(api, patch, why):
    await api.post(DEPLOYMENTS, DEPLOYMENT)
    refused = await api.patch(f"{DEPLOYMENTS}/d", patch, STRATEGIC)
    assert (refused.status, refused.message) == (422, f' "" is invalid: patch: Invalid value: "{why}')


async def test_a_merge_patch_is_told_by_what_it_left(api):
    await api.post(CONFIGMAPS, api.configmap("a"))
    for patch in ({"metadata": 5}, {"metadata": {"labels": {"z": 1}}}):
        refused = await api.patch(f"{CONFIGMAPS}/a", patch, MERGE)
        assert refused.status == 422
        assert refused.message.startswith(' "" is invalid: patch: Invalid value: "{\\"apiVersion\\":\\"v1\\",')


async def test_a_whole_number_may_be_written_as_a_fraction(api):
    await api.post(DEPLOYMENTS, DEPLOYMENT)
    assert (await api.patch(f"{DEPLOYMENTS}/d", b'{"spec":{"replicas":3.0}}', STRATEGIC)).json["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("way", "patch", "warning"),
    [
        (STRATEGIC, b'{"data":{"a":"1","a":"2"}}', 'duplicate field "data.a"'),
        (MERGE, b'{"data":{"a":"1","a":"2"}}', 'duplicate field "data.a"'),
        (JSON_PATCH, b'[{"op":"add","op":"add","path":"/data","value":{}}]', 'json patch duplicate field "[0].op"'),
    ],
)
async def test_keys_that_stand_twice_in_a_patch_are_told(api, way, patch, warning):
    await api.post(CONFIGMAPS, api.configmap("a"))
    warned = await api.patch(f"{CONFIGMAPS}/a", patch, way)
    assert warned.status == 200
    assert json.dumps(warning)[1:-1] in warned.headers["Warning"]
    strict = await api.patch(f"{CONFIGMAPS}/a?fieldValidation=Strict", patch, way)
    assert strict.status == 422
    assert strict.message.endswith(f"strict decoding error: {warning}")


async def test_a_written_object_has_the_name_of_its_url(api):
    await api.post(CONFIGMAPS, api.configmap("a"))
    missing = "the name of the object (a based on URL) was undeterminable: name must be provided"
    for patch in ({"metadata": None}, {"metadata": {"name": None}}):
        refused = await api.patch(f"{CONFIGMAPS}/a", patch, MERGE)
        assert (refused.status, refused.message) == (400, missing)
    other = await api.put(f"{CONFIGMAPS}/none", api.configmap("other"))
    assert (other.status, other.message) == (
        400,
        "the name of the object (other) does not match the name on the URL (none)",
    )
