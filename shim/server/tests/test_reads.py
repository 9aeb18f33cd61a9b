"""Lists, pages, selectors and the forms an answer can take."""

from __future__ import annotations

import gzip
import re
from urllib.parse import quote

import pytest
import yaml

from shim.codec.definitions import load_schema
from shim.codec.protobuf import Protobuf
from shim.server import listing, responses

CONFIGMAPS = "/api/v1/namespaces/{ns}/configmaps"
PROTOBUF = "application/vnd.kubernetes.protobuf"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def _some(api, count=5):
    for number in range(count):
        labels = {"i": str(number), "parity": "odd" if number % 2 else "even"}
        await api.post(CONFIGMAPS, {"metadata": {"name": f"c{number}", "labels": labels}})


def _names(answer):
    return [item["metadata"]["name"] for item in answer.json["items"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("labelSelector=parity%3Deven", ["c0", "c2", "c4"]),
        ("labelSelector=parity!%3Deven", ["c1", "c3"]),
        ("labelSelector=i+in+(1,2)", ["c1", "c2"]),
        ("labelSelector=i%3E2", ["c3", "c4"]),
        ("fieldSelector=metadata.name%3Dc1", ["c1"]),
        ("fieldSelector=metadata.name!%3Dc1&labelSelector=parity%3Dodd", ["c3"]),
    ],
)
async def test_selectors(api, query, found):
    await _some(api)
    assert _names(await api.get(f"{CONFIGMAPS}?{query}")) == found


async def test_selectors_that_mean_nothing_are_refused(api):
    assert (await api.get(f"{CONFIGMAPS}?labelSelector=a%3D%3D%3Db")).status == 400
    unknown = await api.get(f"{CONFIGMAPS}?fieldSelector=data.k%3Dv")
    assert unknown.message.startswith('"data.k" is not a known field selector')


EVENT = {
    "metadata": {"name": "e"},
    "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
    "reason": "Started",
    "reportingComponent": "somebody",
}


@pytest.mark.parametrize(
    ("group", "selector", "found"),
    [
        ("/api/v1", "involvedObject.name=p,reportingComponent=somebody,source=somebody", ["e"]),
        ("/api/v1", "involvedObject.name=q", []),
        ("/apis/events.k8s.io/v1", "regarding.name=p,reportingController=somebody,reason=Started", ["e"]),
        ("/apis/events.k8s.io/v1", "regarding.kind!=Pod", []),
    ],
)
async def test_each_version_has_its_own_words_for_the_fields_of_selectors(api, group, selector, found):
    await api.post("/api/v1/namespaces/default/events", EVENT)
    assert _names(await api.get(f"{group}/namespaces/default/events?fieldSelector={quote(selector)}")) == found


@pytest.mark.parametrize(
    ("group", "field"),
    [
        ("/api/v1", "regarding.name"),
        ("/apis/events.k8s.io/v1", "source"),
        ("/apis/events.k8s.io/v1", "involvedObject.name"),
    ],
)
async def test_and_does_not_know_the_words_of_the_other(api, group, field):
    answer = await api.get(f"{group}/namespaces/default/events?fieldSelector={field}%3Dx")
    assert (answer.status, answer.message) == (400, f"field label not supported: {field}")


async def test_items_of_a_list_do_not_repeat_their_kind(api):
    await _some(api, 2)
    answer = (await api.get(CONFIGMAPS)).json
    assert (answer["kind"], answer["apiVersion"]) == ("ConfigMapList", "v1")
    assert [sorted(item) for item in answer["items"]] == [["metadata"], ["metadata"]]


async def test_pages_show_one_moment_whatever_is_written_between_them(api):
    await _some(api)
    page = await api.get(f"{CONFIGMAPS}?limit=2")
    assert _names(page) == ["c0", "c1"]
    assert page.json["metadata"]["remainingItemCount"] == 3
    await api.delete(f"{CONFIGMAPS}/c3")
    await api.post(CONFIGMAPS, api.configmap("c22"))
    second = await api.get(f"{CONFIGMAPS}?limit=2&continue={page.json['metadata']['continue']}")
    assert _names(second) == ["c2", "c3"]
    assert second.json["metadata"]["resourceVersion"] == page.json["metadata"]["resourceVersion"]
    last = await api.get(f"{CONFIGMAPS}?limit=2&continue={second.json['metadata']['continue']}")
    assert _names(last) == ["c4"]
    assert "continue" not in last.json["metadata"]


