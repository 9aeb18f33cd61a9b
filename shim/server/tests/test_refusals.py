"""What is refused at the door, in upstream's order and words: options, bodies, kinds, versions and names."""

from __future__ import annotations

import base64

import orjson
import pytest
from yarl import URL

from shim.server import bodies

JSON, MERGE, APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
CONFIGMAPS = "/api/v1/namespaces/{ns}/configmaps"
KEPT = f"{CONFIGMAPS}/kept"
POD = "/api/v1/namespaces/{ns}/pods/x"
TYPES = "accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"
NO_TYPE = f"the body of the request was in an unknown format - {TYPES}"
NO_NAME = "the name of the object (kept based on URL) was undeterminable: name must be provided"
OTHER_NAMESPACE = "the namespace of the provided object does not match the namespace sent on the request"


def named(**metadata: str) -> bytes:
    return orjson.dumps({"metadata": metadata})


def unrecognized(kind: str, why: str, quoted: str) -> str:
    return f"the object provided is unrecognized (must be of type {kind}): {why} ({quoted})"


NAMELESS = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":""}}'
STRANGE = b'{"apiVersion":"a/b/c"}'
BODIES = [
    ("POST", CONFIGMAPS, b"{}", ";", 415, NO_TYPE),
    ("PUT", KEPT, b"{}", ";", 415, NO_TYPE),
    ("DELETE", KEPT, b"{}", ";", 415, NO_TYPE),
    ("POST", CONFIGMAPS, b"k8s\0", PROTOBUF, 400, unrecognized("ConfigMap", "empty body", "6b387300")),
    ("DELETE", KEPT, b"k8s\0", PROTOBUF, 400, "empty body"),
    (
        "POST",
        CONFIGMAPS,
        STRANGE,
        JSON,
        400,
        unrecognized("ConfigMap", "unexpected GroupVersion string: a/b/c", STRANGE.decode()),
    ),
    ("PUT", KEPT, b'{"apiVersion":"/v1"}', JSON, 400, NO_NAME),
    ("PUT", KEPT, named(name="other", namespace="elsewhere"), JSON, 400, OTHER_NAMESPACE),
    ("POST", f"{POD}/eviction", named(name="y", namespace="elsewhere"), JSON, 400, OTHER_NAMESPACE),
    ("POST", f"{POD}/binding", named(name="y", namespace="elsewhere"), JSON, 400, OTHER_NAMESPACE),
    ("POST", f"{POD}/binding", b"{}", JSON, 400, "name in URL does not match name in Binding object"),
    ("PATCH", f"{CONFIGMAPS}/none", b"[]", MERGE, 404, 'configmaps "none" not found'),
    ("PATCH", f"{KEPT}?fieldManager=m", b'{"kind":"ConfigMap"}', APPLY, 400, "invalid object type: /, Kind=ConfigMap"),
    (
        "PATCH",
        f"{KEPT}?fieldManager=m",
        b'{"kind":"ConfigMap","apiVersion":5}',
        APPLY,
        400,
        "invalid object type: /, Kind=ConfigMap",
    ),
    ("PATCH", f"{KEPT}?fieldManager=m", STRANGE, APPLY, 400, "invalid object type: /, Kind="),
    ("PATCH", f"{KEPT}?fieldManager=m", NAMELESS, APPLY, 400, NO_NAME),
    (
        "PATCH",
        f"{KEPT}?fieldManager=m",
        b'{"kind":"Secret","metadata":{"managedFields":[]}}',
        APPLY,
        400,
        "invalid object type: /, Kind=Secret",
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "type", "code", "message"), BODIES)
async def test_a_body(api, method, path, body, type, code, message):
    await api.post(CONFIGMAPS, api.configmap("kept"))
    answer = await api.ask(method, path, body, content=type)
    assert (answer.status, answer.message) == (code, message)
    assert (await api.get(KEPT)).status == 200


@pytest.mark.parametrize(
    ("manager", "why"),
    [
        ("a%00b", r'Invalid value: "a\x00b": invalid character U+0000 (at position 1)'),
        ("%C3%A9%0Ab", r'Invalid value: "é\nb": invalid character U+000A (at position 2)'),
        ("%C3%A9" * 65, "Too long: may not be more than 128 bytes"),
    ],
)
async def test_a_name_for_a_manager(api, manager, why):
    answer = await api.post(f"{CONFIGMAPS}?fieldManager={manager}", api.configmap("a"))
    assert answer.status == 422
    assert answer.json["details"]["causes"][0]["message"] == why


