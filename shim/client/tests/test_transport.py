import asyncio

import orjson
import pytest
from aiohttp import web
from yarl import URL

from shim.api.status import ApiError
from shim.client import Client, Unreachable
from shim.client import resource as r
from shim.client.measured import REQUESTS
from shim.client.transport import OPENING
from shim.codec.exposition import text_of_families


def refusal(code: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
    status = {"kind": "Status", "code": code, "reason": reason, "message": f"refused: {reason}"}
    return web.json_response(status, status=code, headers=headers)


async def test_a_refusal_is_raised_as_the_status_the_server_sent(server, client):
    server.refusals.append(refusal(404, "NotFound"))

    with pytest.raises(ApiError) as caught:
        await client.get(r.PODS, "web", "default")

    assert (caught.value.code, caught.value.reason, str(caught.value)) == (404, "NotFound", "refused: NotFound")


async def test_an_overloaded_server_is_asked_again_when_it_says(server, client):
    server.refusals += [refusal(429, "TooManyRequests", {"Retry-After": "0"})] * 1
    server.write("a")

    assert (await client.get(r.CONFIGMAPS, "a", "default"))["metadata"]["name"] == "a"


async def test_requests_are_counted_by_what_they_were_answered(server, client):
    def answered(code: int) -> float:
        text = text_of_families(REQUESTS.collect()).decode()
        wanted = f'rest_client_requests_total{{code="{code}",host="{URL(client.server).authority}",method="GET"}} '
        return sum(float(line.removeprefix(wanted)) for line in text.splitlines() if line.startswith(wanted))

    server.refusals.append(refusal(404, "NotFound"))
    server.write("a")
    with pytest.raises(ApiError):
        await client.get(r.CONFIGMAPS, "a", "default")
    await client.get(r.CONFIGMAPS, "a", "default")
    assert (answered(404), answered(200)) == (1, 1)


async def test_a_read_waits_for_a_server_that_restarts(server, client):
    server.write("a")
    await client.get(r.CONFIGMAPS, "a", "default")
    await server.stop()

    reading = asyncio.create_task(client.get(r.CONFIGMAPS, "a", "default"))
    await asyncio.sleep(0)
    await server.start()

    assert (await reading)["metadata"]["name"] == "a"


async def test_an_absent_server_is_unreachable_and_an_api_error(monkeypatch):
    monkeypatch.setattr("shim.client.transport.PATIENCE", 0.0)
    async with Client("http://127.0.0.1:1") as client:
        with pytest.raises(ApiError) as caught:
            await client.get(r.PODS, "a", "default")
    assert isinstance(caught.value, Unreachable)
    assert caught.value.code == 503


async def test_each_verb_says_what_upstream_clients_say(server, client):
    pod = {"metadata": {"name": "p", "namespace": "ns"}}
    await client.create(r.PODS, {"target": {}}, "ns", name="p", subresource="binding")
    await client.update(r.PODS, pod, subresource="status")
    await client.patch(r.DEPLOYMENTS, "d", {}, "ns", type="strategic")
    await client.delete(r.PODS, "p", "ns", grace_period=0, uid="u", propagation="Orphan")
    await client.patch(r.NODES, "n1", [], type="json")

    options = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "gracePeriodSeconds": 0,
        "propagationPolicy": "Orphan",
        "preconditions": {"uid": "u"},
    }
    assert server.requests == [
        ("POST", "/api/v1/namespaces/ns/pods/p/binding", b'{"target":{}}'),
        ("PUT", "/api/v1/namespaces/ns/pods/p/status", orjson.dumps(pod)),
        ("PATCH", "/apis/apps/v1/namespaces/ns/deployments/d", b"{}"),
        ("DELETE", "/api/v1/namespaces/ns/pods/p", orjson.dumps(options)),
        ("PATCH", "/api/v1/nodes/n1", b"[]"),
    ]


async def test_a_watch_takes_events_of_any_length(server, client):
    server.write("big", data={"blob": "x" * 3_000_000})
    server.write("small")
    seen = []
    async for event, obj in client.watch(r.CONFIGMAPS, resource_version="0"):
        seen.append((event, obj["metadata"]["name"]))
        if len(seen) == 2:
            break
    assert seen == [("ADDED", "big"), ("ADDED", "small")]


async def test_few_watches_connect_at_a_time_so_that_a_slow_server_finishes_some(server, client):
    server.open.clear()
    opened = asyncio.Queue()

    async def follow() -> None:
        async for _ in client.watch_batches(r.CONFIGMAPS, resource_version="0"):
            opened.put_nowait(None)

    watching = [asyncio.create_task(follow()) for _ in range(3 * OPENING)]
    for _ in range(OPENING):
        await server.asked.get()
    await client.list(r.CONFIGMAPS)  # a round trip: had more of them connected, they would be there
    assert server.watches == OPENING
    server.open.set()
    for _ in watching:
        await opened.get()
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