async def test_a_bad_token_is_refused(api):
    answer = await api.get(f"{CONFIGMAPS}?continue=abc")
    assert answer.status == 400
    assert answer.message.startswith("invalid continue token")


async def test_a_version_from_the_future_is_waited_for_and_then_refused(api):
    answer = await api.get(f"{CONFIGMAPS}?resourceVersion=99999999")
    assert answer.status == 504
    assert "Too large resource version" in answer.message


async def test_a_table_has_rows_and_columns(api):
    await api.post(CONFIGMAPS, api.configmap("a", data={"k": "v"}))
    table = (await api.get(CONFIGMAPS, accept=TABLE)).json
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert table["rows"][0]["cells"][:2] == ["a", 1]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_metadata_alone(api):
    await api.post(CONFIGMAPS, api.configmap("a", data={"k": "v"}))
    accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    partial = (await api.get(f"{CONFIGMAPS}/a", accept=accept)).json
    assert sorted(partial) == ["apiVersion", "kind", "metadata"]


@pytest.mark.parametrize("accept", ["application/json", "application/yaml", TABLE, PROTOBUF])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_long_list_is_sent_as_it_is_made_and_says_the_same(api, accept, encoding, monkeypatch):
    for number in range(20):
        await api.post(CONFIGMAPS, api.configmap(f"c{number:02}", data={"k": "x" * 1000}))
    headers = {"Accept-Encoding": encoding}
    whole = await api.get(f"{CONFIGMAPS}?includeObject=Object", accept=accept, headers=headers)
    monkeypatch.setattr(responses, "WHOLE", 1000)
    monkeypatch.setattr(responses, "BLOCK", 3000)
    monkeypatch.setattr(listing, "STORED_SLICE", 3)
    pieces = await api.get(f"{CONFIGMAPS}?includeObject=Object", accept=accept, headers=headers)
    assert pieces.headers["Transfer-Encoding"] == "chunked"
    assert pieces.headers.get("Content-Encoding", "identity") == encoding
    ages = rb'"\d+s"|- \d+s'  # of a Table
    assert re.sub(ages, b"", pieces.data) == re.sub(ages, b"", whole.data)
    assert len(whole.data) > 20_000


async def test_tables_show_as_much_of_an_object_as_is_asked_for(api):
    await api.post(CONFIGMAPS, api.configmap("a", data={"k": "v"}))
    shown = {}
    for include in ("None", "Metadata", "Object"):
        table = (await api.get(f"{CONFIGMAPS}?includeObject={include}", accept=TABLE)).json
        shown[include] = table["rows"][0]["object"]
    assert (shown["None"], shown["Metadata"]["kind"]) == (None, "PartialObjectMetadata")
    assert shown["Object"]["data"] == {"k": "v"}
    for path in (CONFIGMAPS, f"{CONFIGMAPS}/a", f"{CONFIGMAPS}?watch=1"):
        refused = await api.get(f"{path}{'&' if '?' in path else '?'}includeObject=Some", accept=TABLE)
        assert refused.status == 400
        assert refused.message == (
            "Unable to convert to Table as requested: includeObject: Invalid value: "
            "\"Some\": must be 'Metadata', 'Object', 'None', or empty"
        )


async def test_items_of_a_list_do_not_repeat_their_kind_in_yaml(api):
    await _some(api, 1)
    lines = (await api.get(CONFIGMAPS, accept="application/yaml")).data.decode().splitlines()
    assert lines[:3] == ["apiVersion: v1", "items:", "- metadata:"]
    assert lines[-3:-1] == ["kind: ConfigMapList", "metadata:"]
    empty = await api.get("/api/v1/namespaces/{ns}/secrets", accept="application/yaml")
    assert empty.data.decode().splitlines()[:3] == ["apiVersion: v1", "items: []", "kind: SecretList"]