async def test_a_version_in_the_query_of_a_delete_is_a_precondition(api):
    await api.post(CONFIGMAPS, api.configmap("a"))
    assert (await api.delete(f"{CONFIGMAPS}/a?resourceVersion=1")).status == 409
    found = (await api.get(f"{CONFIGMAPS}/a")).json["metadata"]["resourceVersion"]
    assert (await api.delete(f"{CONFIGMAPS}/a?resourceVersion={found}")).status == 200


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (None, "server does not recognize this encoded version "),
        ({"v": 5}, "json: cannot unmarshal number into Go struct field continueToken.v of type string"),
        ({"rv": 1.5}, "json: cannot unmarshal number 1.5 into Go struct field continueToken.rv of type int64"),
    ],
)
async def test_a_token(api, token, why):
    text = base64.urlsafe_b64encode(orjson.dumps(token)).decode().rstrip("=")
    answer = await api.get(f"{CONFIGMAPS}?continue={text}")
    assert (answer.status, answer.message) == (400, f"invalid continue token: continue key is not valid: {why}")


async def test_a_version_beside_a_token_is_not_even_read(api):
    token = base64.urlsafe_b64encode(b'{"v":"meta.k8s.io/v1","rv":-1,"start":"a"}').decode().rstrip("=")
    answer = await api.get(f"{CONFIGMAPS}?continue={token}&resourceVersion=x")
    assert answer.message == "specifying resource version is not allowed when using continue"


async def test_a_generated_name_is_named_by_what_refuses_it(api):
    answer = await api.post(CONFIGMAPS, {"metadata": {"generateName": "No-"}})
    assert answer.status == 422
    assert answer.json["details"]["name"].startswith("No-")
    assert f'"{answer.json["details"]["name"]}" is invalid' in answer.message


async def test_a_field_that_is_not_known_is_told_of_once(api):
    body = b'{"x":1,"x":2,"metadata":{"name":"a"}}'
    answer = await api.ask("POST", CONFIGMAPS, body)
    assert answer.headers.getall("Warning") == ['299 - "unknown field \\"x\\""']


NOTHING = "the server could not find the requested resource"
METHOD = "the server does not allow this method on the requested resource"
PATHS = [
    ("GET", "/apis/apps/v2", 404, NOTHING),
    ("GET", "/apis/apps/v2/deployments", 404, NOTHING),
    ("GET", "/api/v1/pods/x", 404, NOTHING),
    ("DELETE", "/api/v1/pods/x/status", 404, NOTHING),
    ("GET", "/api/v1/namespaces/default//pods", 404, NOTHING),
    ("GET", "/api/v1/proxy/nodes/x", 404, NOTHING),
    ("POST", "/api/v1/watch/pods/", 405, METHOD),
    ("GET", "/api/v1/namespaces/default/pods/..", 400, "Name parameter invalid: \"..\": may not be '..'"),
]


@pytest.mark.parametrize(("method", "path", "code", "message"), PATHS)
async def test_a_path(api, method, path, code, message):
    url = URL(api.url + path, encoded=True)
    async with api.session.request(method, url) as response:
        assert (response.status, (await response.json())["message"]) == (code, message)


async def test_a_path_with_a_broken_escape(api):
    async with api.session.get(URL(f"{api.url}/api/v1/namespaces/%zz", encoded=True)) as response:
        assert (response.status, await response.text()) == (400, "400 Bad Request")


GENERAL = '"{}" is not a known field selector: only "metadata.name", "metadata.namespace"'
FIELDS = [
    ("/api/v1/configmaps", "type", GENERAL),
    ("/api/v1/persistentvolumeclaims", "name", GENERAL),
    ("/api/v1/persistentvolumes", "name", GENERAL),
    ("/apis/apps/v1/replicasets", "status.replicas", GENERAL),
    ("/api/v1/pods", "type", "field label not supported: {}"),
    ("/api/v1/nodes", "metadata.namespace", "field label not supported: {}"),
    ("/apis/batch/v1/jobs", "type", 'field label "{}" not supported for Job'),
    (
        "/apis/resource.k8s.io/v1/resourceslices",
        "type",
        "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {}",
    ),
]


@pytest.mark.parametrize(("path", "field", "message"), FIELDS)
async def test_a_field_that_selects_nothing(api, path, field, message):
    answer = await api.get(f"{path}?fieldSelector={field}=x")
    assert (answer.status, answer.message) == (400, message.format(field))


async def test_nothing_is_deleted_for_who_cannot_be_answered(api):
    await api.post(CONFIGMAPS, api.configmap("a"))
    assert (await api.delete(f"{CONFIGMAPS}/a", accept="application/json;as=Table;v=v1")).status == 406
    assert (await api.get(f"{CONFIGMAPS}/a")).status == 200


