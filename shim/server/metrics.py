"""What has the server done, and how fast? Counts under the names of upstream's metrics, at /metrics.

A request only adds to numbers that are there already; samples are made of them when somebody asks. Labels are those of
resources that are served: a client that makes paths up cannot fill the memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from shim.admission.chain import Chain
from shim.api.timing import Histogram
from shim.api.version import GIT_VERSION, MAJOR, MINOR
from shim.server.inflight import Inflight
from shim.server.routes import RequestInfo, Routes
from shim.store.cache import Cache

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
SIZES = tuple(10.0**power for power in range(3, 10))

_VERBS = {"create": "POST", "update": "PUT", "head": "GET"}
_METHODS = frozenset("get list watch create update patch delete deletecollection head post put connect".split())
_CONNECT = ("attach", "exec", "portforward", "proxy", "log")
_WHAT = ("group", "version", "resource", "subresource", "scope", "component")

Labels = tuple[str, ...]


class Metrics(Collector):
    """Counts requests; reads off the other parts what they count themselves."""

    def __init__(self, cache: Cache, routes: Routes, chain: Chain, inflight: Inflight, database: Path) -> None:
        self._cache, self._routes, self._chain = cache, routes, chain
        self._inflight, self._database = inflight, database
        self._labels: dict[Labels, Labels] = {}
        self._requests: Counter[Labels] = Counter()
        self._durations: dict[Labels, Histogram] = {}
        self._sizes: dict[Labels, Histogram] = {}
        self._terminated: Counter[Labels] = Counter()
        self.long_running: Counter[Labels] = Counter()
        self.watch_events: Counter[Labels] = Counter()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    # --- counting -----------------------------------------------------------------------------------------------------

    def request(
        self, info: RequestInfo, code: int, seconds: float, size: int | None, *, apply: bool, dry: bool
    ) -> None:
        """One request is answered; ``seconds`` below zero: it was long-running, and is not timed."""
        labels = self.labels(info, apply)
        dry_run = "All" if dry else ""
        self._requests[*labels, dry_run, str(code)] += 1
        if seconds >= 0:
            key = (*labels, dry_run)
            durations = self._durations.get(key)
            if durations is None:
                durations = self._durations[key] = Histogram(SECONDS)
            durations.add(seconds)
        if size is not None and info.verb in ("get", "list"):
            sizes = self._sizes.get(labels)
            if sizes is None:
                sizes = self._sizes[labels] = Histogram(SIZES)
            sizes.add(size)

    def terminated(self, info: RequestInfo, code: int) -> None:
        """A request was ended in self-defence."""
        self._terminated[*self.labels(info), str(code)] += 1

    def labels(self, info: RequestInfo, apply: bool = False) -> Labels:
        """Verb, group, version, resource, subresource, scope and component."""
        if not info.resource:
            scope = ""
        elif info.name or info.verb == "create":
            scope = "resource"
        else:
            scope = "namespace" if info.namespace else "cluster"
        verb = "apply" if apply else info.verb
        key = (verb, info.group, info.version, info.resource, info.subresource, scope)
        found = self._labels.get(key)
        if found is not None:
            return found
        row = self._routes.get(info.group, info.version, info.resource)
        if info.subresource in _CONNECT:
            verb = "connect"
        verb = _VERBS.get(verb) or (verb.upper() if verb in _METHODS or apply else "OTHER")
        if row is None or (info.subresource and info.subresource not in row.subresources):
            return (verb, "", "", "", "", "", "apiserver")
        found = self._labels[key] = (verb, *key[1:], "apiserver")
        return found

    # --- telling ------------------------------------------------------------------------------------------------------

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Everything as the client library wants it."""
        yield _counters(
            "apiserver_request",
            "Counter of requests by verb, dry run, group, version, resource, subresource, scope, component and code.",
            ("verb", *_WHAT, "dry_run", "code"),
            self._requests,
        )
        yield _histograms(
            "apiserver_request_duration_seconds",
            "Response latency in seconds, long-running requests left out.",
            ("verb", *_WHAT, "dry_run"),
            self._durations,
        )
        yield _histograms("apiserver_response_sizes", "Response size in bytes.", ("verb", *_WHAT), self._sizes)
        yield _counters(
            "apiserver_request_terminations",
            "Number of requests which the server ended in self-defence.",
            ("verb", *_WHAT, "code"),
            self._terminated,
        )
        yield _gauges(
            "apiserver_longrunning_requests",
            "Long-running requests that are under way.",
            ("verb", *_WHAT),
            self.long_running,
        )
        yield _counters(
            "apiserver_watch_events",
            "Number of events sent to watchers.",
            ("group", "version", "resource"),
            self.watch_events,
        )
        kinds = self._inflight.classes.items()
        yield _gauges(
            "apiserver_current_inflight_requests",
            "Requests that are being answered, by kind.",
            ("request_kind",),
            {(kind,): seats.used for kind, seats in kinds},
        )
        yield _gauges(
            "apiserver_current_inqueue_requests",
            "Requests that wait to be answered, by kind.",
            ("request_kind",),
            {(kind,): seats.waiting for kind, seats in kinds},
        )
        yield from self._stored()
        yield _histograms(
            "apiserver_admission_controller_admission_duration_seconds",
            "Time an admission plugin took, by name, operation, type and whether it refused.",
            ("name", "type", "operation", "rejected"),
            self._chain.timings,
        )
        yield _gauges(
            "kubernetes_build_info",
            "Which Kubernetes this is.",
            ("git_version", "major", "minor"),
            {(GIT_VERSION, str(MAJOR), str(MINOR)): 1},
        )

    def _stored(self) -> Iterator[Metric]:
        """The store, which stands where upstream has etcd."""
        counts: dict[Labels, float] = {
            (row.group, row.name): self._cache.count(row.prefix)
            for row in self._routes.resources
            if "list" in row.verbs and row.storage is None
        }
        yield _gauges("apiserver_resource_objects", "Stored objects.", ("group", "resource"), counts)
        by_name: dict[Labels, float] = {
            (f"{name}.{group}" if group else name,): count for (group, name), count in counts.items()
        }
        yield _gauges("apiserver_storage_objects", "Stored objects.", ("resource",), by_name)
        size = self._database.stat().st_size if self._database.exists() else 0
        help = "Size of the store's file in bytes."
        yield _gauges("apiserver_storage_size_bytes", help, ("storage_cluster_id",), {("store-0",): size})
        yield _gauges("apiserver_storage_db_total_size_in_bytes", help, ("endpoint",), {("store-0",): size})
        timings: dict[Labels, Histogram] = {
            (operation, *self._resource(prefix)): found for (operation, prefix), found in self._cache.timings.items()
        }
        yield _histograms(
            "etcd_request_duration_seconds",
            "Time a request to the store took, by operation and resource.",
            ("operation", "group", "resource"),
            timings,
        )
        yield _counters(
            "etcd_requests",
            "Number of requests to the store.",
            ("operation", "group", "resource"),
            {labels: sum(found.counts) for labels, found in timings.items()},
        )

    def _resource(self, bucket: str) -> tuple[str, str]:
        try:
            row = self._routes.of_key(bucket)
        except (KeyError, ValueError):
            return "", bucket.strip("/").rpartition("/")[2]
        return row.group, row.name


def _counters(name: str, help: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    family = CounterMetricFamily(name, help, labels=labels)  # the library appends _total
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauges(name: str, help: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    family = GaugeMetricFamily(name, help, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histograms(name: str, help: str, labels: Labels, values: Mapping[Labels, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, help, labels=labels)
    for key, found in values.items():
        family.add_metric(key, buckets=found.buckets(), sum_value=found.total)
    return family
