"""Is the server well, and what is it? /healthz, /livez, /readyz, /version and /metrics."""

from __future__ import annotations

import platform
import sys
import time

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from shim.api.version import GIT_VERSION, MAJOR, MINOR
from shim.server.options import Query
from shim.server.responses import plain, respond
from shim.server.routes import RequestInfo

_CHECKS = {
    "/healthz": ("ping", "log", "etcd", "poststarthook/rbac/bootstrap-roles"),
    "/livez": ("ping", "log", "etcd", "poststarthook/rbac/bootstrap-roles"),
    "/readyz": ("ping", "log", "etcd", "informer-sync", "poststarthook/rbac/bootstrap-roles", "shutdown"),
}
"""Names of upstream's checks that have something to check here; ``etcd`` is the store."""

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health:
    """Answers about health. ``store_error`` and ``stopping`` are set by who knows."""

    def __init__(self) -> None:
        self.stopping = False
        self.store_failed = False

    def answer(self, path: str, query: Query) -> web.Response | None:
        """The answer at a path of health, or None for any other path."""
        root, _, check = path.strip("/").partition("/")
        checks = _CHECKS.get(f"/{root}")
        if checks is None:
            return None
        if check and check not in checks:
            return None
        excluded = set(query.get("exclude", ()))
        failed = self._failed() - excluded
        wanted = (check,) if check else checks
        lines = [
            f"[+]{name} excluded: ok"
            if name in excluded
            else f"[{'-' if name in failed else '+'}]{name} " + ("failed: reason withheld" if name in failed else "ok")
            for name in wanted
        ]
        broken = failed & set(wanted)
        if broken:
            return plain("\n".join([*lines, f"{root} check failed", ""]), 500)
        if "verbose" in query:
            return plain("\n".join([*lines, f"{root} check passed", ""]))
        return plain("ok")

    def _failed(self) -> set[str]:
        return ({"etcd"} if self.store_failed else set()) | ({"shutdown"} if self.stopping else set())


def version() -> web.Response:
    """/version: which Kubernetes this is, and what it runs on."""
    fields = {
        "major": str(MAJOR),
        "minor": str(MINOR),
        "emulationMajor": str(MAJOR),
        "emulationMinor": str(MINOR),
        "minCompatibilityMajor": str(MAJOR),
        "minCompatibilityMinor": str(MINOR - 1),
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": sys.implementation.name,
        "platform": f"linux/{'arm64' if platform.machine() == 'aarch64' else 'amd64'}",
    }
    return respond(orjson.dumps(fields))


class Metrics:
    """A few of upstream's metrics, under its names."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "apiserver_request",  # the library appends _total
            "Counter of apiserver requests broken out for each verb, group, version, resource, scope and HTTP code.",
            ("verb", "group", "version", "resource", "subresource", "code"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "apiserver_request_duration_seconds",
            "Response latency distribution in seconds for each verb, group, version and resource.",
            ("verb", "group", "version", "resource"),
            buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0),
            registry=self.registry,
        )
        self.watchers = Gauge("apiserver_longrunning_requests", "Open watches.", registry=self.registry)
        self.objects = Gauge(
            "apiserver_resource_objects", "Stored objects by resource.", ("group", "resource"), registry=self.registry
        )
        build = Gauge("kubernetes_build_info", "Build.", ("git_version", "major", "minor"), registry=self.registry)
        build.labels(GIT_VERSION, str(MAJOR), str(MINOR)).set(1)
        ProcessCollector(registry=self.registry)
        self._known: dict[tuple[str, ...], tuple[Counter, Histogram]] = {}

    def count(self, info: RequestInfo, code: int, began: float) -> None:
        """One request is answered. Watches are counted, not timed."""
        key = (info.verb.upper(), info.group, info.version, info.resource, info.subresource, str(code))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = (self._requests.labels(*key), self._seconds.labels(*key[:4]))
        found[0].inc()
        if info.verb != "watch":
            found[1].observe(time.perf_counter() - began)

    def text(self) -> bytes:
        return generate_latest(self.registry)
