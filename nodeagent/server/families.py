"""Metrics that are read when somebody asks for them, as families of samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from shim.api.meta import Object

_LISTS = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


Samples = Mapping[tuple[str, ...], float]
"""By the values of the labels."""


class Families:
    """Metric families as a collector."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def render(families: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry()
    registry.register(Families(families))
    return generate_latest(registry)


def one(name: str, help_: str, samples: Samples, labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def counted(name: str, help_: str, samples: Samples, labels: tuple[str, ...]) -> Metric:
    family = CounterMetricFamily(name, help_, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def statuses(pod: Object) -> Iterator[Object]:
    """Of all its containers."""
    for key in _LISTS:
        yield from (pod.get("status") or {}).get(key) or ()
