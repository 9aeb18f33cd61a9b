"""What other parts have counted by themselves, as families of /metrics: store and cache, admission, the process.

Nothing here is done while a request is answered: the parts' numbers are read when somebody asks for the metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit

from prometheus_client.core import Metric

from shim.admission.chain import Chain
from shim.api import conditions
from shim.api.keys import prefix_of
from shim.api.timing import Histogram
from shim.api.version import GIT_VERSION, MAJOR, MINOR
from shim.cel import timing
from shim.codec.exposition import Labels, counters, gauges, histograms, summaries, text_of_families
from shim.resources.bootstrap.api_services import API_SERVICES
from shim.server.routes import Routes
from shim.server.watch import Watched
from shim.store.cache import Cache

_JUDGED = ("request_operation", "resource", "subresource")
_OF_ADMISSION: dict[str, tuple[str, Labels]] = {
    "apiserver_admission_webhook_request": (
        "Requests to webhooks, by the code they came to.",
        ("name", "type", "operation", "code", "rejected"),
    ),
    "apiserver_admission_webhook_rejection_count": (
        "Requests refused by a webhook, or because it could not be asked.",
        ("name", "type", "operation", "error_type", "rejection_code"),
    ),
    "apiserver_admission_webhook_fail_open_count": (
        "Requests that were let through because a webhook could not be asked.",
        ("name", "type"),
    ),
    "apiserver_admission_webhook_admission_duration_seconds": (
        "Time webhooks took.",
        ("name", "type", "operation", "rejected"),
    ),
    "apiserver_validating_admission_policy_check": (
        "Requests that validating policies judged, by what was done about it.",
        ("policy", "policy_binding", "error_type", "enforcement_action"),
    ),
    "apiserver_validating_admission_policy_check_duration_seconds": (
        "Time validating policies took.",
        ("policy", "policy_binding", "error_type", "enforcement_action"),
    ),
    "apiserver_mutating_admission_policy_check": (
        "Requests that mutating policies looked at.",
        ("policy", "policy_binding", "error_type"),
    ),
    "apiserver_mutating_admission_policy_check_duration_seconds": (
        "Time mutating policies took.",
        ("policy", "policy_binding", "error_type"),
    ),
    "pod_security_evaluations": (
        "Pods, and what makes pods, that were held against a standard for pods.",
        ("decision", "policy_level", "policy_version", "mode", *_JUDGED),
    ),
    "pod_security_errors": ("What kept pods from being judged as they should.", ("fatal", *_JUDGED)),
}
_RESOURCE = ("group", "resource")


def of_admission(chain: Chain) -> Iterator[Metric]:
    """How long admission took, and what plugins count of their own."""
    yield histograms(
        "apiserver_admission_controller_admission_duration_seconds",
        "Time an admission plugin took, by name, operation, type and whether it refused.",
        ("name", "type", "operation", "rejected"),
        chain.timings,
    )
    yield histograms(
        "apiserver_admission_step_admission_duration_seconds",
        "Time all admission plugins took together, by operation, type and whether one refused.",
        ("type", "operation", "rejected"),
        chain.steps,
    )
    yield summaries(
        "apiserver_admission_step_admission_duration_seconds_summary",
        "The same without its distribution.",
        ("type", "operation", "rejected"),
        chain.steps,
    )
    counted: dict[str, dict[Labels, float]] = {}
    for name, values in chain.counts():
        counted.setdefault(name, {}).update(values)
    for name, numbers in counted.items():
        yield counters(name, *_OF_ADMISSION[name], numbers)
    timed: dict[str, dict[Labels, Histogram]] = {}
    for name, durations in chain.durations():
        timed.setdefault(name, {}).update(durations)
    for name, found in timed.items():
        yield histograms(name, *_OF_ADMISSION[name], found)


def of_expressions() -> Iterator[Metric]:
    """How long it took to compile and run expressions."""
    for name, found, help in (
        ("compilation", timing.COMPILATION, "Time it took to compile an expression."),
        ("evaluation", timing.EVALUATION, "Time it took to run an expression."),
    ):
        yield histograms(f"apiserver_cel_{name}_duration_seconds", help, (), {(): found})


def of_watches(watched: Watched) -> Iterator[Metric]:
    """Events sent to watchers, and their sizes."""
    kind = ("group", "version", "resource")
    sent = {labels: sum(found.counts) for labels, found in watched.sizes.items()}
    yield counters("apiserver_watch_events", "Number of events sent to watchers.", kind, sent)
    yield histograms("apiserver_watch_events_sizes", "Sizes of events sent to watchers.", kind, watched.sizes)
    initial: dict[Labels, float] = {}
    for (group, _, name), count in watched.initial.items():
        initial[group, name] = initial.get((group, name), 0) + count
    yield counters("apiserver_init_events", "Events about what was there when a watch began.", _RESOURCE, initial)
    yield histograms(
        "apiserver_watch_list_duration_seconds",
        "Time until a watch had told what was there when it began.",
        (*kind, "scope"),
        watched.began,
    )


def of_api_services(cache: Cache) -> Iterator[Metric]:
    """Which extension servers cannot be asked."""
    found: dict[Labels, float] = {}
    for entry in cache.range(prefix_of(API_SERVICES.group, API_SERVICES.resource)):
        there = conditions.is_true(entry.decode(), "Available")
        found[(entry.key.rpartition("/")[2],)] = 0 if there else 1
    help = "1 for an APIService whose server cannot be asked, otherwise 0."
    yield gauges("aggregator_unavailable_apiservice", help, ("name",), found)


class OfStore:
    """The store, which stands where upstream has etcd, and the cache in front of it."""

    def __init__(self, cache: Cache, routes: Routes, database: Path) -> None:
        self._cache, self._routes, self._database = cache, routes, database

    def collect(self) -> Iterator[Metric]:
        counts: dict[Labels, float] = {
            (row.group, row.name): self._cache.count(row.prefix)
            for row in self._routes.resources
            if "list" in row.verbs and row.storage is None
        }
        yield gauges("apiserver_resource_objects", "Stored objects.", _RESOURCE, counts)
        by_name: dict[Labels, float] = {
            (f"{name}.{group}" if group else name,): count for (group, name), count in counts.items()
        }
        yield gauges("apiserver_storage_objects", "Stored objects.", ("resource",), by_name)
        sizes: dict[Labels, float] = {}
        for prefix, number in self._cache.sizes():
            sizes[self._resource(prefix)] = number
        help = "Bytes of all objects, as they are stored."
        yield gauges("apiserver_resource_size_estimate_bytes", help, _RESOURCE, sizes)
        size = self._database.stat().st_size if self._database.exists() else 0
        help = "Size of the store's file in bytes."
        yield gauges("apiserver_storage_size_bytes", help, ("storage_cluster_id",), {("store-0",): size})
        yield gauges("apiserver_storage_db_total_size_in_bytes", help, ("endpoint",), {("store-0",): size})
        timings: dict[Labels, Histogram] = {
            (operation, *self._resource(prefix)): found for (operation, prefix), found in self._cache.timings.items()
        }
        yield histograms(
            "etcd_request_duration_seconds",
            "Time a request to the store took, by operation and resource.",
            ("operation", *_RESOURCE),
            timings,
        )
        yield counters(
            "etcd_requests",
            "Number of requests to the store.",
            ("operation", *_RESOURCE),
            {labels: sum(found.counts) for labels, found in timings.items()},
        )
        yield from self._cached()

    def _cached(self) -> Iterator[Metric]:
        """What has come from the store, and what lists have taken of it."""
        received: dict[Labels, float] = {}
        revisions: dict[Labels, float] = {}
        for prefix, number, last in self._cache.received():
            labels = self._resource(prefix)
            received[labels] = number
            if last:
                revisions[labels] = last
        for name, help in (
            ("apiserver_storage_events_received", "Changes that came from the store."),
            ("apiserver_watch_cache_events_received", "Changes that came into the cache."),
            ("apiserver_watch_cache_events_dispatched", "Changes that were offered to watchers."),
        ):
            yield counters(name, help, _RESOURCE, received)
        once: dict[Labels, float] = dict.fromkeys(received, 1)
        yield counters("apiserver_watch_cache_initializations", "Times the cache was filled.", _RESOURCE, once)
        help = "Revision of the last change in the cache."
        yield gauges("apiserver_watch_cache_resource_version", help, _RESOURCE, revisions)
        lists: dict[str, dict[Labels, float]] = {"total": {}, "fetched": {}, "returned": {}}
        for (what, prefix), number in self._cache.lists.items():
            lists[what][self._resource(prefix)] = number
        indexed: Labels = ("group", "index", "resource")
        for name, what in (("list", "total"), ("list_fetched_objects", "fetched")):
            values: dict[Labels, float] = {
                (labels[0], "", labels[1]): number
                for labels, number in lists[what].items()  # there are no indexes
            }
            yield counters(f"apiserver_cache_{name}", "Lists, and the objects looked at for them.", indexed, values)
        help = "Objects that lists have returned."
        yield counters("apiserver_cache_list_returned_objects", help, _RESOURCE, lists["returned"])
        yield from self._past_the_cache()
        read: dict[Labels, float] = {
            (*self._resource(prefix), "true", "false"): number for prefix, number in self._cache.consistent.items()
        }
        help = "Lists of the newest there is, which the cache has answered."
        known = (*_RESOURCE, "success", "fallback")
        yield counters("apiserver_watch_cache_consistent_read", help, known, read)
        waits: dict[Labels, Histogram] = {
            self._resource(prefix): found for (prefix,), found in self._cache.waits.items()
        }
        help = "Time readers waited until the cache had what they must see."
        yield histograms("apiserver_watch_cache_read_wait_seconds", help, _RESOURCE, waits)

    def _past_the_cache(self) -> Iterator[Metric]:
        """Lists of what memory no longer knows: all that is fetched for them is looked at, and handed on."""
        found: dict[str, dict[Labels, float]] = {"total": {}, "fetched": {}}
        for (what, prefix), number in self._cache.stored_lists.items():
            found[what][self._resource(prefix)] = number
        for name, help, what in (
            ("list", "Lists that were read from the store.", "total"),
            ("list_fetched_objects", "Objects that were read from the store for lists.", "fetched"),
            ("list_evaluated_objects", "Objects of these that were looked at.", "fetched"),
            ("list_returned_objects", "Objects of these that were handed on.", "fetched"),
        ):
            yield counters(f"apiserver_storage_{name}", help, _RESOURCE, found[what])

    def _resource(self, bucket: str) -> tuple[str, str]:
        try:
            row = self._routes.of_key(bucket)
        except (KeyError, ValueError):
            return "", bucket.strip("/").rpartition("/")[2]
        return row.group, row.name


def checks_text(results: Iterable[tuple[str, str, int]]) -> bytes:
    """/metrics/slis: of every check of health, whether it passes."""
    values: dict[Labels, float] = {(name, type): passed for name, type, passed in results}
    help = "The result of a check of health."
    return text_of_families([gauges("kubernetes_healthcheck", help, ("name", "type"), values)])


def of_process() -> Iterator[Metric]:
    """What the library's collector of processes leaves out."""
    limit = getrlimit(RLIMIT_AS)[0]
    most = float(limit if limit != RLIM_INFINITY else 2**64 - 1)
    yield gauges("process_virtual_memory_max_bytes", "Most virtual memory the process may have.", (), {(): most})
    received, sent = _network()
    help = "Bytes this machine's network has carried."
    yield counters("process_network_receive_bytes", help, (), {(): received})
    yield counters("process_network_transmit_bytes", help, (), {(): sent})
    yield gauges(
        "kubernetes_build_info",
        "Which Kubernetes this is.",
        ("git_version", "major", "minor"),
        {(GIT_VERSION, str(MAJOR), str(MINOR)): 1},
    )
    version = f"{MAJOR}.{MINOR}"
    yield gauges(
        "version_info",
        "Which version is served, and the oldest it works with.",
        ("binary", "component", "emulation", "min_compat"),
        {(version, "kube", version, f"{MAJOR}.{MINOR - 1}"): 1},
    )


def _network() -> tuple[int, int]:
    """Octets in and out of the process's network namespace: ``/proc/self/net/netstat``, the lines IpExt."""
    lines = [line.split() for line in Path("/proc/self/net/netstat").read_text().splitlines()]
    ip = [line[1:] for line in lines if line[0] == "IpExt:"]
    found = dict(zip(ip[0], map(int, ip[1]), strict=True)) if len(ip) == 2 else {}
    return found.get("InOctets", 0), found.get("OutOctets", 0)
