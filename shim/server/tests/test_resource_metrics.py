"""metrics.k8s.io: two looks at a kubelet make a rate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import shim.server
import shim.server.resource_metrics as served
from shim.api.meta import GVR, Object
from shim.api.status import ApiError
from shim.client import Client
from shim.client import resource as r
from shim.controllers.tests.cluster import Cluster
from shim.server.resource_metrics import Look, Name, Point, ResourceMetrics, read
from shim.settings import ApiServerSettings

TEXT = """\
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="c",namespace="default",pod="p"} 1.5 1000000
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="c",namespace="default",pod="p"} 2048 1000000
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 7.25 1000500
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 8192 1000500
"""
PODS, NODES = GVR("metrics.k8s.io", "v1beta1", "pods"), GVR("metrics.k8s.io", "v1beta1", "nodes", False)


def test_a_kubelets_answer_is_read_by_name() -> None:
    assert read(TEXT) == {(): Point(1000.5, 7.25, 8192), ("default", "p", "c"): Point(1000.0, 1.5, 2048)}


def test_a_rate_needs_two_looks_and_a_counter_that_went_on() -> None:
    name = ("default", "p", "c")
    first, second = {name: Point(10.0, 1.0, 100)}, {name: Point(20.0, 6.0, 300)}
    assert Look(first).usage(name) is None
    found = Look(second, first).usage(name)
    assert found is not None
    assert (found[0].cpu, found[0].memory, found[2]) == (500_000_000, 300, 10.0)
    assert Look(first, second).usage(name) is None  # started anew


@contextlib.asynccontextmanager
async def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """A server whose one kubelet always says that another half second of CPU was used in a second."""
    looks = 0

    async def ask(self: ResourceMetrics, session: object, node: str) -> dict[Name, Point]:
        nonlocal looks
        looks += 1
        return {name: Point(float(looks), looks / 2, 4096) for name in ((), ("default", "p", "c"))}

    monkeypatch.setattr(ResourceMetrics, "_ask", ask)
    monkeypatch.setattr(served, "FIRST_WINDOW", 0.0)
    made = Cluster(None, tmp_path / "admin.kubeconfig")  # type: ignore[arg-type]
    settings = ApiServerSettings(tmp_path, port=0, authorization_mode="AlwaysAllow", metric_resolution=3600.0)
    await made.start(lambda ready: shim.server.run(settings, ready))
    try:
        async with Client.from_kubeconfig(made.kubeconfig) as made.client:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            await made.client.create(r.SERVICEACCOUNTS, account, "default")
            await made.add_node("n1")
            await made.add_pod("p", {"app": "a"}, nodeName="n1")
            yield made.client
    finally:
        for task in made._tasks:
            task.cancel()
        await asyncio.gather(*made._tasks, return_exceptions=True)


async def test_nodes_and_pods_are_told_with_their_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with measured(tmp_path, monkeypatch) as client:
        (pod,) = (await client.list(PODS, "default", label_selector="app=a"))["items"]
        assert pod["containers"] == [{"name": "c", "usage": {"cpu": "500000000n", "memory": "4Ki"}}]
        assert (pod["metadata"]["labels"], pod["window"]) == ({"app": "a"}, "1.000s")
        assert (await client.list(PODS, "default", label_selector="app=b"))["items"] == []
        node: Object = await client.get(NODES, "n1")
        assert (node["kind"], node["usage"]["cpu"]) == ("NodeMetrics", "500000000n")
        with pytest.raises(ApiError, match=r'pods\.metrics\.k8s\.io "x" not found'):
            await client.get(PODS, "x", "default")
