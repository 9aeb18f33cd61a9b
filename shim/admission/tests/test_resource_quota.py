"""Quotas at the moment of a write: what they refuse, and what they are charged."""

from __future__ import annotations

from typing import Any

import pytest

from shim.admission.chain import Chain
from shim.admission.request import Request
from shim.admission.tests.cluster import NAMESPACE, Cluster, create, pod, update
from shim.api.meta import Object
from shim.api.status import ApiError


def quota(hard: Object, used: Object | None, *, name: str = "q", **spec: Any) -> tuple[str, Object]:
    metadata = {"name": name, "namespace": "ns", "resourceVersion": "7"}
    status = {} if used is None else {"hard": hard, "used": used}
    return "resourcequotas", {"metadata": metadata, "spec": {"hard": hard, **spec}, "status": status}


async def charged(cluster: Cluster, request: Request) -> dict[str, Object]:
    """The new usage of each quota that is charged."""
    await Chain(cluster).charge(request)
    found = {each.obj["metadata"]["name"]: each.obj["status"]["used"] for each in request.charges}
    request.finish()
    return found


async def refused(cluster: Cluster, request: Request) -> str:
    with pytest.raises(ApiError) as caught:
        await charged(cluster, request)
    assert caught.value.code == 403
    request.finish()
    return caught.value.message.partition(" is forbidden: ")[2]


def sized(cpu: str, **spec: Any) -> Object:
    return pod(containers=[{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}], **spec)


async def test_a_creation_is_charged_to_every_quota_it_falls_under() -> None:
    cluster = Cluster(
        NAMESPACE,
        quota({"pods": "5", "requests.cpu": "2"}, {"pods": "1", "requests.cpu": "500m"}, name="all"),
        quota({"pods": "5"}, {"pods": "0"}, name="lazy", scopes=["BestEffort"]),
        quota({"secrets": "5"}, {"secrets": "0"}, name="secrets"),
    )
    assert await charged(cluster, create("pods", sized("250m"))) == {"all": {"pods": "2", "requests.cpu": "750m"}}


EXCEEDED: list[tuple[Object, Object, Object, str]] = [
    (
        {"pods": "1"},
        {"pods": "1"},
        sized("1"),
        "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1",
    ),
    (
        {"pods": "9", "requests.cpu": "1", "cpu": "1"},
        {"pods": "1", "requests.cpu": "800m", "cpu": "800m"},
        sized("250m"),
        "exceeded quota: q, requested: cpu=250m,requests.cpu=250m, used: cpu=800m,requests.cpu=800m, "
        "limited: cpu=1,requests.cpu=1",
    ),
    ({"limits.cpu": "1"}, {"limits.cpu": "0"}, sized("1"), "failed quota: q: must specify limits.cpu for: c"),
    ({"pods": "1", "cpu": "1"}, {"pods": "0"}, sized("1"), "status unknown for quota: q, resources: cpu,pods"),
]


@pytest.mark.parametrize(("hard", "used", "obj", "why"), EXCEEDED)
async def test_what_a_quota_refuses(hard: Object, used: Object, obj: Object, why: str) -> None:
    assert await refused(Cluster(NAMESPACE, quota(hard, used)), create("pods", obj)) == why


def node_ports(ports: int) -> Object:
    spec = {"type": "NodePort", "ports": [{"port": 1 + number} for number in range(ports)]}
    return {"metadata": {"name": "s"}, "spec": spec}


async def test_an_update_is_charged_what_it_adds() -> None:
    cluster = Cluster(NAMESPACE, quota({"services.nodeports": "3"}, {"services.nodeports": "2"}))
    grown = update("services", node_ports(2), node_ports(1))
    assert await charged(cluster, grown) == {"q": {"services.nodeports": "3"}}
    shrunk = update("services", node_ports(1), node_ports(2))
    assert await charged(cluster, shrunk) == {}, "what is given back is the controller's to count"
    assert await refused(cluster, update("services", node_ports(3), node_ports(1))) == (
        "exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=2, limited: services.nodeports=3"
    )


async def test_a_pod_that_changes_its_scope_is_charged_there() -> None:
    cluster = Cluster(NAMESPACE, quota({"pods": "1"}, {"pods": "0"}, scopes=["Terminating"]))
    ending = sized("1", activeDeadlineSeconds=5)
    assert await charged(cluster, update("pods", ending, sized("1"))) == {"q": {"pods": "1"}}
    assert await charged(cluster, update("pods", ending, ending)) == {}


async def test_events_are_free() -> None:
    cluster = Cluster(NAMESPACE, quota({"count/events": "0"}, {"count/events": "0"}))
    assert await charged(cluster, create("events", {"metadata": {"name": "e"}})) == {}
