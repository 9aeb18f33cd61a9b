"""Admission, plugin by plugin: what it changes and what it refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shim.admission.chain import CREATE, DELETE, Chain, Request
from shim.api.meta import GVR, Object
from shim.api.status import ApiError
from shim.resources.table import find


class Cluster:
    """What memory holds, for these stories."""

    def __init__(self, *objects: tuple[str, Object]) -> None:
        self.objects = list(objects)

    def get(self, gvr: GVR, namespace: str | None, name: str) -> Object | None:
        return next((each for each in self.list(gvr, namespace) if each["metadata"]["name"] == name), None)

    def list(self, gvr: GVR, namespace: str | None = None) -> list[Object]:
        return [
            each
            for resource, each in self.objects
            if resource == gvr.resource and (namespace is None or each["metadata"].get("namespace") == namespace)
        ]


NAMESPACE = ("namespaces", {"metadata": {"name": "ns"}, "status": {"phase": "Active"}})
ACCOUNT = ("serviceaccounts", {"metadata": {"name": "default", "namespace": "ns"}})
POD: Object = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i", "resources": {}}]}}


def create(resource: str, obj: Object, group: str = "", namespace: str | None = "ns") -> Request:
    row = find(group, "v1", resource)
    assert row is not None
    return Request(CREATE, row, namespace, obj["metadata"].get("name", ""), copy.deepcopy(obj))


def pod(**spec: Any) -> Object:
    return {"metadata": {"name": "p"}, "spec": {**copy.deepcopy(POD["spec"]), **spec}}


async def admitted(cluster: Cluster, request: Request) -> Object:
    await Chain(cluster).admit(request)
    assert request.obj is not None
    return request.obj


async def refusal(cluster: Cluster, request: Request) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await Chain(cluster).admit(request)
    return caught.value


async def test_a_plain_pod_gets_an_account_a_token_a_priority_and_tolerations() -> None:
    spec = (await admitted(Cluster(NAMESPACE, ACCOUNT), create("pods", POD)))["spec"]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert spec["containers"][0]["volumeMounts"] == [
        {"name": volume["name"], "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    ]
    assert (spec["priority"], spec["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    assert [each["key"].rpartition("/")[2] for each in spec["tolerations"]] == ["not-ready", "unreachable"]


async def test_a_pod_may_do_without_a_token() -> None:
    obj = await admitted(Cluster(NAMESPACE, ACCOUNT), create("pods", pod(automountServiceAccountToken=False)))
    assert "volumes" not in obj["spec"]


REFUSED = [
    ({"serviceAccountName": "x"}, 'error looking up service account ns/x: serviceaccount "x" not found'),
    ({"priorityClassName": "x"}, "no PriorityClass with name x was found"),
    (
        {"priority": 5},
        "the integer value of priority (5) must not be provided in pod spec; "
        "priority admission controller computed 0 from the given PriorityClass name",
    ),
    ({"runtimeClassName": "x"}, 'pod rejected: RuntimeClass "x" not found'),
    (
        {"overhead": {"cpu": "1"}},
        "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
    ),
]


@pytest.mark.parametrize(("spec", "why"), REFUSED)
async def test_pods_that_are_refused(spec: Object, why: str) -> None:
    error = await refusal(Cluster(NAMESPACE, ACCOUNT), create("pods", pod(**spec)))
    assert (error.code, error.message) == (403, f'pods "p" is forbidden: {why}')


async def test_nothing_is_made_in_a_namespace_that_is_missing_or_ends() -> None:
    config_map = create("configmaps", {"metadata": {"name": "c"}})
    error = await refusal(Cluster(), config_map)
    assert (error.code, error.message) == (404, 'namespaces "ns" not found')
    ending = ("namespaces", {"metadata": {"name": "ns"}, "status": {"phase": "Terminating"}})
    error = await refusal(Cluster(ending), config_map)
    assert error.code == 403
    assert error.details is not None
    assert error.details["causes"][0]["reason"] == "NamespaceTerminating"


async def test_some_namespaces_stay() -> None:
    row = find("", "v1", "namespaces")
    assert row is not None
    error = await refusal(Cluster(), Request(DELETE, row, None, "default"))
    assert error.message == 'namespaces "default" is forbidden: this namespace may not be deleted'


async def test_a_limit_range_fills_in_and_bounds() -> None:
    limits = [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "2"}}]
    cluster = Cluster(
        NAMESPACE, ACCOUNT, ("limitranges", {"metadata": {"name": "l", "namespace": "ns"}, "spec": {"limits": limits}})
    )
    obj = await admitted(cluster, create("pods", POD))
    assert obj["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}
    assert obj["metadata"]["annotations"] == {
        "kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    }
    large = {"name": "c", "image": "i", "resources": {"limits": {"cpu": "3"}, "requests": {"cpu": "3"}}}
    error = await refusal(cluster, create("pods", pod(containers=[large])))
    assert error.message == 'pods "p" is forbidden: maximum cpu usage per Container is 2, but limit is 3'


async def test_a_quota_counts() -> None:
    quota = ("resourcequotas", {"metadata": {"name": "q", "namespace": "ns"}, "spec": {"hard": {"configmaps": "1"}}})
    held = ("configmaps", {"metadata": {"name": "a", "namespace": "ns"}})
    error = await refusal(Cluster(NAMESPACE, quota, held), create("configmaps", {"metadata": {"name": "b"}}))
    assert error.message == (
        'configmaps "b" is forbidden: exceeded quota: q, '
        "requested: configmaps=1, used: configmaps=1, limited: configmaps=1"
    )


async def test_new_nodes_are_not_ready() -> None:
    obj = await admitted(Cluster(), create("nodes", {"metadata": {"name": "n"}}, namespace=None))
    assert obj["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]


async def test_claims_get_the_default_storage_class() -> None:
    marked = {"storageclass.kubernetes.io/is-default-class": "true"}
    cluster = Cluster(NAMESPACE, ("storageclasses", {"metadata": {"name": "fast", "annotations": marked}}))
    obj = await admitted(cluster, create("persistentvolumeclaims", {"metadata": {"name": "c"}, "spec": {}}))
    assert obj["spec"]["storageClassName"] == "fast"
