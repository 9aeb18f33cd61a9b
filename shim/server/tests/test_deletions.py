"""How something is to be deleted: what a body, or a query, may say, and what is refused in which words."""

from __future__ import annotations

import pytest

CONFIGMAPS = "/api/v1/namespaces/{ns}/configmaps"
SCHEME = 'in scheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"'
TYPE_META = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
PARSE = "couldn't get version/kind; json parse error: "
GO = "json: cannot unmarshal"


async def _some(api, *names):
    for name in names:
        await api.post(CONFIGMAPS, {"metadata": {"name": name, "labels": {"is": name}}})


REFUSED = [
    (b"{", 400, f"{PARSE}unexpected end of JSON input"),
    (b"[]", 400, f"{PARSE}json: cannot unmarshal array into Go value of type {TYPE_META}"),
    ({"kind": "Pod", "apiVersion": "v1"}, 400, f'no kind "Pod" is registered for version "v1" {SCHEME}'),
    ({"kind": "Pod"}, 400, f'no kind "Pod" is registered for version "meta.k8s.io/v1" {SCHEME}'),
    ({"kind": "DeleteOptions", "apiVersion": "a/b/c"}, 400, "unexpected GroupVersion string: a/b/c"),
    (
        {"kind": "UpdateOptions", "apiVersion": "apps/v1"},
        400,
        "converting (v1.UpdateOptions) to (v1.DeleteOptions): unknown conversion",
    ),
    (
        {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1beta1"},
        400,
        "converting (v1beta1.PartialObjectMetadataList) to (v1.DeleteOptions): unknown conversion",
    ),
    (
        {"gracePeriodSeconds": "x"},
        400,
        f"{GO} string into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
    ),
    (
        {"gracePeriodSeconds": 1.5},
        400,
        f"{GO} number 1.5 into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
    ),
    (
        {"preconditions": {"uid": 1}},
        400,
        f"{GO} number into Go struct field Preconditions.preconditions.uid of type types.UID",
    ),
    (
        {"propagationPolicy": 1},
        400,
        f"{GO} number into Go struct field DeleteOptions.propagationPolicy of type v1.DeletionPropagation",
    ),
    ({"orphanDependents": 1}, 400, f"{GO} number into Go struct field DeleteOptions.orphanDependents of type bool"),
    ({"dryRun": "All"}, 400, f"{GO} string into Go struct field DeleteOptions.dryRun of type []string"),
    (
        {"dryRun": ["all"]},
        422,
        'DeleteOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["all"]: supported values: "All"',
    ),
    (
        {"propagationPolicy": ""},
        422,
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "": supported values: '
        '"Foreground", "Background", "Orphan", "nil"',
    ),
    (
        {"propagationPolicy": "Orphan", "orphanDependents": True},
        422,
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Invalid value: "Orphan": orphanDependents and '
        "deletionPropagation cannot be both set",
    ),
]


@pytest.mark.parametrize(("body", "code", "message"), REFUSED)
@pytest.mark.parametrize("path", ["/a", "?labelSelector=is=a"])
async def test_options_that_cannot_be_read_are_refused(api, path, body, code, message):
    await _some(api, "a")
    answer = await api.delete(f"{CONFIGMAPS}{path}", body)
    assert (answer.status, answer.message) == (code, message)
    assert (await api.get(f"{CONFIGMAPS}/a")).status == 200


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("gracePeriodSeconds=", 400, 'strconv.ParseInt: parsing "": invalid syntax'),
        ("gracePeriodSeconds=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        (
            "propagationPolicy=",
            422,
            'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "": supported values: '
            '"Foreground", "Background", "Orphan", "nil"',
        ),
    ],
)
async def test_options_in_the_query_that_cannot_be_read_are_refused(api, query, code, message):
    await _some(api, "a")
    answer = await api.delete(f"{CONFIGMAPS}/a?{query}")
    assert (answer.status, answer.message) == (code, message)


async def test_a_uid_in_the_query_is_a_precondition(api):
    await _some(api, "a")
    assert (await api.delete(f"{CONFIGMAPS}/a?uid=another")).status == 409


async def test_a_query_beside_a_body_says_nothing(api):
    await _some(api, "a")
    assert (await api.delete(f"{CONFIGMAPS}/a?dryRun=All", {})).status == 200
    assert (await api.get(f"{CONFIGMAPS}/a")).status == 404


@pytest.mark.parametrize("version", ["v1", "apps/v1", "foo/v1alpha1", "meta.k8s.io/v1"])
async def test_options_of_any_group_will_do(api, version):
    await _some(api, "a")
    body = {"kind": "DeleteOptions", "apiVersion": version, "bogus": 1, "dryRun": ["All"]}
    assert (await api.delete(f"{CONFIGMAPS}/a", body)).status == 200
    assert (await api.get(f"{CONFIGMAPS}/a")).status == 200


async def test_a_collection_is_shown_as_it_was(api):
    await _some(api, "a", "b", "c")
    shown = await api.delete(f"{CONFIGMAPS}?limit=2", {"propagationPolicy": "Foreground"})
    assert [item["metadata"]["name"] for item in shown.json["items"]] == ["a", "b"]
    assert not any("deletionTimestamp" in item["metadata"] for item in shown.json["items"])
    assert shown.json["metadata"]["remainingItemCount"] == 1
    going = [item["metadata"] for item in (await api.get(CONFIGMAPS)).json["items"]]
    assert [metadata.get("finalizers") for metadata in going] == [["foregroundDeletion"], ["foregroundDeletion"], None]
    table = await api.delete(CONFIGMAPS, accept="application/json;as=Table;g=meta.k8s.io;v=v1")
    assert [row["cells"][0] for row in table.json["rows"]] == ["a", "b", "c"]


async def test_a_collection_with_a_version_is_that_of_then(api):
    await _some(api, "a")
    then = (await api.get(CONFIGMAPS)).json["metadata"]["resourceVersion"]
    await _some(api, "b")
    await api.delete(f"{CONFIGMAPS}?resourceVersion={then}")
    assert [item["metadata"]["name"] for item in (await api.get(CONFIGMAPS)).json["items"]] == ["b"]