@pytest.mark.parametrize(
    ("query", "accept", "message"),
    [
        ("", "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", "application/json, application/yaml"),
        ("?watch=1", "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", "application/json, applicatio"),
        ("?watch=1", "application/yaml", "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=w"),
        ("?watch=1", "application/cbor-seq", "406: Not Acceptable"),
        ("", "application/cbor", "406: Not Acceptable"),
        ("", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "is a list (*core.ConfigMapList)"),
    ],
)
async def test_what_cannot_be_written_is_refused_before_anything_is(api, query, accept, message):
    answer = await api.get(f"{CONFIGMAPS}{query}", accept=accept)
    refusal = yaml.safe_load(answer.data) if "yaml" in accept else answer.json
    assert (answer.status, refusal["reason"]) == (406, "NotAcceptable")
    assert message in refusal["message"]


async def test_reviews_have_no_table(api):
    review = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    only = TABLE.partition(",")[0]
    assert (await api.post(path, review, accept=only)).status == 406
    assert (await api.post(path, review, accept=TABLE)).json["kind"] == "SelfSubjectAccessReview"


async def test_forms_nobody_knows_are_refused(api):
    await api.post(CONFIGMAPS, api.configmap("a"))
    assert (await api.get(f"{CONFIGMAPS}/a", accept="text/html")).status == 406
    assert (await api.get(CONFIGMAPS, accept="application/json;as=Nope;v=v1;g=meta.k8s.io")).status == 406


async def test_yaml_and_protobuf(api):
    yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: inyaml\ndata:\n  a: b\n"
    assert (await api.post(CONFIGMAPS, yaml, content="application/yaml")).status == 201
    shown = await api.get(f"{CONFIGMAPS}/inyaml", accept="application/yaml")
    assert shown.headers["Content-Type"] == "application/yaml"
    assert b"  a: b\n" in shown.data
    protobuf = "application/vnd.kubernetes.protobuf"
    packed = await api.get(f"{CONFIGMAPS}/inyaml", accept=protobuf)
    assert packed.data.startswith(b"k8s\0")
    await api.delete(f"{CONFIGMAPS}/inyaml")
    body = Protobuf(load_schema()).encode(api.configmap("p", data={"a": "b"}))
    made = await api.post(CONFIGMAPS, body, content=protobuf)
    assert made.json["data"] == {"a": "b"}
    watched = await api.get(f"{CONFIGMAPS}?watch=1&timeoutSeconds=1", accept=f"{protobuf};stream=watch")
    assert watched.headers["Content-Type"] == f"{protobuf};stream=watch"
    assert b"ADDED" in watched.data


