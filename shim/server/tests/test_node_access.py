"""A node sees what its pods use, and nothing else."""

from __future__ import annotations

import pytest

CORE = "/api/v1/namespaces/{ns}"


@pytest.fixture
def node(api):
    """A node of this test's own, as the headers of its requests."""
    return {"Impersonate-User": f"system:node:{api.namespace}", "Impersonate-Group": "system:nodes"}


async def _pod(api, name, node, **spec):
    body = api.pod(name, nodeName=node, **spec)
    body["metadata"]["annotations"] = {}
    made = await api.post(f"{CORE}/pods", body)
    assert made.status == 201, made.data


async def test_a_node_reads_what_its_pods_name(api, node):
    for kind in ("secrets", "configmaps"):
        for name in ("env", "volume", "projected", "other"):
            assert (await api.post(f"{CORE}/{kind}", {"metadata": {"name": name}})).status == 201
    environment = [
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k", "optional": True}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "k", "optional": True}}},
    ]
    sources = [{"secret": {"name": "projected"}}, {"configMap": {"name": "projected"}}]
    volumes = [
        {"name": "a", "secret": {"secretName": "volume"}},
        {"name": "b", "configMap": {"name": "volume"}},
        {"name": "c", "projected": {"sources": sources}},
    ]
    container = {"name": "c", "image": "busybox", "env": environment}
    for kind in ("secrets", "configmaps"):
        assert (await api.get(f"{CORE}/{kind}/env", headers=node)).status == 403
    for name, why in (("n1", ""), ("system:node:", ': unknown node for user "system:node:"')):
        refused = await api.get(f"{CORE}/secrets/env", headers={**node, "Impersonate-User": name})
        assert refused.message.partition(f'in the namespace "{api.namespace}"')[2] == why
    await _pod(api, "p", api.namespace, containers=[container], volumes=volumes)
    for kind in ("secrets", "configmaps"):
        for name in ("env", "volume", "projected"):
            assert (await api.get(f"{CORE}/{kind}/{name}", headers=node)).status == 200
            one = f"{CORE}/{kind}?fieldSelector=metadata.name%3D{name}"
            assert (await api.get(one, headers=node)).status == 200
        refused = await api.get(f"{CORE}/{kind}/other", headers=node)
        assert refused.status == 403
        assert refused.message.endswith(f": no relationship found between node '{api.namespace}' and this object")
        assert (await api.get(f"{CORE}/{kind}", headers=node)).message.endswith(": No Object name found")
        assert (await api.get(f"/api/v1/{kind}", headers=node)).message.endswith(
            ": can only read namespaced object of this type"
        )
        gone = await api.delete(f"{CORE}/{kind}/env", headers=node)
        assert gone.message.endswith(": can only read resources of this type")
    other = {**node, "Impersonate-User": "system:node:other"}
    assert (await api.get(f"{CORE}/secrets/env", headers=other)).status == 403
    await api.delete(f"{CORE}/pods/p", {"gracePeriodSeconds": 0})
    assert (await api.get(f"{CORE}/secrets/env", headers=node)).status == 403


async def test_a_node_gets_tokens_for_accounts_of_its_pods(api, node):
    path = f"{CORE}/serviceaccounts/default"
    refused = await api.post(f"{path}/token", {}, headers=node)
    assert (refused.status, "no relationship found" in refused.message) == (403, True)
    await _pod(api, "p", api.namespace)
    uid = (await api.get(f"{CORE}/pods/p")).json["metadata"]["uid"]
    bound = {"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}}}
    assert (await api.post(f"{path}/token", bound, headers=node)).status == 201
    assert (await api.get(path, headers=node)).status == 200


async def test_claims_and_volumes_are_found_through_pods(api, node):
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim |= {"volumeName": api.namespace, "storageClassName": ""}
    await api.post(f"{CORE}/persistentvolumeclaims", {"metadata": {"name": "c"}, "spec": claim})
    await api.post(f"{CORE}/secrets", {"metadata": {"name": "key"}})
    secret = {"name": "key", "namespace": api.namespace}
    source = {"csi": {"driver": "d", "volumeHandle": "h", "nodeStageSecretRef": secret}}
    reference = {"kind": "PersistentVolumeClaim", "namespace": api.namespace, "name": "c"}
    volume = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "claimRef": reference, **source}
    made = await api.post("/api/v1/persistentvolumes", {"metadata": {"name": api.namespace}, "spec": volume})
    assert made.status == 201, made.data
    paths = (
        f"{CORE}/persistentvolumeclaims/c",
        "/api/v1/persistentvolumes/{ns}",
        f"{CORE}/secrets/key",
    )
    for path in paths:
        assert (await api.get(path, headers=node)).status == 403
    mounted = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    await _pod(api, "p", api.namespace, volumes=mounted)
    for path in paths:
        assert (await api.get(path, headers=node)).status == 200, path


async def test_collections_are_read_only_as_far_as_they_are_the_nodes_own(api, node):
    name = api.namespace
    assert (await api.get(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{name}", headers=node)).status == 200
    refused = await api.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dother", headers=node)
    assert refused.message.endswith(": can only list/watch pods with spec.nodeName field selector")
    lease = "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"
    refused = await api.post(lease, {"metadata": {"name": name}}, headers=node)
    assert refused.message.endswith(': can only access leases in the "kube-node-lease" system namespace')
    assert (await api.get("/api/v1/services", headers=node)).status == 200


async def test_a_review_answers_for_nodes_and_their_selectors(api, node):
    review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    wanted = [{"key": "spec.nodeName", "operator": "In", "values": [api.namespace]}]
    for selector, allowed in (({"requirements": wanted}, True), ({"rawSelector": "spec.nodeName=x"}, False)):
        attributes = {"verb": "list", "resource": "pods", "fieldSelector": selector}
        answer = await api.post(review, {"spec": {"resourceAttributes": attributes}}, headers=node)
        assert answer.json["status"]["allowed"] is allowed
    rules = await api.post(
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}, headers=node
    )
    assert rules.json["status"]["incomplete"] is True
