"""The loop as a whole, in a kernel of its own: a change becomes rules, and what somebody flushed comes back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable

import pytest

from netproxy import firewall
from netproxy.health.liveness import Liveness
from netproxy.health.metrics import Metrics
from netproxy.health.service_checks import ServiceChecks
from netproxy.links import namespaces
from netproxy.services import proxy as proxy_module
from netproxy.services.proxy import ServiceProxy
from netproxy.services.tests.builders import NODE, PLACE, endpoint, service, slice_of
from netproxy.services.tracker import Tracker
from netproxy.tests.kernel import namespace, needs_root, run
from shim.client import Client, Informer
from shim.client import resource as r

pytestmark = needs_root


@pytest.fixture
async def services(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Informer]:
    """The Services of a proxy that works, as if an API server told of them."""
    monkeypatch.setattr(proxy_module, "CHECK", 0.05)
    client = Client("http://127.0.0.1:1")
    services, slices, nodes = (Informer(client, each) for each in (r.SERVICES, r.ENDPOINTSLICES, r.NODES))
    slices._change("shop/web-x", slice_of("web", endpoint("10.244.1.5")))
    liveness = Liveness()
    tracker = Tracker(services, slices, nodes, NODE, PLACE)
    with namespace(f"npl{os.getpid()}") as path, namespaces.inside(path):
        proxy = ServiceProxy(tracker, ServiceChecks(liveness), liveness, Metrics())
        written = asyncio.Event()
        task = asyncio.create_task(proxy.run(written.set))
        await asyncio.wait_for(written.wait(), 30)
        yield services
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  # the kernel tells nobody
            await asyncio.sleep(0.02)


async def test_rules_that_somebody_flushed_come_back(services: Informer) -> None:
    services._change("shop/web", service("web", "10.96.1.1"))
    await until(lambda: "10.244.1.5:8080" in firewall.save("nat"))
    for flush in (["-F"], ["-F", "KUBE-SERVICES"], ["-D", "PREROUTING", "1"]):
        run("iptables", "-t", "nat", *flush)
        wanted = ("10.244.1.5:8080", "-A KUBE-SERVICES -d 10.96.1.1/32", "-A PREROUTING")
        await until(lambda wanted=wanted: all(text in firewall.save("nat") for text in wanted))  # type: ignore[misc]


async def test_a_service_that_goes_takes_its_rules_along(services: Informer) -> None:
    services._change("shop/web", service("web", "10.96.1.1"))
    await until(lambda: "10.96.1.1" in firewall.save("nat"))
    services._change("shop/web", None)
    await until(lambda: "10.96.1.1" not in firewall.save("nat") and "KUBE-SEP" not in firewall.save("nat"))
