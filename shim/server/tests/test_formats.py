"""Every built-in kind, filled to the last field, read in every form there is: item, list, table and watch."""

from __future__ import annotations

import struct
from functools import partial

import pytest
import pytest_asyncio

from shim.api.decoding import decode
from shim.codec import media
from shim.codec.definitions import load_schema
from shim.codec.tests.filled import filled
from shim.resources.table import RESOURCES
from shim.server.parts import index
from shim.server.routes import Routes
from shim.server.tests.conftest import serving
from shim.store.cache import Cache
from shim.store.sqlite import open_sqlite

SCHEMA = load_schema()
KINDS = [row for row in RESOURCES if "watch" in row.verbs]
FORMATS = (media.JSON, media.YAML, media.PROTOBUF)
ACTED_ON = {"ServiceCIDR": {"spec": {"cidrs": ["10.96.0.0/12"]}}}
"""What the server itself reads of its store when it starts must be as its rules would have it."""
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
NAME, NAMESPACE = "sweep.example.com", "sweep"


def _stored(row):
    obj = filled(SCHEMA.for_kind(row.group, row.version, row.kind), row.kind, row.api_version)
    metadata = {"name": NAME, "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"sweep": "yes"}}
    obj |= ACTED_ON.get(row.kind, {})
    return obj | {"metadata": metadata | ({"namespace": NAMESPACE} if row.namespaced else {})}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def full(tmp_path_factory):
    """A server that finds one object of every kind in its store; no rule would let them all be written."""
    directory = tmp_path_factory.mktemp("full")
    cache = Cache(open_sqlite(directory / "store.db"), partial(index, Routes(RESOURCES)))
    await cache.start()
    for row in KINDS:
        if row.storage is None:
            await cache.create(row.key(NAMESPACE if row.namespaced else "", NAME), _stored(row))
    await cache.close()
    async with serving(directory) as api:
        yield api


@pytest.mark.parametrize("row", KINDS, ids=lambda row: f"{row.name}.{row.version}.{row.group}")
async def test_a_kind_is_the_same_in_every_form(full, row):
    base = f"/apis/{row.group}/{row.version}" if row.group else f"/api/{row.version}"
    path = f"{base}/namespaces/{NAMESPACE}/{row.name}" if row.namespaced else f"{base}/{row.name}"
    one = (await full.get(f"{path}/{NAME}")).json
    definition = SCHEMA.for_kind(row.group, row.version, row.kind)

    kind = {"kind": row.kind, "apiVersion": row.api_version}

    def same(obj):
        return {**decode(definition, obj).obj, **kind} == one

    for form in FORMATS:
        answer = await full.get(f"{path}/{NAME}", accept=form)
        assert (answer.status, answer.headers["Content-Type"]) == (200, form)
        found = media.decode(form, answer.data, SCHEMA)
        assert (found["kind"], found["apiVersion"]) == (row.kind, row.api_version)
        assert same(found), form
        answer = await full.get(f"{path}?labelSelector=sweep", accept=form)
        assert (answer.status, answer.headers["Content-Type"]) == (200, form)
        found = media.decode(form, answer.data, SCHEMA)
        assert (found["kind"], found["apiVersion"]) == (row.list_kind, row.api_version)
        assert [same(item) for item in found["items"]] == [True], form
        assert int(found["metadata"]["resourceVersion"]) >= int(one["metadata"]["resourceVersion"])
    for where in (f"{path}/{NAME}", f"{path}?labelSelector=sweep"):
        table = (await full.get(where, accept=TABLE)).json
        assert [each["object"]["metadata"]["name"] for each in table["rows"]] == [NAME]
        unnamed = row.name == "ipaddresses"  # their age is a cell that the head does not have
        assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"]) + unnamed
    assert same(await _first_event(full, path, media.JSON))
    assert same(await _first_event(full, path, media.PROTOBUF))


async def _first_event(full, path, form):
    query = "?watch=1&labelSelector=sweep&resourceVersion=0"
    async with full.session.get(full.url + path + query, headers={"Accept": form}) as answer:
        assert answer.status == 200
        if form == media.JSON:
            type, obj = (event := media.decode(form, await answer.content.readline(), SCHEMA))["type"], event["object"]
        else:
            (size,) = struct.unpack(">I", await answer.content.readexactly(4))
            type, obj = media.protobuf(SCHEMA).decode_event(await answer.content.readexactly(size))
        assert type == "ADDED"
        return obj


@pytest.mark.parametrize("form", [*FORMATS, "application/cbor", f"{media.PROTOBUF};as=Table;v=v1;g=meta.k8s.io"])
@pytest.mark.parametrize("path", ["/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1"])
async def test_discovery_speaks_every_format(full, path, form):
    answer = await full.get(path, accept=form)
    if form in FORMATS:
        assert (answer.status, answer.headers["Content-Type"]) == (200, form)
        same = [media.decode(one, (await full.get(path, accept=one)).data, SCHEMA) for one in (media.JSON, form)]
        assert same[0]["kind"] == same[1]["kind"]
        assert same[0].get("groupVersion") == same[1].get("groupVersion")
    else:
        routed = form.endswith("cbor") and path not in ("/apis", "/apis/apps")
        said = "406: Not Acceptable" if routed else "only the following media"
        assert (answer.status, answer.message.startswith(said)) == (406, True)


@pytest.mark.parametrize("form", FORMATS)
async def test_refusals_are_told_in_the_clients_format(full, form):
    for path, code in (("/api/v1/namespaces/nope", 404), ("/api/v1/nopes", 404), ("/api/v1/pods?limit=x", 400)):
        answer = await full.get(path, accept=form)
        refusal = media.decode(form, answer.data, SCHEMA)
        assert (answer.status, answer.headers["Content-Type"]) == (code, form)
        assert (refusal["kind"], refusal["apiVersion"], refusal["code"]) == ("Status", "v1", code)


async def test_what_no_format_fits_is_refused_before_it_is_looked_for(full):
    offered = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    streams = ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
    for path, more in (("/api/v1/namespaces/nope", ""), ("/api/v1/namespaces", streams)):
        refused = await full.get(path, accept="application/cbor")
        assert (refused.status, refused.json["reason"]) == (406, "NotAcceptable")
        assert refused.message == f"406: Not Acceptable\n\nAvailable representations: {offered}{more}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"gracePeriodSeconds": "x"}, "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriod"),
        ({"kind": "Pod", "apiVersion": "v1"}, 'no kind "Pod" is registered for version "v1" in scheme "k8s.io/apim'),
        (b"{", "couldn't get version/kind; json parse error: unexpected end of JSON input"),
    ],
)
async def test_delete_options_are_read_as_any_body(full, body, said):
    refused = await full.delete("/api/v1/namespaces/default/configmaps/nope", body)
    assert (refused.status, refused.message[: len(said)]) == (400, said)


@pytest.mark.parametrize(
    ("kind", "api_version", "said"),
    [
        ("Deployment", "apps/v1", "converting (v1.Deployment) to (core.ConfigMap): unknown conversion"),
        ("Nope", "v1", 'no kind "Nope" is registered for version "v1" in scheme "pkg/api/legacyscheme/scheme.go:30"'),
        ("CustomResourceDefinition", "apiextensions.k8s.io/v1", 'no kind "CustomResourceDefinition" is registered'),
    ],
)
async def test_a_body_of_another_kind_is_refused_by_what_is_known_of_it(full, kind, api_version, said):
    sent = {"kind": kind, "apiVersion": api_version, "metadata": {"name": "x"}}
    refused = await full.post("/api/v1/namespaces/default/configmaps", sent)
    assert refused.status == 400
    assert said in refused.message
