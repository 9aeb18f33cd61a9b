"""How busy are work queues, and who leads? As families of metrics, under the names that all upstream's parts have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric

from shim.api.timing import Histogram
from shim.client.workqueue import WorkQueue
from shim.codec.exposition import Labels, counters, gauges, histograms

_NAME = ("name",)


def of_queues(queues: Iterable[tuple[str, WorkQueue]]) -> Iterator[Metric]:
    """Of queues by their names."""
    known = list(queues)
    adds: dict[Labels, float] = {(name,): queue.adds for name, queue in known}
    retries: dict[Labels, float] = {(name,): queue.retries for name, queue in known}
    depth: dict[Labels, float] = {(name,): len(queue) for name, queue in known}
    waited: dict[Labels, Histogram] = {(name,): queue.waited for name, queue in known}
    worked: dict[Labels, Histogram] = {(name,): queue.worked for name, queue in known}
    unfinished: dict[Labels, float] = {}
    longest: dict[Labels, float] = {}
    for name, queue in known:
        under_way = queue.under_way()
        unfinished[(name,)], longest[(name,)] = sum(under_way), max(under_way, default=0)
    yield counters("workqueue_adds", "Keys that were added to a queue.", _NAME, adds)
    yield counters("workqueue_retries", "Keys that were added again because work on them failed.", _NAME, retries)
    yield gauges("workqueue_depth", "Keys that wait in a queue.", _NAME, depth)
    yield histograms("workqueue_queue_duration_seconds", "Time keys waited in a queue.", _NAME, waited)
    yield histograms("workqueue_work_duration_seconds", "Time it took to work on a key.", _NAME, worked)
    help = "Time that is spent already on keys that are being worked on."
    yield gauges("workqueue_unfinished_work_seconds", help, _NAME, unfinished)
    help = "Time that is spent already on the key that takes longest."
    yield gauges("workqueue_longest_running_processor_seconds", help, _NAME, longest)


def of_leadership(name: str, leads: bool) -> Iterator[Metric]:
    """Of one of several, of which one leads."""
    help = "1 while this one holds the lease of the name, 0 while it waits for it."
    yield gauges("leader_election_master_status", help, _NAME, {(name,): float(leads)})
