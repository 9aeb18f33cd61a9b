"""The proxy's figures under kube-proxy's names."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from netproxy.rules.family import Ruleset

DOUBLING = tuple(0.001 * 2**n for n in range(15))  # 1 ms to 16 s
PROGRAMMING = (0.25, 0.5, *range(1, 60), *range(60, 120, 5), *range(120, 301, 30))  # seconds


class Metrics:
    """Counters of one proxy."""

    CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        family = ["ip_family"]
        self._sync = Histogram(
            "kubeproxy_sync_proxy_rules_duration_seconds",
            "Time from seeing a change to its rules being in the kernel",
            family,
            buckets=DOUBLING,
            registry=registry,
        ).labels("IPv4")
        self._programming = Histogram(
            "kubeproxy_network_programming_duration_seconds",
            "Time from a pod's or Service's change to its rules being in the kernel",
            family,
            buckets=PROGRAMMING,
            registry=registry,
        ).labels("IPv4")
        self._last = Gauge(
            "kubeproxy_sync_proxy_rules_last_timestamp_seconds", "When rules were last written", family,
            registry=registry,
        ).labels("IPv4")  # fmt: skip
        self._failed = Counter(
            "kubeproxy_sync_proxy_rules_iptables_restore_failures_total", "Writes that the kernel refused", family,
            registry=registry,
        ).labels("IPv4")  # fmt: skip
        self._rules = Gauge(
            "kubeproxy_sync_proxy_rules_iptables_total", "Rules by table", ["table", *family], registry=registry
        )
        self._asked = Counter("kubeproxy_proxy_healthz_total", "Answers about health", ["code"], registry=registry)

    def written(self, seconds: float, rules: Ruleset, triggers: Iterable[str]) -> None:
        """Rules are in the kernel. ``triggers`` are the times (RFC 3339) of the changes they are the answer to."""
        now = time.time()
        self._sync.observe(seconds)
        self._last.set(now)
        for table, chains in rules.items():
            self._rules.labels(table, "IPv4").set(sum(map(len, chains.values())))
        for trigger in triggers:
            self._programming.observe(max(0.0, now - datetime.datetime.fromisoformat(trigger).timestamp()))

    def refused(self) -> None:
        """The kernel did not take a write."""
        self._failed.inc()

    def health_asked(self, code: int) -> None:
        """Somebody asked how the proxy is."""
        self._asked.labels(str(code)).inc()

    def text(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self._registry)
