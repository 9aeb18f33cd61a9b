"""A page of manifests: what it asks for stays while it does not answer."""

import asyncio
import json

import aiohttp
from aiohttp import web

from nodeagent.kubelet.names import CONFIG_SOURCE, annotation, is_static
from nodeagent.kubelet.statics import page
from nodeagent.kubelet.statics.page import Page


def manifest(name):
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": {"containers": [{"name": "c"}]}}


def listed(*names):
    pods = [manifest(name) for name in names]
    for pod in pods:
        pod["spec"]["containers"][0]["image"] = "busybox"
    return json.dumps({"kind": "PodList", "apiVersion": "v1", "items": pods})


async def test_a_page_is_asked_again_and_again(monkeypatch, caplog):
    monkeypatch.setattr(page, "ASK_AGAIN", 0.01)
    answers = [(200, listed("a", "b")), (200, listed("a", "b")), (500, ""), (200, "no pod"), (200, listed("b"))]
    asked, seen = 0, asyncio.Queue()

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        status, text = answers[min(asked, len(answers) - 1)]
        asked += 1
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_get("/pods", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/pods"
        following = asyncio.create_task(Page(url, "n1", http).follow(seen.put_nowait))
        first, second = [await asyncio.wait_for(seen.get(), 60) for _ in range(2)]
        following.cancel()
    await runner.cleanup()
    assert (sorted(first), sorted(second)) == (["default/a-n1", "default/b-n1"], ["default/b-n1"])
    assert annotation(first["default/a-n1"], CONFIG_SOURCE) == "http"
    assert is_static(first["default/a-n1"])
    assert [record.getMessage().partition(": ")[2] for record in caplog.records if "static pods" in record.message] == [
        "it answers 500 Internal Server Error",
        "it is not a Pod of v1",
    ]