async def test_long_answers_are_compressed_for_those_who_like_it(api):
    for number in range(3):
        await api.post(CONFIGMAPS, api.configmap(f"c{number}", data={"k": "x" * 100_000}))
    plain = await api.get(CONFIGMAPS, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    session = api.session
    url = f"{api.url}{CONFIGMAPS.replace('{ns}', api.namespace)}"
    async with session.get(url, headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        body = await response.read()
    assert (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body) == plain.data


async def test_events_are_served_in_two_groups(api):
    reference = {"kind": "Pod", "name": "p", "namespace": api.namespace}
    event = {
        "metadata": {"name": "e"},
        "involvedObject": reference,
        "reason": "R",
        "message": "hello",
        "type": "Normal",
    }
    assert (await api.post("/api/v1/namespaces/{ns}/events", event)).status == 201
    other = (await api.get("/apis/events.k8s.io/v1/namespaces/{ns}/events")).json
    assert other["kind"] == "EventList"
    assert other["items"][0]["note"] == "hello"
    assert other["items"][0]["regarding"]["name"] == "p"


async def test_flow_schemas_are_shown_in_the_order_they_are_asked(api):
    path = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
    await api.post(path, {"metadata": {"name": "aa"}, "spec": {"priorityLevelConfiguration": {"name": "exempt"}}})
    shown = [row["cells"] for row in (await api.get(path, accept=TABLE)).json["rows"]]
    assert [int(cells[2]) for cells in shown] == sorted(int(cells[2]) for cells in shown)
    assert [cells[0] for cells in shown[:2]] == ["exempt", "probes"]
    assert shown[-1][0] == "catch-all"
    names = [item["metadata"]["name"] for item in (await api.get(path)).json["items"]]
    assert names == sorted(names)
    assert (await api.get(f"{path}/probes")).json["metadata"]["generation"] == 1
    await api.delete(f"{path}/aa")


async def test_a_kind_without_a_printer_tells_when_it_was_made(api):
    """Upstream has one for CSIStorageCapacities, and does not use it."""
    path = "/apis/storage.k8s.io/v1/namespaces/{ns}/csistoragecapacities"
    table = (await api.get(path, accept=TABLE)).json
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Created At"]


@pytest.mark.parametrize(
    ("query", "found", "more"),
    [
        ("limit=3&labelSelector=parity=even", ["c0", "c2", "c4"], True),  # c5 follows, whether it matches or not
        ("limit=4&labelSelector=parity=even", ["c0", "c2", "c4"], False),
        ("limit=2&labelSelector=parity=odd", ["c1", "c3"], True),
        ("limit=2&resourceVersion=0", ["c0", "c1", "c2", "c3", "c4", "c5"], False),
    ],
)
async def test_a_page_says_whether_more_objects_follow(api, query, found, more):
    await _some(api, 6)
    answer = await api.get(f"{CONFIGMAPS}?{query}")
    assert (_names(answer), "continue" in answer.json["metadata"]) == (found, more)


@pytest.mark.parametrize(
    ("query", "code"), [("limit=x", 200), ("resourceVersionMatch=Exact", 200), ("resourceVersion=x", 500)]
)
async def test_a_get_looks_at_the_version_alone(api, query, code):
    await _some(api, 1)
    assert (await api.get(f"{CONFIGMAPS}/c0?{query}")).status == code


STREAMS = ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
KNOWN = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
NONE_OF = f"406: Not Acceptable\n\nAvailable representations: {KNOWN}"


@pytest.mark.parametrize(
    ("method", "path", "accept", "message"),
    [
        ("GET", "", "text/html", NONE_OF + STREAMS),
        ("GET", "/nothing", "text/html", NONE_OF),
        ("GET", "", "application/*", NONE_OF + STREAMS),
        ("DELETE", "/nothing", "application/cbor", NONE_OF),
        ("DELETE", "", "text/html", NONE_OF),
        ("PUT", "/nothing", "text/html", NONE_OF),
        ("POST", "", "text/html", NONE_OF),
        ("GET", "", "application/json;stream=other", f"only the following media types are accepted: {KNOWN}"),
        (
            "GET",
            "/c0",
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)",
        ),
    ],
)
async def test_who_takes_no_answer_is_told_before_anything_is_looked_up(api, method, path, accept, message):
    await _some(api, 1)
    answer = await api.ask(method, f"{CONFIGMAPS}{path}", None if method in ("GET", "DELETE") else {}, accept=accept)
    assert (answer.status, answer.message) == (406, message)


async def test_a_refusal_is_written_as_the_client_reads(api):
    missing = f"{CONFIGMAPS}/nothing"
    yaml = await api.get(missing, accept="application/yaml")
    assert b"reason: NotFound\n" in yaml.data
    assert yaml.headers["Content-Type"] == "application/yaml"
    answer = Protobuf(load_schema()).decode((await api.get(missing, accept=PROTOBUF)).data)
    assert (answer["kind"], answer["code"]) == ("Status", 404)
    for accept in (f"{PROTOBUF}, application/json", "application/yaml;stream=watch", TABLE.partition(",")[0]):
        assert (await api.get(missing, accept=accept)).headers["Content-Type"] == "application/json"