async def test_nothing_follows_the_one_object_that_is_named(api):
    for name in "ab":
        await api.post(CONFIGMAPS, api.configmap(name))
    found = (await api.get(f"{CONFIGMAPS}?fieldSelector=metadata.name=a&limit=1")).json
    assert [each["metadata"]["name"] for each in found["items"]] == ["a"]
    assert "continue" not in found["metadata"]


@pytest.mark.parametrize(("accepted", "squeezed"), [("deflate, gzip", "gzip"), ("gzip;q=0", None), ("identity", None)])
async def test_a_long_answer_is_squeezed_for_who_says_so_plainly(api, accepted, squeezed):
    long = "x" * 140_000
    asked = [
        ("POST", CONFIGMAPS, api.configmap("a", data={"a": long}), 201),
        ("POST", CONFIGMAPS, {"metadata": {"name": "b", "labels": {"a": long}}}, 422),
        ("GET", CONFIGMAPS, None, 200),
        ("GET", f"{CONFIGMAPS}/a", None, 200),
        ("PUT", f"{CONFIGMAPS}/a", api.configmap("a", data={"a": long, "b": "c"}), 200),
        ("DELETE", CONFIGMAPS, None, 200),
    ]
    for method, path, body, status in asked:
        url = (api.url + path).replace("{ns}", api.namespace)
        async with api.session.request(method, url, json=body, headers={"Accept-Encoding": accepted}) as response:
            assert (response.status, response.headers.get("Content-Encoding")) == (status, squeezed), (method, path)
            assert long in await response.text()


@pytest.mark.parametrize(("over", "kept"), [(1, True), (300_000, False)])
async def test_who_sends_far_too_much_is_left(api, over, kept):
    data = b"x" * (bodies.LIMIT + over)
    url = (api.url + CONFIGMAPS).replace("{ns}", api.namespace)
    async with api.session.post(url, data=data, headers={"Content-Type": "application/json"}) as response:
        assert (response.status, response.headers.get("Connection")) == (413, None if kept else "close")


async def test_a_config_map_that_is_too_large(api):
    answer = await api.post(CONFIGMAPS, api.configmap("a", data={"a": "x" * (1 << 20), "b": "y"}))
    assert answer.message == 'ConfigMap "a" is invalid: []: Too long: may not be more than 1048576 bytes'


async def test_a_rehearsal_may_name_a_version(api):
    answer = await api.post(f"{CONFIGMAPS}?dryRun=All", {"metadata": {"name": "a", "resourceVersion": "7"}})
    assert answer.status == 201
    assert (await api.post(CONFIGMAPS, {"metadata": {"name": "a", "resourceVersion": "7"}})).status == 500


REVISIONS = "/apis/apps/v1/namespaces/{ns}/controllerrevisions"
TOO_LARGE = [
    (1_600_000, "etcdserver: request is too large"),
    (2_200_000, "rpc error: code = ResourceExhausted desc = trying to send message larger than max ("),
]


@pytest.mark.parametrize(("size", "message"), TOO_LARGE)
async def test_what_no_store_takes(api, size, message):
    small = {"metadata": {"name": f"r{size}"}, "revision": 1, "data": {"a": "x" * 1000}}
    large = {**small, "data": {"a": "x" * size}}
    refused = await api.post(REVISIONS, large)
    assert (refused.status, refused.message[: len(message)]) == (500, message)
    assert {"reason", "details"}.isdisjoint(refused.json)
    assert (await api.post(f"{REVISIONS}?dryRun=All", large)).status == 201
    stored = (await api.post(REVISIONS, small)).json
    path = f"{REVISIONS}/r{size}"
    assert (await api.ask("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, content=MERGE)).status == 200
    assert (await api.ask("PATCH", f"{path}?fieldManager=m", {"data": {"b": "x" * 9}}, content=MERGE)).status == 422
    assert (await api.get(path)).json["data"] == stored["data"]


async def test_what_is_only_too_large_with_its_owners_is_stored_without(api):
    made = await api.post(CONFIGMAPS, {"metadata": {"name": "many"}, "data": {f"k{n:06}": "" for n in range(60_000)}})
    assert made.status == 201
    assert "managedFields" not in made.json["metadata"]
    assert len((await api.get(f"{CONFIGMAPS}/many")).json["data"]) == 60_000
    changed = await api.ask("PATCH", f"{CONFIGMAPS}/many", {"data": {"k000000": "x"}}, content=MERGE)
    assert changed.json["data"]["k000000"] == "x"
