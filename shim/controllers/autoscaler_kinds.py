"""The five kinds of metrics an autoscaler can follow: what each asks, and the words in which it is told of."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from shim.api import quantity, selectors
from shim.api.meta import Object
from shim.controllers.autoscaler_metrics import (
    Measured,
    NoMetrics,
    Proposal,
    Tolerances,
    by_average,
    by_share,
    by_utilization,
    by_value,
)
from shim.controllers.autoscaler_sources import MetricsApis


@dataclass(frozen=True, slots=True)
class Target:
    """What is scaled: its pods, how many there should be by now, and how many it says there are."""

    namespace: str
    selector: str
    pods: list[Object]
    current: int
    seen: int
    tolerances: Tolerances


class Computed(NamedTuple):
    """What a metric asks for, in the status' words and in a sentence."""

    proposal: Proposal
    status: Object
    name: str


class Kind(NamedTuple):
    """``reason``: of a failure; ``failed``: what a summary of failures says of it, given the metric and the cause."""

    compute: Callable[[MetricsApis, Target, Object], Awaitable[Computed]]
    reason: str
    failed: Callable[[Object, str], str]


async def _resource(apis: MetricsApis, target: Target, metric: Object) -> Computed:
    kind = metric["type"]
    field = "resource" if kind == "Resource" else "containerResource"
    source = metric[field]
    resource, container, goal = source["name"], source.get("container", ""), source["target"]
    try:
        found = await apis.resource(target.namespace, target.selector, resource, container)
        proposal = _propose(target, found, resource, container, goal)
    except NoMetrics as error:
        wanted = "utilization" if goal.get("averageValue") is None else "usage"
        raise NoMetrics(f"failed to get {resource} {wanted}: {error}") from error
    current: Object = {"averageValue": _text(proposal.usage, "BinarySI" if resource == "memory" else "DecimalSI")}
    name = f"{resource} resource"
    if proposal.utilization is not None:
        current["averageUtilization"] = proposal.utilization
        part = "container resource" if container else "resource"
        name = f"{resource} {part} utilization (percentage of request)"
    named = {name: source[name] for name in ("name", "container") if source.get(name)}
    return Computed(proposal, {"type": kind, field: {**named, "current": current}}, name)


def _propose(target: Target, found: dict[str, Measured], resource: str, container: str, goal: Object) -> Proposal:
    at = datetime.datetime.now(datetime.UTC)
    if goal.get("averageValue") is not None:
        wanted = _milli(goal["averageValue"])
        return by_average(target.pods, found, resource, wanted, target.current, target.tolerances, at)
    percent = int(goal["averageUtilization"])
    return by_utilization(target.pods, found, resource, container, percent, target.current, target.tolerances, at)


async def _pods(apis: MetricsApis, target: Target, metric: Object) -> Computed:
    source = metric["pods"]
    named, name = source["metric"], source["metric"]["name"]
    found = await apis.pods(target.namespace, target.selector, name, _selector(named))
    wanted, at = _milli(source["target"]["averageValue"]), datetime.datetime.now(datetime.UTC)
    proposal = by_average(target.pods, found, "", wanted, target.current, target.tolerances, at)
    status = {"metric": named, "current": {"averageValue": _text(proposal.usage)}}
    return Computed(proposal, {"type": "Pods", "pods": status}, f"pods metric {name}")


async def _object(apis: MetricsApis, target: Target, metric: Object) -> Computed:
    source = metric["object"]
    named, described = source["metric"], source["describedObject"]
    usage = await apis.object(target.namespace, described, named["name"], _selector(named))
    proposal, current = _compare(target, usage, source["target"])
    status = {"metric": named, "current": current, "describedObject": described}
    name = f"{described['kind']} metric {named['name']}"
    if "averageValue" in current:
        name = _external_name(named)  # upstream's word for both
    return Computed(proposal, {"type": "Object", "object": status}, name)


async def _external(apis: MetricsApis, target: Target, metric: Object) -> Computed:
    source = metric["external"]
    named = source["metric"]
    shown = selectors.go_text(named.get("selector"))
    usage = await apis.external(target.namespace, named["name"], _selector(named), shown)
    proposal, current = _compare(target, usage, source["target"])
    return Computed(
        proposal, {"type": "External", "external": {"metric": named, "current": current}}, _external_name(named)
    )


def _compare(target: Target, usage: int, goal: Object) -> tuple[Proposal, Object]:
    """For a metric that is not of the pods: as a whole, or as each pod's share; and what is used now."""
    if goal.get("averageValue") is not None:
        proposal = by_share(usage, _milli(goal["averageValue"]), target.seen, target.tolerances)
        return proposal, {"averageValue": _text(proposal.usage)}
    proposal = by_value(target.pods, usage, _milli(goal["value"]), target.current, target.tolerances)
    return proposal, {"value": _text(proposal.usage)}


def _external_name(named: Object) -> str:
    return f"external metric {named['name']}({selectors.go_text(named.get('selector'))})"


def _selector(named: Object) -> str:
    return str(selectors.from_object(named.get("selector")))


def _milli(text: object) -> int:
    return quantity.parse(str(text)).milli


def _text(milli: int, form: str = "DecimalSI") -> str:
    return str(quantity.Quantity(milli * 10**6, form))


def _object_failed(metric: Object, cause: str) -> str:
    if metric["object"]["target"].get("averageValue") is not None:
        cause = f"failed to get {metric['object']['metric']['name']} object metric: {cause}"
    return f"failed to get object metric value: {cause}"


def _external_failed(metric: Object, cause: str) -> str:
    name = metric["external"]["metric"]["name"]
    average = metric["external"]["target"].get("averageValue") is not None
    inner = f"{name} external metric" if average else f"external metric {name}"
    return f"failed to get {name} external metric value: failed to get {inner}: {cause}"


KINDS: dict[str, Kind] = {
    "Resource": Kind(
        _resource,
        "FailedGetResourceMetric",
        lambda metric, cause: f"failed to get {metric['resource']['name']} resource metric value: {cause}",
    ),
    "ContainerResource": Kind(
        _resource,
        "FailedGetContainerResourceMetric",
        lambda metric, cause: (
            f"failed to get {metric['containerResource']['container']} container metric value: {cause}"
        ),
    ),
    "Pods": Kind(_pods, "FailedGetPodsMetric", lambda metric, cause: f"failed to get pods metric value: {cause}"),
    "Object": Kind(_object, "FailedGetObjectMetric", _object_failed),
    "External": Kind(_external, "FailedGetExternalMetric", _external_failed),
}
