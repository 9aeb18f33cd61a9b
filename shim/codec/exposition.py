"""Numbers that are there become what Prometheus reads: families of samples, under upstream's names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from shim.api.timing import Histogram

Labels = tuple[str, ...]
MEDIA = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

_BARE = re.compile(
    rb"\b(authentication_attempts|authenticated_user_requests"
    rb"|apiserver_admission_webhook_(?:rejection|fail_open)_count|apiextensions_openapi_v[23]_regeneration_count"
    rb"|kubelet_evictions)_total\b"
)
"""Counters whose names upstream has without the ending that the library gives to all."""


class Families(Collector):
    """Families that are made whenever somebody asks."""

    def __init__(self, make: Callable[[], Iterable[Metric]]) -> None:
        self._make = make

    def collect(self) -> Iterable[Metric]:
        return self._make()


def text_of(registry: CollectorRegistry) -> bytes:
    """All families as text."""
    return _BARE.sub(rb"\1", generate_latest(registry))


def text_of_families(families: Iterable[Metric]) -> bytes:
    """Families that somebody has made, as text."""
    registry = CollectorRegistry()
    registry.register(Families(lambda: families))
    return text_of(registry)


def counters(name: str, help: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    family = CounterMetricFamily(name, help, labels=labels)  # the library appends _total
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def gauges(name: str, help: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    family = GaugeMetricFamily(name, help, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def histograms(name: str, help: str, labels: Labels, values: Mapping[Labels, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, help, labels=labels)
    for key, found in values.items():
        family.add_metric(key, buckets=found.buckets(), sum_value=found.total)
    return family


def summaries(name: str, help: str, labels: Labels, values: Mapping[Labels, Histogram]) -> Metric:
    """Of each how many values there were, and their sum."""
    family = SummaryMetricFamily(name, help, labels=labels)
    for key, found in values.items():
        family.add_metric(key, found.count, found.total)
    return family
