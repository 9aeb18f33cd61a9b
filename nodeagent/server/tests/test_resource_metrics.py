"""What a metrics server reads of a kubelet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from nodeagent.engine.contract import Engine, EngineError
from nodeagent.server.resource_metrics import read, render
from shim.api.meta import Object

STARTED = "2026-01-01T00:00:00Z"


class Counting:
    """An engine whose containers have used what it says."""

    def __init__(self, **cpu_ns: int) -> None:
        self._cpu = cpu_ns

    async def usage(self, container: str) -> Mapping[str, int]:
        if container not in self._cpu:
            raise EngineError("gone")
        return {"cpu_ns": self._cpu[container], "memory_bytes": 4096, "pids": 1}

    async def node_usage(self) -> Mapping[str, int]:
        return {"cpu_ns": 5 * 10**9, "memory_bytes": 65536, "pids": 3}


def pod(**containers: str) -> Object:
    def status(name: str, state: str) -> Object:
        told: dict[str, Any] = {"running": {"startedAt": STARTED}} if state == "running" else {"terminated": {}}
        return {"name": name, "containerID": f"kubeshim://{name}", "state": told}

    statuses = [status(name, state) for name, state in containers.items()]
    return {"metadata": {"namespace": "ns", "name": "p"}, "status": {"containerStatuses": statuses}}


async def told(engine: Counting, *pods: Object) -> list[str]:
    """The samples without the moments they were taken at."""
    lines = render(await read(cast(Engine, engine), pods)).decode().splitlines()
    return [" ".join(line.split()[:2]) for line in lines if not line.startswith("#")]


async def test_what_runs_is_told_of_and_summed_by_pod() -> None:
    lines = await told(Counting(a=10**9, b=2 * 10**9), pod(a="running", b="running", c="ended"))
    assert 'container_cpu_usage_seconds_total{container="a",namespace="ns",pod="p"} 1.0' in lines
    assert 'pod_cpu_usage_seconds_total{namespace="ns",pod="p"} 3.0' in lines
    assert 'pod_memory_working_set_bytes{namespace="ns",pod="p"} 8192.0' in lines
    assert "node_cpu_usage_seconds_total 5.0" in lines
    assert "resource_scrape_error 0.0" in lines
    assert not any('container="c"' in line for line in lines)


async def test_a_container_that_just_ended_is_an_error_of_this_look_only() -> None:
    lines = await told(Counting(a=1), pod(a="running", b="running"))
    assert "resource_scrape_error 1.0" in lines
    assert any('container="a"' in line for line in lines)
