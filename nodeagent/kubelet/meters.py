"""What the kubelet counts and times as it works, from its start on, by upstream's names; ``/metrics`` shows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from nodeagent.kubelet.names import ContainerKind

disable_created_metrics()  # type: ignore[no-untyped-call]  # upstream has no such series

_KINDS = {"containers": "container", "initContainers": "init_container", "ephemeralContainers": "ephemeral_container"}
_OPERATION = tuple(0.005 * 2.5**power for power in range(14))  # upstream's buckets: 5 ms to 12 min
_START = (0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600)


class Meters:
    """Whoever does something tells it here."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, help_: str, *labels: str) -> Counter:
            return Counter(name, help_, labels, registry=registry)

        def histogram(name: str, help_: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, help_, labels, registry=registry, buckets=buckets)

        self._pods = counter("kubelet_started_pods", "Cumulative number of pods started")
        self._pods_failed = counter("kubelet_started_pods_errors", "Cumulative number of errors when starting pods")
        self._containers = counter(
            "kubelet_started_containers", "Cumulative number of containers started", "container_type"
        )
        self._containers_failed = counter(
            "kubelet_started_containers_errors",
            "Cumulative number of errors when starting containers",
            *("container_type", "code"),
        )
        self._sandboxes = histogram(
            "kubelet_run_podsandbox_duration_seconds",
            "Duration in seconds of the run_podsandbox operations.",
            _OPERATION,
            "runtime_handler",
        )
        self._operations = counter(
            "kubelet_runtime_operations", "Cumulative number of runtime operations by operation type.", "operation_type"
        )
        self._operations_failed = counter(
            "kubelet_runtime_operations_errors",
            "Cumulative number of runtime operation errors by operation type.",
            "operation_type",
        )
        self._operation_times = histogram(
            "kubelet_runtime_operations_duration_seconds",
            "Duration in seconds of runtime operations.",
            _OPERATION,
            "operation_type",
        )
        self._starts = histogram(
            "kubelet_pod_start_duration_seconds",
            "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
            _START,
        )
        labels = ("method", "path", "server_type", "long_running")
        self._requests = counter("kubelet_http_requests", "Number of the http requests received", *labels)
        self._inflight = Gauge(
            "kubelet_http_inflight_requests", "Number of the inflight http requests", labels, registry=registry
        )

    def pod_started(self) -> None:
        self._pods.inc()

    def pod_failed(self) -> None:
        self._pods_failed.inc()

    def pod_runs(self, seconds: float) -> None:
        """So long after this kubelet first heard of it."""
        self._starts.observe(seconds)

    def container_started(self, kind: ContainerKind) -> None:
        self._containers.labels(_KINDS[kind]).inc()

    def container_failed(self, kind: ContainerKind, code: str) -> None:
        self._containers_failed.labels(_KINDS[kind], code).inc()

    @contextmanager
    def operation(self, kind: str) -> Iterator[None]:
        """Something the engine does: ``create_container``."""
        self._operations.labels(kind).inc()
        began = time.perf_counter()
        try:
            yield
        except Exception:
            self._operations_failed.labels(kind).inc()
            raise
        finally:
            seconds = time.perf_counter() - began
            self._operation_times.labels(kind).observe(seconds)
            if kind == "run_podsandbox":
                self._sandboxes.labels("").observe(seconds)

    @contextmanager
    def request(self, method: str, path: str, server: str, long_running: bool) -> Iterator[None]:
        """``path``: its first part or two. ``server``: readwrite or readonly."""
        labels = (method, path, server, str(long_running).lower())
        self._requests.labels(*labels).inc()
        self._inflight.labels(*labels).inc()
        try:
            yield
        finally:
            self._inflight.labels(*labels).dec()
