"""Are the scheduler, the controllers and the store well? ``componentstatuses``: asked whenever somebody wants to know.

The first two are asked at /healthz of the ports where they show themselves, the store whether it still answers.
Deprecated since v1.19, and still what many people type first.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from shim.api.meta import Object
from shim.server.backends import Backend, any_tls, ask, dial_error
from shim.server.computed import answer
from shim.server.parts import Call
from shim.settings import ApiServerSettings
from shim.store.cache import Cache
from shim.store.contract import StoreError

PATIENCE = 20.0  # seconds for each; upstream's

HEALTHY, UNHEALTHY = "True", "False"


async def component_statuses(call: Call) -> web.Response:
    """All, or the one that is named."""
    settings, cache = call.parts.settings, call.parts.cache
    names = _components(settings)
    found = await asyncio.gather(*(_component(name, where, cache) for name, where in names.items()))
    return answer(call, found, called="componentstatus")


def _components(settings: ApiServerSettings) -> dict[str, str]:
    """Each with the address of its port; the store has none."""
    return {
        "scheduler": settings.scheduler_address,
        "controller-manager": settings.controllers_address,
        "etcd-0": "",
    }


async def _component(name: str, where: str, cache: Cache) -> Object:
    status, message, error = await (_of_process(where) if where else _of_store(cache))
    condition = {"type": "Healthy", "status": status, "message": message, "error": error}
    condition = {key: value for key, value in condition.items() if value}
    return {"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [condition]}


async def _of_process(where: str) -> tuple[str, str, str]:
    """Status, message and error; nobody vouches for the certificates of these ports, as upstream."""
    host, _, port = where.rpartition(":")
    backend = Backend(host.strip("[]"), int(port), any_tls())
    asked = f'Get "https://{backend.authority}/healthz": '
    try:
        async with asyncio.timeout(PATIENCE):
            found = await ask(backend, "GET", "/healthz", [("Connection", "close")])
            try:
                text = await found.text()
            finally:
                found.writer.close()
    except TimeoutError:
        late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return UNHEALTHY, asked + late, ""
    except OSError as error:
        return UNHEALTHY, asked + dial_error(backend, error), ""
    if not 200 <= found.code < 400:
        return UNHEALTHY, f"HTTP probe failed with statuscode: {found.code}", ""
    return HEALTHY, text, ""


async def _of_store(cache: Cache) -> tuple[str, str, str]:
    try:
        async with asyncio.timeout(PATIENCE):
            await cache.probe()
    except TimeoutError:
        return UNHEALTHY, "", "context deadline exceeded"
    except StoreError as error:
        return UNHEALTHY, "", str(error)
    return HEALTHY, "ok", ""
