"""Watchers see every change after the version they name, once, in order."""

from __future__ import annotations

import asyncio

import aiohttp
import orjson
import pytest

from shim.resources.table import RESOURCES
from shim.server import watch

CONFIGMAPS = "/api/v1/namespaces/{ns}/configmaps"


def _seen(events):
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


async def test_what_happened_since_a_version_is_told_in_order(api):
    first = (await api.post(CONFIGMAPS, api.configmap("a"))).json
    since = first["metadata"]["resourceVersion"]
    await api.post(CONFIGMAPS, api.configmap("b"))
    await api.patch(f"{CONFIGMAPS}/a", {"data": {"k": "v"}})
    await api.delete(f"{CONFIGMAPS}/b")
    events = await api.watch(f"{CONFIGMAPS}?resourceVersion={since}")
    assert _seen(events) == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(versions)


async def test_without_a_version_what_is_there_comes_first(api):
    await api.post(CONFIGMAPS, api.configmap("a"))
    assert _seen(await api.watch(CONFIGMAPS)) == [("ADDED", "a")]


async def test_objects_come_and_go_as_they_start_and_cease_to_match(api):
    first = (await api.post(CONFIGMAPS, {"metadata": {"name": "a", "labels": {"on": "no"}}})).json
    for value in ("yes", "still", "no"):
        label = "yes" if value != "no" else "no"
        await api.patch(f"{CONFIGMAPS}/a", {"metadata": {"labels": {"on": label}}, "data": {"k": value}})
    since = first["metadata"]["resourceVersion"]
    events = await api.watch(f"{CONFIGMAPS}?labelSelector=on%3Dyes&resourceVersion={since}")
    assert _seen(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_live_events_arrive_while_the_watch_is_open(api):
    path = f"{api.url}{CONFIGMAPS.replace('{ns}', api.namespace)}"
    async with api.session.get(f"{path}?watch=1&timeoutSeconds=30") as response:
        await api.post(CONFIGMAPS, api.configmap("live"))
        event = orjson.loads(await asyncio.wait_for(response.content.readline(), 60))
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "live")


@pytest.mark.parametrize("since", ["", "&resourceVersion=1"])
async def test_initial_events_end_with_a_marked_bookmark(api, since):
    await api.post(CONFIGMAPS, api.configmap("a"))
    query = f"sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true{since}"
    added, bookmark = await api.watch(f"{CONFIGMAPS}?{query}")
    assert added["type"] == "ADDED"
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert "creationTimestamp" not in bookmark["object"]["metadata"]


async def test_a_watch_from_nowhere_marks_the_end_of_what_is_there_as_well(api):
    await api.post(CONFIGMAPS, api.configmap("a"))
    added, bookmark = await api.watch(f"{CONFIGMAPS}?allowWatchBookmarks=true")
    assert (added["type"], bookmark["type"]) == ("ADDED", "BOOKMARK")
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_bookmark_comes_shortly_before_the_end(api):
    since = (await api.get(CONFIGMAPS)).json["metadata"]["resourceVersion"]
    (bookmark,) = await api.watch(f"{CONFIGMAPS}?allowWatchBookmarks=true&resourceVersion={since}", seconds=3)
    assert bookmark["type"] == "BOOKMARK"
    assert int(bookmark["object"]["metadata"]["resourceVersion"]) >= int(since)
    assert "annotations" not in bookmark["object"]["metadata"]


async def test_initial_events_must_be_as_new_as_the_version_asked_for(api):
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=99999999"
    (event,) = await api.watch(f"{CONFIGMAPS}?{query}", seconds=9)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 504, "Timeout")


