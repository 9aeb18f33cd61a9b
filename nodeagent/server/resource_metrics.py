"""How much do this node's containers use? ``/metrics/resource``, which a metrics server asks every now and then.

Counters only grow, and every value says when it was read, so that whoever asks twice can tell a rate.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from nodeagent.engine.contract import Engine, EngineError
from nodeagent.kubelet.names import statuses_of
from shim.api.meta import Object, parse_time
from shim.codec.exposition import text_of_families

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a container used up to a moment."""

    namespace: str
    pod: str
    container: str
    started: float
    at: float
    usage: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Readings:
    """Those of all running containers, and the node's own."""

    node: Mapping[str, int]
    at: float
    containers: tuple[Reading, ...]
    errors: int

    def collect(self) -> Iterable[Metric]:
        """As metric families, with the names and helps of a real kubelet."""
        container, pod = ("container", "namespace", "pod"), ("namespace", "pod")
        cpu = "Cumulative cpu time consumed by the {} in core-seconds"
        memory = "Current working set of the {} in bytes"
        yield _family(
            CounterMetricFamily, "container_cpu_usage_seconds", cpu.format("container"), container, self._cpu()
        )
        yield _family(
            GaugeMetricFamily,
            "container_memory_working_set_bytes",
            memory.format("container"),
            container,
            self._memory(),
        )
        started = "Start time of the container since unix epoch in seconds"
        since: Samples = {(e.container, e.namespace, e.pod): (e.started, None) for e in self.containers}
        yield _family(GaugeMetricFamily, "container_start_time_seconds", started, container, since)
        node_cpu, node_memory = self.node["cpu_ns"] / 1e9, float(self.node["memory_bytes"])
        yield _family(CounterMetricFamily, "node_cpu_usage_seconds", cpu.format("node"), (), {(): (node_cpu, self.at)})
        yield _family(
            GaugeMetricFamily, "node_memory_working_set_bytes", memory.format("node"), (), {(): (node_memory, self.at)}
        )
        yield _family(CounterMetricFamily, "pod_cpu_usage_seconds", cpu.format("pod"), pod, _by_pod(self._cpu()))
        yield _family(
            GaugeMetricFamily, "pod_memory_working_set_bytes", memory.format("pod"), pod, _by_pod(self._memory())
        )
        node_swap: Samples = {(): (float(self.node.get("memory_swap", 0)), self.at)}
        for name, labels, samples in (
            ("container", container, self._swap()),
            ("pod", pod, _by_pod(self._swap())),
            ("node", (), node_swap),
        ):
            swap = f"Current swap usage of the {name} in bytes. Reported only on non-windows systems"
            yield _family(GaugeMetricFamily, f"{name}_swap_usage_bytes", swap, labels, samples, "ALPHA")
        failed = "1 if there was an error while getting container metrics, 0 otherwise"
        yield _family(GaugeMetricFamily, "resource_scrape_error", failed, (), {(): (float(self.errors > 0), None)})

    def _cpu(self) -> Samples:
        return {(e.container, e.namespace, e.pod): (e.usage["cpu_ns"] / 1e9, e.at) for e in self.containers}

    def _swap(self) -> Samples:
        used = ((each, float(each.usage.get("memory_swap", 0))) for each in self.containers)
        return {(each.container, each.namespace, each.pod): (amount, each.at) for each, amount in used}

    def _memory(self) -> Samples:
        return {(e.container, e.namespace, e.pod): (float(e.usage["memory_bytes"]), e.at) for e in self.containers}


Samples = Mapping[tuple[str, ...], tuple[float, float | None]]
"""By the values of the labels: the value, and when it was read."""


async def read(engine: Engine, pods: Iterable[Object]) -> Readings:
    """Look at every container that runs."""
    found: list[Reading] = []
    errors = 0
    for pod in pods:
        for name, status in _running(pod):
            metadata = pod["metadata"]
            try:
                usage = await engine.usage(status["containerID"].rpartition("/")[2])
            except EngineError:
                errors += 1  # it has just ended, most likely
                continue
            started = parse_time(status["state"]["running"]["startedAt"]).timestamp()
            found.append(Reading(metadata["namespace"], metadata["name"], name, started, time.time(), usage))
    return Readings(await engine.node_usage(), time.time(), tuple(found), errors)


def render(readings: Readings) -> bytes:
    return text_of_families(readings.collect())


def _running(pod: Object) -> Iterable[tuple[str, Object]]:
    for status in statuses_of(pod.get("status") or {}):
        if (status.get("state") or {}).get("running") and status.get("containerID"):
            yield status["name"], status


def _by_pod(samples: Samples) -> Samples:
    """Summed over the containers of a pod; as old as the oldest of them."""
    sums: dict[tuple[str, ...], tuple[float, float | None]] = {}
    for (_, namespace, pod), (value, at) in samples.items():
        total, oldest = sums.get((namespace, pod), (0.0, at))
        sums[namespace, pod] = (total + value, min(oldest or 0.0, at or 0.0))
    return sums


def _family(
    kind: type[CounterMetricFamily | GaugeMetricFamily],
    name: str,
    help: str,
    labels: tuple[str, ...],
    samples: Samples,
    stability: str = "STABLE",
) -> Metric:
    family = kind(name, f"[{stability}] {help}", labels=labels)
    for values, (value, at) in samples.items():
        family.add_metric(values, value, timestamp=at)
    return family
