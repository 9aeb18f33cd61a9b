"""Admission as a whole, and the plugins that fill in a little: what they change and what they refuse."""

from __future__ import annotations

import pytest

from shim.admission.chain import PLUGINS, Chain, UnknownPlugin, chosen
from shim.admission.request import DELETE
from shim.admission.tests.cluster import (
    ACCOUNT,
    NAMESPACE,
    POD,
    Cluster,
    admitted,
    container,
    create,
    pod,
    refusal,
    request,
)
from shim.api.meta import Object


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
    error = await refusal(Cluster(), request(DELETE, "namespaces", None, None, name="default", namespace=None))
    assert error.message == 'namespaces "default" is forbidden: this namespace may not be deleted'


async def test_new_nodes_are_not_ready() -> None:
    obj = await admitted(Cluster(), create("nodes", {"metadata": {"name": "n"}}, namespace=None))
    assert obj["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]


async def test_devices_are_tolerated_where_that_is_asked_for() -> None:
    resources = {"requests": {"example.com/gpu": "1", "cpu": "1"}, "limits": {"example.com/gpu": "1"}}
    cluster, obj = Cluster(NAMESPACE, ACCOUNT), pod(containers=container(resources=resources))
    toleration = {"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert toleration not in (await admitted(cluster, create("pods", obj)))["spec"]["tolerations"]
    asked = create("pods", obj)
    await Chain(cluster, chosen(enable=["ExtendedResourceToleration"])).admit(asked)
    assert asked.obj is not None
    assert toleration in asked.obj["spec"]["tolerations"]


async def test_a_pod_learns_its_zone_from_its_node() -> None:
    labels = {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "other": "x"}
    cluster = Cluster(NAMESPACE, ACCOUNT, ("nodes", {"metadata": {"name": "n", "labels": labels}}))
    bound = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    obj = await admitted(cluster, create("pods", bound, subresource="binding"))
    assert obj["metadata"]["labels"] == {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"}
    placed = await admitted(cluster, create("pods", pod(nodeName="n")))
    assert placed["metadata"]["labels"]["topology.kubernetes.io/zone"] == "z"
    assert "labels" not in (await admitted(cluster, create("pods", pod(nodeName="gone"))))["metadata"]


def test_plugins_are_chosen_by_name() -> None:
    assert len(chosen()) == len(PLUGINS) - 2
    assert "Priority" not in {type(each).__name__ for each in chosen(disable=["Priority"])}
    with pytest.raises(UnknownPlugin, match='admission plugin "Nonsense" is unknown'):
        chosen(enable=["Nonsense"])
