"""What a node may write, and what it is told when it goes too far."""

from __future__ import annotations

from typing import Any

import pytest

from shim.admission.chain import Chain, chosen
from shim.admission.request import CREATE, DELETE, UPDATE, Request
from shim.admission.tests.cluster import NAMESPACE, Cluster, User, pod, request
from shim.api.meta import Object
from shim.api.status import ApiError

NODE = User("system:node:n1", ("system:nodes", "system:authenticated"))
OWNER = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u", "controller": True}


def on(node: str, **spec: Any) -> Object:
    made = pod(nodeName=node, **spec)
    made["metadata"] |= {"uid": "pod-uid", "namespace": "ns"}
    return made


def mirror(*owners: Object, **spec: Any) -> Object:
    made = on("n1", **spec)
    made["metadata"] |= {"annotations": {"kubernetes.io/config.mirror": "h"}, "ownerReferences": list(owners)}
    return made


def node(name: str = "n1", labels: Object | None = None, **spec: Any) -> Object:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def token(**bound: Any) -> Object:
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "pod-uid", **bound}
    return {"kind": "TokenRequest", "metadata": {}, "spec": {"boundObjectRef": reference, "audiences": ["vault"]}}


def asks(operation: str, resource: str, obj: Object | None, old: Object | None = None, **more: Any) -> Request:
    return request(operation, resource, obj, old, **{"user": NODE, **more})


VAULT = [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}}]
MINE: Any = {"namespace": "ns", "subresource": "token", "name": "default"}
LEASE: Any = {"group": "coordination.k8s.io", "namespace": "kube-node-lease"}
CLUSTER_WIDE: Any = {"namespace": None}

ALLOWED = [
    asks(CREATE, "pods", mirror(OWNER)),
    asks(DELETE, "pods", None, on("n1")),
    asks(UPDATE, "pods", {**on("n1"), "status": {"phase": "Running"}}, on("n1"), subresource="status"),
    asks(CREATE, "nodes", node(labels={"kubernetes.io/os": "linux", "mine": "x"}), **CLUSTER_WIDE),
    asks(CREATE, "leases", {"metadata": {"name": "n1"}, "spec": {}}, **LEASE),
    asks(CREATE, "configmaps", {"metadata": {"name": "c"}}),
    asks(CREATE, "serviceaccounts", token(), **MINE),
    asks(DELETE, "pods", None, on("n2"), user=User("alice")),
]


def cluster(bound_to: str = "n1") -> Cluster:
    mine = on(bound_to, volumes=VAULT)
    return Cluster(
        NAMESPACE,
        ("namespaces", {"metadata": {"name": "kube-node-lease"}}),
        ("nodes", {"metadata": {"name": "n1", "uid": "u"}}),
        ("pods", mine),
    )


async def told(here: Cluster, asked: Request) -> str:
    """What the node is told; "" when it may."""
    plugins = [each for each in chosen(enable=["NodeRestriction"]) if type(each).__name__ == "NodeRestriction"]
    try:
        await Chain(here, plugins).mutate(asked)
    except ApiError as error:
        return error.message.partition(" is forbidden: ")[2]
    return ""


@pytest.mark.parametrize("asked", ALLOWED)
async def test_a_node_writes_what_is_its_own(asked: Request) -> None:
    assert await told(cluster(), asked) == ""


REFUSED = [
    (
        asks(CREATE, "pods", on("n1")),
        'pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods',
    ),
    (asks(CREATE, "pods", mirror()), 'node "n1" can only create pods with an owner reference set to itself'),
    (
        asks(CREATE, "pods", mirror({**OWNER, "controller": False})),
        'node "n1" can only create pods with a controller owner reference set to itself',
    ),
    (asks(CREATE, "pods", mirror({**OWNER, "uid": "x"})), "node n1 UID mismatch: expected x got u"),
    (
        asks(CREATE, "pods", mirror(OWNER, volumes=[{"name": "v", "secret": {"secretName": "s"}}])),
        'node "n1" can not create pods that reference secrets',
    ),
    (asks(DELETE, "pods", None, on("n2")), 'node "n1" can only delete pods with spec.nodeName set to itself'),
    (
        asks(UPDATE, "pods", on("n1"), on("n1")),
        'unexpected operation "UPDATE", node "n1" can only create and delete mirror pods',
    ),
    (
        asks(UPDATE, "pods", on("n2"), on("n2"), subresource="status"),
        'node "n1" can only update pod status for pods with spec.nodeName set to itself',
    ),
    (
        asks(CREATE, "pods", {}, None, subresource="binding", name="p"),
        "unexpected pod subresource \"binding\", only 'status' and 'eviction' are allowed",
    ),
    (asks(CREATE, "nodes", node("n2"), **CLUSTER_WIDE), 'node "n1" is not allowed to modify node "n2"'),
    (
        asks(CREATE, "nodes", node(labels={"node-role.kubernetes.io/control-plane": ""}), **CLUSTER_WIDE),
        'node "n1" is not allowed to set the following labels: node-role.kubernetes.io/control-plane',
    ),
    (
        asks(UPDATE, "nodes", node(labels={"node-restriction.kubernetes.io/x": "y"}), node(), **CLUSTER_WIDE),
        "is not allowed to modify labels: node-restriction.kubernetes.io/x",
    ),
    (
        asks(UPDATE, "nodes", node(), node(taints=[{"key": "a"}]), **CLUSTER_WIDE),
        'node "n1" is not allowed to modify taints',
    ),
    (
        asks(CREATE, "leases", {"metadata": {"name": "n2"}, "spec": {}}, **LEASE),
        "can only access node lease with the same name as the requesting node",
    ),
    (
        asks(CREATE, "leases", {"metadata": {"name": "n1"}, "spec": {}}, group="coordination.k8s.io"),
        'can only access leases in the "kube-node-lease" system namespace',
    ),
    (asks(CREATE, "serviceaccounts", {"spec": {}}, **MINE), "node requested token not bound to a pod"),
    (
        asks(CREATE, "serviceaccounts", token(uid=""), **MINE),
        "node requested token with a pod binding without a uid",
    ),
    (
        asks(CREATE, "serviceaccounts", token(uid="other"), **MINE),
        "the UID in the bound object reference (other) does not match the UID in record. The object might have been "
        "deleted and then recreated",
    ),
    (asks(UPDATE, "persistentvolumeclaims", node(), node()), "may only update PVC status"),
    (
        asks(CREATE, "pods", on("n1"), user=User("system:node:", ("system:nodes",))),
        'could not determine node from user "system:node:"',
    ),
]


@pytest.mark.parametrize(("asked", "why"), REFUSED)
async def test_a_node_that_goes_too_far(asked: Request, why: str) -> None:
    assert await told(cluster(), asked) == why


async def test_a_token_is_for_a_pod_on_the_node_and_for_whom_it_asks() -> None:
    asked = asks(CREATE, "serviceaccounts", token(), **MINE)
    assert await told(cluster("n2"), asked) == "node requested token bound to a pod scheduled on a different node"
    other = token()
    other["spec"]["audiences"] = ["elsewhere"]
    assert await told(cluster(), asks(CREATE, "serviceaccounts", other, **MINE)) == (
        'audience "elsewhere" not found in pod spec volume, system:node:n1 is not authorized to request tokens for '
        "this audience"
    )
    allowed = cluster()
    allowed.rights = [("request-serviceaccounts-token-audience", "elsewhere", "default")]
    assert await told(allowed, asks(CREATE, "serviceaccounts", other, **MINE)) == ""
