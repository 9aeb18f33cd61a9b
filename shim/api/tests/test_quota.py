"""What quotas say of objects."""

from __future__ import annotations

from typing import Any

import pytest

from shim.api.meta import Object
from shim.api.quota import covers, measure_of, qualified, unsaid


def pod(*, status: Object | None = None, metadata: Object | None = None, **spec: Any) -> Object:
    containers = [{"name": "c", "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}}]
    return {"metadata": metadata or {}, "spec": {"containers": containers, **spec}, "status": status or {}}


def service(kind: str, *node_ports: int, **spec: Any) -> Object:
    ports = [{"port": 80, **({"nodePort": port} if port else {})} for port in node_ports]
    return {"metadata": {}, "spec": {"type": kind, "ports": ports, **spec}}


def claim(storage: str = "1Gi", **spec: Any) -> Object:
    return {"metadata": {}, "spec": {"resources": {"requests": {"storage": storage}}, **spec}, "status": {}}


def nonzero(kind: str, obj: Object) -> dict[str, str]:
    return {name: str(value) for name, value in measure_of(kind).usage(obj).items() if value}


GPU = {"requests": {"example.com/gpu": "2", "hugepages-2Mi": "4Mi"}, "limits": {"example.com/gpu": "2"}}
ONE_POD = {"count/pods": "1", "pods": "1"}
USAGE: list[tuple[str, Object, dict[str, str]]] = [
    ("pods", pod(), {**ONE_POD, "cpu": "1", "requests.cpu": "1", "limits.memory": "1Gi"}),
    (
        "pods",
        pod(overhead={"cpu": "500m", "memory": "1Mi"}),
        {
            **ONE_POD,
            "cpu": "1500m",
            "requests.cpu": "1500m",
            "memory": "1Mi",
            "requests.memory": "1Mi",
            "limits.memory": "1025Mi",
        },
    ),
    (
        "pods",
        pod(containers=[{"name": "c", "resources": GPU}]),
        {**ONE_POD, "requests.example.com/gpu": "2", "hugepages-2Mi": "4Mi", "requests.hugepages-2Mi": "4Mi"},
    ),
    ("pods", pod(status={"phase": "Succeeded"}), {"count/pods": "1"}),
    (
        "pods",
        pod(metadata={"deletionTimestamp": "2020-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}),
        {"count/pods": "1"},
    ),
    ("services", service("ClusterIP", 0), {"count/services": "1", "services": "1"}),
    ("services", service("NodePort", 0, 0), {"count/services": "1", "services": "1", "services.nodeports": "2"}),
    (
        "services",
        service("LoadBalancer", 0, 30000, allocateLoadBalancerNodePorts=False),
        {"count/services": "1", "services": "1", "services.nodeports": "1", "services.loadbalancers": "1"},
    ),
    (
        "persistentvolumeclaims",
        claim(storageClassName="gold"),
        {
            "count/persistentvolumeclaims": "1",
            "persistentvolumeclaims": "1",
            "requests.storage": "1Gi",
            "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
            "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
        },
    ),
    ("secrets", {}, {"count/secrets": "1", "secrets": "1"}),
    ("deployments.apps", {}, {"count/deployments.apps": "1"}),
]


@pytest.mark.parametrize(("kind", "obj", "expected"), USAGE)
def test_what_an_object_takes(kind: str, obj: Object, expected: dict[str, str]) -> None:
    assert nonzero(kind, obj) == expected


RESIZED = [
    ({"resources": {"requests": {"cpu": "2"}}}, "", "2"),
    ({"resources": {"requests": {"cpu": "500m"}}}, "", "1"),
    ({"resources": {"requests": {"cpu": "500m"}}, "allocatedResources": {"cpu": "3"}}, "Deferred", "3"),
    ({"resources": {"requests": {"cpu": "500m"}}}, "Infeasible", "500m"),
    ({}, "Infeasible", "1"),
]


@pytest.mark.parametrize(("told", "reason", "cpu"), RESIZED)
def test_a_pod_between_two_sizes_takes_the_larger(told: Object, reason: str, cpu: str) -> None:
    conditions = [{"type": "PodResizePending", "reason": reason}] if reason else []
    resized = pod(status={"containerStatuses": [{"name": "c", **told}], "conditions": conditions})
    assert nonzero("pods", resized)["requests.cpu"] == cpu


def test_an_expanding_claim_takes_what_it_was_given() -> None:
    grown = {**claim("1Gi"), "status": {"allocatedResources": {"storage": "2Gi"}}}
    assert nonzero("persistentvolumeclaims", grown)["requests.storage"] == "2Gi"


@pytest.mark.parametrize(
    ("kind", "yes", "no"),
    [
        ("pods", ("pods", "requests.cpu", "limits.memory", "requests.example.com/gpu"), ("requests.storage", "cpu.x")),
        ("persistentvolumeclaims", ("requests.storage", "a.storageclass.storage.k8s.io/requests.storage"), ("pods",)),
        (qualified("apps", "deployments"), ("count/deployments.apps",), ("count/deployments", "deployments")),
    ],
)
def test_which_names_speak_of_a_kind(kind: str, yes: tuple[str, ...], no: tuple[str, ...]) -> None:
    measure = measure_of(kind)
    assert all(map(measure.named, yes))
    assert not any(map(measure.named, no))


def selecting(scope: str, operator: str, *values: str) -> Object:
    chosen = {"scopeName": scope, "operator": operator, "values": list(values)}
    return {"spec": {"scopeSelector": {"matchExpressions": [chosen]}}}


def scoped(*names: str) -> Object:
    return {"spec": {"scopes": list(names)}}


LAZY = pod(containers=[{"name": "c"}])
ABROAD = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["other"]}]}}
SCOPES = [
    (scoped(), pod(), True),
    (scoped("BestEffort"), LAZY, True),
    (scoped("BestEffort"), pod(), False),
    (scoped("NotBestEffort", "Terminating"), pod(activeDeadlineSeconds=5), True),
    (scoped("NotBestEffort", "Terminating"), pod(), False),
    (scoped("NotTerminating"), pod(), True),
    (scoped("CrossNamespacePodAffinity"), pod(affinity=ABROAD), True),
    (scoped("CrossNamespacePodAffinity"), pod(), False),
    (selecting("PriorityClass", "In", "high"), pod(priorityClassName="high"), True),
    (selecting("PriorityClass", "In", "high"), pod(), False),
    (selecting("PriorityClass", "NotIn", "high"), pod(priorityClassName="low"), True),
    (selecting("PriorityClass", "NotIn", "high"), pod(), True),
    (selecting("PriorityClass", "Exists"), pod(priorityClassName="low"), True),
    (selecting("PriorityClass", "DoesNotExist"), pod(), True),
]


@pytest.mark.parametrize(("quota", "obj", "expected"), SCOPES)
def test_scopes(quota: Object, obj: Object, expected: bool) -> None:
    assert covers(quota, measure_of("pods"), obj) is expected


def test_claims_have_a_scope_of_their_own_and_other_kinds_have_none() -> None:
    fast = selecting("VolumeAttributesClass", "In", "fast")
    assert covers(fast, measure_of("persistentvolumeclaims"), claim(volumeAttributesClassName="fast"))
    assert not covers(fast, measure_of("persistentvolumeclaims"), claim())
    assert not covers(scoped("NotTerminating"), measure_of("configmaps"), {})


def test_containers_must_say_what_is_limited() -> None:
    spec = pod(initContainers=[{"name": "b"}])["spec"]
    assert unsaid(spec, ["cpu", "limits.cpu", "limits.memory", "requests.ephemeral-storage"]) == (
        "cpu for: b; limits.cpu for: b,c; limits.memory for: b"
    )
    assert unsaid({**spec, "resources": {"requests": {"cpu": "1"}}}, ["limits.cpu"]) == ""