async def test_bookmarks_of_tables_carry_the_mark(api):
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    query = "watch=1&timeoutSeconds=1&allowWatchBookmarks=true"
    (line,) = (await api.get(f"{CONFIGMAPS}?{query}", accept=accept)).data.splitlines()
    (row,) = orjson.loads(line)["object"]["rows"]
    assert row["cells"] == ["", 0, "<unknown>"]
    assert row["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def _read_lines(answer: aiohttp.ClientResponse, left: int) -> None:
    while left > 0:
        piece = await answer.content.readany()
        assert piece, "this watch was ended, too"
        left -= piece.count(b"\n")


async def test_who_does_not_read_is_cut_off_and_nobody_else_waits(api, monkeypatch):
    cut_off, write = asyncio.Event(), watch._write

    async def noticed(response, piece):
        try:
            await write(response, piece)
        except ConnectionError:
            cut_off.set()
            raise

    monkeypatch.setattr(watch, "PATIENCE", 0.2)
    monkeypatch.setattr(watch, "_write", noticed)
    path = CONFIGMAPS.replace("{ns}", api.namespace)
    stalled = await api.session.get(f"{api.url}{path}?watch=1")
    stalled.connection.transport.pause_reading()
    other = await api.session.get(f"{api.url}{path}?watch=1&resourceVersion=0")
    reading = asyncio.create_task(_read_lines(other, 16))
    for number in range(16):
        assert (await api.post(CONFIGMAPS, api.configmap(f"c{number}", data={"k": "x" * 900_000}))).status == 201
    await reading
    other.close()
    await asyncio.wait_for(cut_off.wait(), 60)  # who reads before that is served on
    stalled.connection.transport.resume_reading()
    with pytest.raises(aiohttp.ClientError):
        await stalled.read()


async def test_tables_are_watched_too(api):
    await api.post(CONFIGMAPS, api.configmap("a"))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    answer = await api.get(f"{CONFIGMAPS}?watch=1&timeoutSeconds=1", accept=accept)
    event = orjson.loads(answer.data)
    assert event["object"]["rows"][0]["cells"][0] == "a"


async def test_the_old_watch_path(api):
    await api.post(CONFIGMAPS, api.configmap("a"))
    answer = await api.get("/api/v1/watch/namespaces/{ns}/configmaps?timeoutSeconds=1")
    assert orjson.loads(answer.data)["type"] == "ADDED"


async def test_a_selector_of_another_name_contradicts_the_old_path(api):
    path = "/api/v1/watch/namespaces/{ns}/configmaps/a?fieldSelector=metadata.name=b"
    answer = await api.get(path)
    assert (answer.status, answer.message) == (400, "fieldSelector metadata.name doesn't match requested name")


async def test_a_watch_of_what_is_there_cannot_be_continued(api):
    answer = await api.get(f"{CONFIGMAPS}?watch=1&continue=x")
    assert answer.message.endswith(
        "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided"
    )


async def test_options_that_contradict_are_refused(api):
    answer = await api.get(f"{CONFIGMAPS}?watch=1&sendInitialEvents=true")
    assert answer.status == 422
    assert "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan" in answer.message


async def test_nobody_watches_from_before_the_cluster_was_born(api):
    [event] = await api.watch(f"{CONFIGMAPS}?resourceVersion=1")
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


@pytest.mark.parametrize("row", [row for row in RESOURCES if row.columns], ids=lambda row: f"{row.name}.{row.group}")
async def test_every_kind_has_a_row_for_a_bookmark(row):
    """A bookmark is an object with nothing in it: its row is what that prints."""
    empty = {"kind": row.kind, "metadata": {"name": ""}, "spec": {}, "status": {}}
    assert len([column.cell(empty) for column in row.columns]) == len(row.columns)


async def test_a_watcher_that_leaves_before_the_answer_begins_is_no_error(api, monkeypatch, caplog):
    async def gone(call, *_):
        call.http.transport.close()
        raise ConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr("shim.server.watch._open", gone)
    with pytest.raises(aiohttp.ClientError):
        await api.watch("/api/v1/configmaps")
    assert "unexpected" not in caplog.text
