"""A node whose kubelet is a handler of the test, and a pod on it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from shim import pki
from shim.server.tests.conftest import Api

LOGGER = "kubelet.of.test"


@asynccontextmanager
async def kubelet(api: Api, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """The address of the log of the pod ``talker``, which runs there."""
    name = f"node-of-{api.namespace}"
    certificate, key = pki.ensure_serving(api.directory, name, f"system:node:{name}", [name])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    server = web.Server(handler, access_log=None, logger=logging.getLogger(LOGGER))
    runner = web.ServerRunner(server, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": runner.addresses[0][1]}},
    }
    await api.post("/api/v1/nodes", {"metadata": {"name": name}, "status": status})
    await api.post("/api/v1/namespaces/{ns}/pods", api.pod("talker", nodeName=name))
    try:
        yield f"{api.url}/api/v1/namespaces/{api.namespace}/pods/talker/log"
    finally:
        await runner.cleanup()


def never_silent(left: asyncio.Event) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """A kubelet whose container never falls silent; ``left`` is set when its reader has gone."""

    async def talk(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"on and on\n")
                await asyncio.sleep(0.01)
        except ConnectionError:
            left.set()
            raise

    return talk
