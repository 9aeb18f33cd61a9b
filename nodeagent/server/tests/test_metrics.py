"""What monitoring reads of a kubelet: names and labels as dashboards know them, figures from the same readings."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import generate_latest

from nodeagent.kubelet.meters import Meters
from nodeagent.server import cadvisor
from nodeagent.server.counting import counting
from nodeagent.server.resource_metrics import Reading
from shim.codec.exposition import counters, text_of_families

MEMORY = {"usageBytes": 9, "workingSetBytes": 8, "rssBytes": 7}
USED: dict[str, Any] = {"cpu": {"usageCoreNanoSeconds": 2 * 10**9}, "memory": MEMORY}
POD: dict[str, Any] = {
    "metadata": {"namespace": "ns", "name": "p", "uid": "u"},
    "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}}}]},
    "status": {"containerStatuses": [{"name": "c", "image": "busybox", "containerID": "kubeshim://id"}]},
}
SUMMARY = {
    "node": {"nodeName": "n", **USED},
    "pods": [{"podRef": {"name": "p", "namespace": "ns", "uid": "u"}, "containers": [{"name": "c", **USED}], **USED}],
}
C = 'container="c",id="/kubepods/podu/id",image="busybox",name="id",namespace="ns",pod="p"'


def test_a_container_is_told_with_what_its_cgroup_says_and_allows() -> None:
    usage = {"cpu_user_ns": 10**9, "throttled_periods": 3, "memory_cache": 5, "pids": 2, "page_faults": 4}
    reading = Reading("ns", "p", "c", 0.0, 0.0, usage)
    told = text_of_families(cadvisor.cadvisor([POD], SUMMARY, [reading])).decode()
    for line in (
        f"container_cpu_usage_seconds_total{{{C}}} 2.0",
        f"container_cpu_user_seconds_total{{{C}}} 1.0",
        f"container_cpu_cfs_throttled_periods_total{{{C}}} 3.0",
        f"container_memory_cache{{{C}}} 5.0",
        f"container_threads{{{C}}} 2.0",
        f"container_spec_cpu_quota{{{C}}} 50000.0",
        f"container_spec_memory_limit_bytes{{{C}}} 6.7108864e+07",
    ):
        assert line in told
    assert 'failure_type="pgfault"' in told
    assert 'scope="container"' in told


def test_what_stood_still_is_told_where_it_is_known() -> None:
    stall = {"total": 3 * 10**9, "avg10": 0.5, "avg60": 0.0, "avg300": 0.0}
    container = {"name": "c", **USED, "io": {"psi": {"some": stall, "full": {**stall, "total": 0}}}}
    summary = {**SUMMARY, "pods": [{**SUMMARY["pods"][0], "containers": [container]}]}
    told = text_of_families(cadvisor.cadvisor([POD], summary, [])).decode()
    assert f"container_pressure_io_waiting_seconds_total{{{C}}} 3.0" in told
    assert f"container_pressure_io_stalled_seconds_total{{{C}}} 0.0" in told
    assert "container_pressure_cpu_waiting_seconds_total{" not in told


def test_a_container_is_found_in_the_cgroup_of_its_class() -> None:
    lower = {**POD, "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1m"}}}]}}
    told = text_of_families(cadvisor.cadvisor([lower], SUMMARY, [])).decode()
    assert 'id="/kubepods/burstable/podu/id"' in told
    assert 'id="/kubepods/burstable/podu"' in told


def test_what_the_kubelet_does_is_counted_and_timed() -> None:
    meters = Meters()
    meters.pod_started()
    meters.container_started("initContainers")
    meters.container_failed("containers", "RunContainerError")
    with meters.operation("create_container"):
        pass
    with pytest.raises(OSError), meters.operation("start_container"):
        raise OSError("not here")
    meters.pod_runs(0.7)
    told = generate_latest(meters.registry).decode()
    for line in (
        "kubelet_started_pods_total 1.0",
        'kubelet_started_containers_total{container_type="init_container"} 1.0',
        'kubelet_started_containers_errors_total{code="RunContainerError",container_type="container"} 1.0',
        'kubelet_runtime_operations_total{operation_type="create_container"} 1.0',
        'kubelet_runtime_operations_errors_total{operation_type="start_container"} 1.0',
        'kubelet_pod_start_duration_seconds_bucket{le="1.0"} 1.0',
    ):
        assert line in told
    assert "_created" not in told
    assert "process_cpu_seconds_total" in told


async def test_requests_are_counted_by_what_they_ask_for() -> None:
    meters = Meters()

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application(middlewares=[counting(meters, "readwrite")])
    app.add_routes([web.get("/metrics/cadvisor", answer), web.get("/exec/{namespace}/{pod}/{container}", answer)])
    async with TestClient(TestServer(app)) as client:
        for path in ("/metrics/cadvisor", "/exec/ns/secret-name/c", "/nothing"):
            await client.get(path)
    told = generate_latest(meters.registry).decode()
    assert "secret-name" not in told
    for path, long_running in (("metrics/cadvisor", "false"), ("exec", "true"), ("other", "false")):
        labels = f'long_running="{long_running}",method="GET",path="{path}",server_type="readwrite"'
        assert f"kubelet_http_requests_total{{{labels}}} 1.0" in told
        assert f"kubelet_http_inflight_requests{{{labels}}} 0.0" in told


def test_evictions_have_upstream_s_name() -> None:
    family = counters("kubelet_evictions", "Evictions", ("eviction_signal",), {("memory.available",): 2.0})
    assert 'kubelet_evictions{eviction_signal="memory.available"} 2.0' in text_of_families([family]).decode()
