"""What has the server done, and how fast? Counts under the names of upstream's metrics, at /metrics.

A request only adds to numbers that are there already; samples are made of them when somebody asks. Labels are those of
resources that are served: a client that makes paths up cannot fill the memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from shim.admission.chain import Chain
from shim.api.timing import Histogram, Histograms
from shim.client.measured import REQUESTS
from shim.codec.exposition import MEDIA, Labels, counters, gauges, histograms, text_of
from shim.server.metric_sources import OfStore, of_admission, of_api_services, of_expressions, of_process, of_watches
from shim.server.routes import RequestInfo, Routes
from shim.server.watch import Watched
from shim.store.cache import Cache

__all__ = ["MEDIA", "Metrics"]

SECONDS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
SIZES = tuple(10.0**power for power in range(3, 10))

BODIES = tuple(50_000 + 100_000 * step for step in range(31))
IDENTITY = tuple(0.001 * 2**power for power in range(15))
FILTERS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 5, 10, 15, 30)
_FINE = tuple(sorted({*IDENTITY, *FILTERS}))

_SUCCESS, _FAILURE = "success", ("failure", "")
_ALLOWED, _DENIED = ("allowed",), ("denied",)
_USERS = frozenset(("admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"))
_VERBS = {"create": "POST", "update": "PUT", "head": "GET"}
_METHODS = frozenset("get list watch create update patch delete deletecollection head post put connect".split())
_CONNECT = ("attach", "exec", "portforward", "proxy", "log")
_WHAT = ("group", "version", "resource", "subresource", "scope", "component")

Crowds = Callable[[], Mapping[str, tuple[int, int]]]
"""How many requests are executing and waiting, by kind."""


class Tally:
    """What requests of one kind (of the same labels) have come to."""

    __slots__ = ("count", "seconds", "sizes")

    def __init__(self) -> None:
        self.count = 0
        self.seconds, self.sizes = Histogram(SECONDS), Histogram(SIZES)


class Metrics(Collector):
    """Counts requests; reads off the other parts what they count themselves."""

    def __init__(self, cache: Cache, routes: Routes, chain: Chain, crowds: Crowds, database: Path) -> None:
        self._routes, self._chain, self._crowds = routes, chain, crowds
        self._cache, self._store = cache, OfStore(cache, routes, database)
        self._labels: dict[Labels, Labels] = {}
        self._served: set[Labels] = set()
        """The values of that: of what is served, of which there is only so much."""
        self._tallies: dict[tuple[Labels, bool, int], Tally] = {}
        """Requests by their labels, whether they were dry runs, and the code they were answered with."""
        self._lately: dict[tuple[Any, ...], Tally] = {}
        """The same ones, by what is at hand while a request is answered."""
        self._bodies = Histograms(BODIES)
        self._validations = Histograms(SECONDS[2:])
        self._terminated: Counter[Labels] = Counter()
        self._aborted: Counter[Labels] = Counter()
        self._authentications = Histograms(_FINE)
        self._authorizations = Histograms(_FINE)
        self.long_running: Counter[Labels] = Counter()
        self.deprecated: dict[Labels, float] = {}
        """Deprecated APIs that were asked for: group, version, resource, subresource and the release without them."""
        self.watched = Watched()
        self.sources: list[Callable[[], Iterable[Metric]]] = []
        """What others have to tell: asked with every question."""
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    # --- counting -----------------------------------------------------------------------------------------------------

    def request(
        self, info: RequestInfo, code: int, seconds: float, size: int | None, *, apply: bool, dry: bool
    ) -> None:
        """One request is answered; ``seconds`` below zero: it was long-running, and is not timed."""
        key = (info.verb, info.group, info.version, info.resource, info.subresource, _scope(info), apply, dry, code)
        tally = self._lately.get(key) or self._tally(key, info, apply, dry, code)
        tally.count += 1
        if seconds >= 0:
            tally.seconds.add(seconds)
        if size is not None and info.verb in ("get", "list"):
            tally.sizes.add(size)

    def _tally(self, key: tuple[Any, ...], info: RequestInfo, apply: bool, dry: bool, code: int) -> Tally:
        labels = self.labels(info, apply)
        tally = self._tallies.setdefault((labels, dry, code), Tally())
        if labels in self._served:
            self._lately[key] = tally
        return tally

    def body(self, info: RequestInfo, size: int, seconds: float, validation: str) -> None:
        """A request that wrote something had a body; ``validation``: of its fields, as it was asked for."""
        group, resource = self.labels(info)[1:4:2]
        self._bodies[group, resource, info.verb].add(size)
        if info.verb in ("create", "update", "patch"):
            self._validations[(validation,)].add(seconds)

    def aborted(self, info: RequestInfo) -> None:
        """A client left before it was answered."""
        self._aborted[self.labels(info)[:-1]] += 1

    def authenticated(self, user: str | None, seconds: float) -> None:
        """It is known who asks; None: their proof is no good."""
        self._authentications[_FAILURE if user is None else _category(user)].add(seconds)

    def authorized(self, allowed: bool, seconds: float) -> None:
        """It is known whether they may."""
        self._authorizations[_ALLOWED if allowed else _DENIED].add(seconds)

    def terminated(self, info: RequestInfo, code: int) -> None:
        """A request was ended in self-defence."""
        self._terminated[*self.labels(info), str(code)] += 1

    def labels(self, info: RequestInfo, apply: bool = False) -> Labels:
        """Verb, group, version, resource, subresource, scope and component."""
        verb = "apply" if apply else info.verb
        key = (verb, info.group, info.version, info.resource, info.subresource, _scope(info))
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
        self._served.add(found)
        return found

    # --- telling ------------------------------------------------------------------------------------------------------

    def text(self) -> bytes:
        return text_of(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Everything as the client library wants it."""
        yield counters(
            "apiserver_request",
            "Counter of requests by verb, dry run, group, version, resource, subresource, scope, component and code.",
            ("verb", *_WHAT, "dry_run", "code"),
            {(*labels, _dry(dry), str(code)): tally.count for (labels, dry, code), tally in self._tallies.items()},
        )
        durations, sizes = Histograms(SECONDS), Histograms(SIZES)
        for (labels, dry, _), tally in self._tallies.items():
            if tally.seconds.count:
                durations[*labels, _dry(dry)].take(tally.seconds)
            if tally.sizes.count:
                sizes[labels].take(tally.sizes)
        yield histograms(
            "apiserver_request_duration_seconds",
            "Response latency in seconds, long-running requests left out.",
            ("verb", *_WHAT, "dry_run"),
            durations,
        )
        yield histograms("apiserver_response_sizes", "Response size in bytes.", ("verb", *_WHAT), sizes)
        yield counters(
            "apiserver_request_terminations",
            "Number of requests which the server ended in self-defence.",
            ("verb", *_WHAT, "code"),
            self._terminated,
        )
        yield gauges(
            "apiserver_longrunning_requests",
            "Long-running requests that are under way.",
            ("verb", *_WHAT),
            self.long_running,
        )
        crowds = self._crowds()
        yield gauges(
            "apiserver_current_inflight_requests",
            "Requests that are being answered, by kind.",
            ("request_kind",),
            {(kind,): executing for kind, (executing, _) in crowds.items()},
        )
        yield gauges(
            "apiserver_current_inqueue_requests",
            "Requests that wait to be answered, by kind.",
            ("request_kind",),
            {(kind,): waiting for kind, (_, waiting) in crowds.items()},
        )
        yield from self._identities()
        yield from self._writes()
        for name in ("apiserver_request_sli_duration_seconds", "apiserver_request_slo_duration_seconds"):
            help = "Response latency in seconds, dry runs among them; what waits for webhooks is not taken off."
            yield histograms(name, help, ("verb", *_WHAT), _without_dry_run(durations))
        help = "Requests whose client left before it was answered."
        yield counters("apiserver_request_aborts", help, ("verb", *_WHAT[:-1]), self._aborted)
        yield gauges(
            "apiserver_requested_deprecated_apis",
            "Deprecated APIs that were asked for.",
            ("group", "version", "resource", "subresource", "removed_release"),
            self.deprecated,
        )
        yield from of_watches(self.watched)
        yield from of_api_services(self._cache)
        yield from self._store.collect()
        yield from of_admission(self._chain)
        yield from of_expressions()
        yield from REQUESTS.collect()
        yield from of_process()
        for source in self.sources:
            yield from source()

    def _identities(self) -> Iterator[Metric]:
        result = ("result",)
        results = Histograms(IDENTITY)
        users: dict[Labels, float] = {}
        for (success, user), found in self._authentications.items():
            results[(success,)].take(found.coarser(IDENTITY))
            if user:
                users[(user,)] = found.count
        attempts = {labels: found.count for labels, found in results.items()}
        yield counters("authentication_attempts", "Attempts to prove an identity.", result, attempts)
        help = "Time it took to know who asks."
        yield histograms("authentication_duration_seconds", help, result, results)
        yield counters("authenticated_user_requests", "Requests by kinds of users.", ("username",), users)
        verdicts = {labels: found.count for labels, found in self._authorizations.items()}
        yield counters("authorization_attempts", "Requests that were judged.", result, verdicts)
        help = "Time it took to know whether they may."
        judged = {labels: found.coarser(IDENTITY) for labels, found in self._authorizations.items()}
        yield histograms("authorization_duration_seconds", help, result, judged)
        filters = Histograms(FILTERS)
        for name, all in (("authentication", self._authentications), ("authorization", self._authorizations)):
            for found in all.values():
                filters[(name,)].take(found.coarser(FILTERS))
        help = "Time requests spent in what they must pass before they are answered."
        yield histograms("apiserver_request_filter_duration_seconds", help, ("filter",), filters)

    def _writes(self) -> Iterator[Metric]:
        of = ("group", "resource", "verb")
        yield histograms("apiserver_request_body_size_bytes", "Size of requests' bodies.", of, self._bodies)
        yield histograms(
            "field_validation_request_duration_seconds",
            "Response latency in seconds, by how fields were to be validated.",
            ("field_validation",),
            self._validations,
        )


def _scope(info: RequestInfo) -> str:
    if not info.resource:
        return ""
    if info.name or info.verb == "create":
        return "resource"
    return "namespace" if info.namespace else "cluster"


def _dry(dry: bool) -> str:
    return "All" if dry else ""


def _without_dry_run(durations: Histograms) -> Histograms:
    """Latencies in the fewer steps of service levels."""
    found = Histograms(SECONDS[2:])
    for (*labels, _), each in durations.items():
        found[tuple(labels)].take(each.coarser(found.bounds))
    return found


@lru_cache(maxsize=1024)
def _category(user: str) -> Labels:
    """A success, and users by kinds as upstream: a name is nobody's business, and there may be very many."""
    return _SUCCESS, user if user in _USERS else "email_id" if "@" in user else "other"
