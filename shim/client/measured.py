"""How busy are work queues, what was asked, and who leads? As families of metrics, under the names that all upstream's
parts have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric

from shim.api.timing import Histogram, Histograms
from shim.client.workqueue import WorkQueue
from shim.codec.exposition import Labels, counters, gauges, histograms

_NAME = ("name",)
_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60)
_SIZES = (64, 256, 512, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 512 << 10, 1 << 20, 4 << 20, 16 << 20)


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


class Requests:
    """Requests that this process has sent, by method and host, and what they were answered."""

    def __init__(self) -> None:
        self._answers: Counter[Labels] = Counter()
        self._seconds = Histograms(_SECONDS)
        self._sent, self._received = Histograms(_SIZES), Histograms(_SIZES)

    def add(self, method: str, host: str, code: int, seconds: float, sent: int, received: int) -> None:
        """One was answered."""
        verb = method, host
        self._answers[str(code), method, host] += 1
        self._seconds[verb].add(seconds)
        self._sent[verb].add(sent)
        self._received[verb].add(received)

    def collect(self) -> Iterator[Metric]:
        yield counters("rest_client_requests", "Requests by code.", ("code", "method", "host"), self._answers)
        of = ("verb", "host")
        yield histograms("rest_client_request_duration_seconds", "Time until the whole answer.", of, self._seconds)
        yield histograms("rest_client_request_size_bytes", "Size of requests' bodies.", of, self._sent)
        yield histograms("rest_client_response_size_bytes", "Size of answers.", of, self._received)


REQUESTS = Requests()
"""Of this process: of a controller to the API server, of the API server to webhooks."""
