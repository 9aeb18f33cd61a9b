"""http probes against a server that sends them elsewhere."""

import aiohttp
import pytest
from aiohttp import web

from nodeagent.kubelet.probes.check import Outcome, check

FAR = "http://elsewhere.invalid/"


@pytest.fixture
async def port():
    async def answer(request: web.Request) -> web.StreamResponse:
        target = "/for/ever" if request.path == "/for/ever" else request.query.get("to")
        if target:
            return web.Response(status=302, headers={"Location": target}, text="moved")
        return web.Response(text=request.headers["X-Asked"])

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


WENT_ON = "Probe terminated redirects, Response body: moved"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/here", Outcome("success")),
        ("/?to=/here", Outcome("success")),
        (f"/?to={FAR}", Outcome("success", doubt=WENT_ON)),  # the node is asked for nothing of a pod's choice
        ("/?to=file:///etc/passwd", Outcome("success", doubt=WENT_ON)),
        ("/?to=?to=%3Fto=/here", Outcome("success")),
    ],
)
async def test_a_redirect_is_followed_as_far_as_the_host_is_the_same(port, path, expected):
    probe = {"httpGet": {"port": port, "path": path, "httpHeaders": [{"name": "X-Asked", "value": "yes"}]}}
    async with aiohttp.ClientSession() as http:
        asked = check(probe | {"timeoutSeconds": 20}, {"name": "c"}, "run", "127.0.0.1", engine=None, http=http)  # type: ignore[arg-type]
        assert await asked == expected


async def test_redirects_without_an_end(port):
    probe = {"httpGet": {"port": port, "path": "/for/ever"}, "timeoutSeconds": 20}
    async with aiohttp.ClientSession() as http:
        found = await check(probe, {"name": "c"}, "run", "127.0.0.1", engine=None, http=http)  # type: ignore[arg-type]
    assert found == Outcome("failure", f'Get "http://127.0.0.1:{port}/for/ever": stopped after 10 redirects')
