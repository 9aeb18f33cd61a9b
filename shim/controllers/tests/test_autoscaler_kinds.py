"""Metrics that adapters serve: where they are asked for, what they come to, and what is said without an adapter."""

from __future__ import annotations

from typing import Any, cast

import orjson
import pytest

from shim.api.meta import GVR, Object
from shim.client import Client
from shim.client.discovery import Served
from shim.controllers.autoscaler_kinds import KINDS, Computed, Target
from shim.controllers.autoscaler_metrics import NoMetrics, Tolerances
from shim.controllers.autoscaler_sources import MetricsApis
from shim.controllers.scales import Scales
from shim.controllers.tests.builders import NOW, pod

CUSTOM = "/apis/custom.metrics.k8s.io"
SERVED = {CUSTOM: {"versions": [{"version": "v1beta1"}, {"version": "v1beta2"}]}}
RATE = {"name": "rate", "selector": {"matchLabels": {"verb": "get"}}}
VERB = "&LabelSelector{MatchLabels:map[string]string{verb: get,},MatchExpressions:[]LabelSelectorRequirement{},}"


class Adapter:
    """Serves these answers, and nothing else; knows Ingresses."""

    def __init__(self, answers: dict[str, Object]) -> None:
        self._answers = answers

    async def raw(self, method: str, path: str) -> tuple[int, bytes]:
        if path in self._answers:
            return 200, orjson.dumps(self._answers[path])
        return 404, b"404 page not found"

    async def served(self, group: str, kind: str) -> Served | None:
        gvr = GVR(group, "v1", "ingresses")
        return Served(gvr, kind, frozenset(), frozenset()) if kind == "Ingress" else None


def values(*told: str, **more: Any) -> Object:
    names = ("a", "b")
    return {
        "items": [
            {"describedObject": {"name": name}, "timestamp": NOW, "value": value, **more}
            for name, value in zip(names, told, strict=False)
        ]
    }


async def computed(metric: Object, answers: dict[str, Object]) -> Computed:
    adapter: Any = Adapter(answers)
    apis = MetricsApis(cast(Client, adapter), cast(Scales, adapter))
    target = Target("ns", "app=a", [pod("a"), pod("b")], 2, 2, Tolerances())
    return await KINDS[metric["type"]].compute(apis, target, metric)


def external(**target: str) -> Object:
    return {"type": "External", "external": {"metric": RATE, "target": target}}


def of_object(kind: str, api_version: str, **target: str) -> Object:
    described = {"kind": kind, "apiVersion": api_version, "name": "x"}
    return {"type": "Object", "object": {"metric": {"name": "hits"}, "describedObject": described, "target": target}}


PODS = {"type": "Pods", "pods": {"metric": RATE, "target": {"averageValue": "10"}}}
ON_PODS = f"{CUSTOM}/v1beta2/namespaces/ns/pods/*/rate?labelSelector=app%3Da&metricLabelSelector=verb%3Dget"
ON_INGRESS = f"{CUSTOM}/v1beta2/namespaces/ns/ingresses.networking.k8s.io/x/hits"
OUTSIDE = "/apis/external.metrics.k8s.io/v1beta1/namespaces/ns/rate?labelSelector=verb%3Dget"


@pytest.mark.parametrize(
    ("metric", "path", "answer", "replicas", "current", "name"),
    [
        (PODS, ON_PODS, values("20", "10500m"), 4, {"averageValue": "15250m"}, "pods metric rate"),
        (
            of_object("Ingress", "networking.k8s.io/v1", value="100"),
            ON_INGRESS,
            values("250"),
            5,
            {"value": "250"},
            "Ingress metric hits",
        ),
        (
            of_object("Ingress", "networking.k8s.io/v1", averageValue="30"),
            ON_INGRESS,
            values("100"),
            4,
            {"averageValue": "50"},
            "external metric hits(nil)",
        ),
        (
            of_object("Namespace", "v1", value="100"),
            f"{CUSTOM}/v1beta2/namespaces/ns/metrics/hits",
            values("95"),
            2,
            {"value": "95"},
            "Namespace metric hits",
        ),
        (external(value="20"), OUTSIDE, values("10", "30"), 4, {"value": "40"}, f"external metric rate({VERB})"),
        (
            external(averageValue="20"),
            OUTSIDE,
            values("10", "50"),
            3,
            {"averageValue": "30"},
            f"external metric rate({VERB})",
        ),
    ],
)
async def test_what_an_adapter_tells_becomes_a_number_of_pods(
    metric: Object, path: str, answer: Object, replicas: int, current: Object, name: str
) -> None:
    found = await computed(metric, {**SERVED, path: answer})
    field = metric["type"].lower()
    assert (found.proposal.replicas, found.status[field]["current"], found.name) == (replicas, current, name)
    assert found.status[field]["metric"] == metric[field]["metric"]


@pytest.mark.parametrize(
    ("metric", "answers", "cause", "summary"),
    [
        (
            PODS,
            {},
            "unable to get metric rate: unable to fetch metrics from custom metrics API: "
            "no custom metrics API (custom.metrics.k8s.io) registered",
            "failed to get pods metric value: ",
        ),
        (
            PODS,
            {**SERVED, ON_PODS: values()},
            "unable to get metric rate: no metrics returned from custom metrics API",
            "failed to get pods metric value: ",
        ),
        (
            of_object("Thing", "example.com/v1", averageValue="1"),
            SERVED,
            "unable to get metric hits: Thing on ns x/unable to fetch metrics from custom metrics API: unable to map "
            'kind Thing.example.com to resource: no matches for kind "Thing" in group "example.com"',
            "failed to get object metric value: failed to get hits object metric: ",
        ),
        (
            external(value="1"),
            {},
            f"unable to get external metric ns/rate/{VERB}: unable to fetch metrics from external metrics API: "
            "the server could not find the requested resource (get rate.external.metrics.k8s.io)",
            "failed to get rate external metric value: failed to get external metric rate: ",
        ),
        (
            external(averageValue="1"),
            {OUTSIDE: values()},
            f"unable to get external metric ns/rate/{VERB}: no metrics returned from external metrics API",
            "failed to get rate external metric value: failed to get rate external metric: ",
        ),
    ],
)
async def test_what_is_said_when_it_cannot_be_told(
    metric: Object, answers: dict[str, Object], cause: str, summary: str
) -> None:
    with pytest.raises(NoMetrics) as failure:
        await computed(metric, answers)
    assert str(failure.value) == cause
    assert KINDS[metric["type"]].failed(metric, cause) == summary + cause
