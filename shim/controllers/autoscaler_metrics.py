"""How many pods would make the usage what is wanted? From what pods use, and what they asked for. Pure.

Pods that are not ready, or of which nothing is known, never decide which way it goes: they are taken to use nothing
when it would go up, and all that they may when it would go down.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from shim.api import conditions, quantity
from shim.api.meta import Object, parse_time
from shim.controllers.pod_readiness import is_deleted, is_ready, phase

MOST = 2**31 - 1
TOLERANCE = 0.1  # of the target: less is not worth a change
CPU_WARMUP = datetime.timedelta(minutes=5)  # while a pod starts, its CPU says nothing until it was ready for a while
READINESS_DELAY = datetime.timedelta(seconds=30)  # a pod that was never ready later than this has not begun to work


class NoMetrics(Exception):
    """The number cannot be told; the text is upstream's."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a pod (or one container of it) uses, in thousandths."""

    amount: int
    at: datetime.datetime
    window: datetime.timedelta


@dataclass(frozen=True, slots=True)
class Proposal:
    """How many pods there should be for one metric, and what is used now."""

    replicas: int
    usage: int  # thousandths, of a pod on average but for metrics that are compared as a whole
    utilization: int | None = None  # percent of the requests


@dataclass(frozen=True, slots=True)
class Tolerances:
    up: float = TOLERANCE
    down: float = TOLERANCE

    def allow(self, ratio: float) -> bool:
        """Whether this is near enough to the target."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


def measured(answers: Iterable[Object], resource: str, container: str = "") -> dict[str, Measured]:
    """PodMetrics by the names of pods, as far as they tell of the resource."""
    found = {}
    for answer in answers:
        containers = [each for each in answer["containers"] if container in ("", each["name"])]
        if containers and all(resource in each["usage"] for each in containers):
            amount = sum(quantity.parse(each["usage"][resource]).milli for each in containers)
            window = datetime.timedelta(seconds=_seconds(answer["window"]))
            found[answer["metadata"]["name"]] = Measured(amount, parse_time(answer["timestamp"]), window)
    return found


def by_utilization(
    pods: Sequence[Object],
    metrics: dict[str, Measured],
    resource: str,
    container: str,
    target: int,
    current: int,
    tolerances: Tolerances,
    at: datetime.datetime,
) -> Proposal:
    """For a target in percent of what pods asked for. Raises NoMetrics."""
    groups = _Groups.of(pods, metrics, resource, at)
    requests = {pod["metadata"]["name"]: request_of(pod, container, resource) for pod in pods}
    used = groups.used(metrics)

    def ratio(amounts: Mapping[str, int]) -> float:
        asked = sum(requests[name] for name in amounts if name in requests)
        if not asked:
            raise NoMetrics("no metrics returned matched known pods")
        return sum(amounts.values()) * 100 // asked / target

    def worst(name: str) -> int:
        return requests[name] * max(100, target) // 100

    replicas = _replicas(groups, used, ratio, worst, current, tolerances)
    asked = sum(requests[name] for name in used)
    utilization = sum(used.values()) * 100 // asked if asked else 0
    return Proposal(replicas, sum(used.values()) // len(used), utilization)


def by_average(
    pods: Sequence[Object],
    metrics: dict[str, Measured],
    resource: str,
    target: int,
    current: int,
    tolerances: Tolerances,
    at: datetime.datetime,
) -> Proposal:
    """For a target in thousandths a pod. Raises NoMetrics."""
    groups = _Groups.of(pods, metrics, resource, at)
    used = groups.used(metrics)

    def ratio(amounts: Mapping[str, int]) -> float:
        return sum(amounts.values()) // len(amounts) / target

    replicas = _replicas(groups, used, ratio, lambda name: target, current, tolerances)
    return Proposal(replicas, sum(used.values()) // len(used))


def by_value(pods: Sequence[Object], usage: int, target: int, current: int, tolerances: Tolerances) -> Proposal:
    """For one number that all pods together are to bring to the target. Raises NoMetrics."""
    ratio = usage / target
    if tolerances.allow(ratio):
        return Proposal(current, usage)
    if not pods:
        raise NoMetrics("unable to calculate ready pods: no pods returned by selector while calculating replica count")
    ready = sum(phase(pod) == "Running" and is_ready(pod) for pod in pods)
    return Proposal(min(math.ceil(ratio * ready), MOST), usage)


def by_share(usage: int, target: int, seen: int, tolerances: Tolerances) -> Proposal:
    """For one number of which each of the pods there are takes its share."""
    replicas = seen
    if not seen or not tolerances.allow(usage / (target * seen)):
        replicas = min(math.ceil(usage / target), MOST)
    return Proposal(replicas, math.ceil(usage / seen) if seen else usage)


def _replicas(
    groups: _Groups,
    used: Mapping[str, int],
    ratio: Callable[[Mapping[str, int]], float],
    worst: Callable[[str], int],
    current: int,
    tolerances: Tolerances,
) -> int:
    usage = ratio(used)
    rising_with_unready = bool(groups.unready) and usage > 1.0
    if not rising_with_unready and not groups.missing:
        return current if tolerances.allow(usage) else math.ceil(usage * groups.ready)
    assumed = dict(used)
    if usage < 1.0:
        assumed |= {name: worst(name) for name in groups.missing}
    elif usage > 1.0:
        assumed |= dict.fromkeys(groups.missing, 0)
    if rising_with_unready:
        assumed |= dict.fromkeys(groups.unready, 0)
    careful = ratio(assumed)
    if tolerances.allow(careful) or (usage < 1.0 < careful) or (careful < 1.0 < usage):
        return current
    wanted = math.ceil(careful * len(assumed))
    turned = (careful < 1.0 and wanted > current) or (careful > 1.0 and wanted < current)
    return current if turned else wanted


@dataclass(slots=True)
class _Groups:
    """Pods by what can be said of them."""

    ready: int
    unready: set[str]
    missing: set[str]
    ignored: set[str]

    @classmethod
    def of(
        cls, pods: Sequence[Object], metrics: Mapping[str, Measured], resource: str, at: datetime.datetime
    ) -> _Groups:
        if not pods:
            raise NoMetrics("no pods returned by selector while calculating replica count")
        groups = cls(0, set(), set(), set())
        for pod in pods:
            name = pod["metadata"]["name"]
            if is_deleted(pod) or phase(pod) == "Failed":
                groups.ignored.add(name)
            elif phase(pod) == "Pending":
                groups.unready.add(name)
            elif name not in metrics:
                groups.missing.add(name)
            elif resource == "cpu" and _warms_up(pod, metrics[name], at):
                groups.unready.add(name)
            else:
                groups.ready += 1
        return groups

    def used(self, metrics: Mapping[str, Measured]) -> dict[str, int]:
        """What counts. Raises NoMetrics."""
        found = {name: each.amount for name, each in metrics.items() if name not in self.ignored | self.unready}
        if not found:
            raise NoMetrics("did not receive metrics for targeted pods (pods might be unready)")
        return found


def _warms_up(pod: Object, metric: Measured, at: datetime.datetime) -> bool:
    ready, started = conditions.find(pod, "Ready"), (pod.get("status") or {}).get("startTime")
    if ready is None or started is None:
        return True
    began, changed = parse_time(started), parse_time(ready["lastTransitionTime"])
    if began + CPU_WARMUP > at:
        return not is_ready(pod) or metric.at < changed + metric.window
    return not is_ready(pod) and began + READINESS_DELAY > changed


def request_of(pod: Object, container: str, resource: str) -> int:
    """What the pod, or one container of it, asked for, in thousandths. Raises NoMetrics."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    whole = (spec.get("resources") or {}).get("requests")
    if whole and not container:
        if resource not in whole:
            raise NoMetrics(f"missing pod-level request for {resource} in Pod {name}")
        return quantity.parse(whole[resource]).milli
    beside = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    counted = [each for each in (*spec["containers"], *beside) if container in ("", each["name"])]
    if not counted:
        raise NoMetrics(f"container {container} not found in Pod {name}")
    total = 0
    for each in counted:
        asked = ((each.get("resources") or {}).get("requests") or {}).get(resource)
        if asked is None:
            raise NoMetrics(f"missing request for {resource} in container {each['name']} of Pod {name}")
        total += quantity.parse(asked).milli
    return total


def _seconds(window: str) -> float:
    """A duration as metrics servers write it: ``15.2s``, ``1m0s``."""
    minutes, found, seconds = window.rpartition("m")
    return (float(minutes) * 60 if found and minutes else 0.0) + float(seconds.removesuffix("s") or 0)
