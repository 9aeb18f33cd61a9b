"""kubectl describe of every kind: of what a used cluster holds, it shows everything without a complaint."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from e2e.cluster import KUBECTL, OLD_KUBECTL, Cluster, deployment, eventually, pod, run, service

LABELS = {"app": "shown"}
OF_ONE = {"metadata": {"labels": LABELS}, "spec": pod("x", "sleep", "1000", restart="Always")["spec"]}
SELECTOR = {"matchLabels": LABELS}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}


def made(api_version: str, kind: str, spec: Any = None, **more: Any) -> dict[str, Any]:
    """An object named ``shown``."""
    body = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "shown", "labels": LABELS}}
    return body | ({"spec": spec} if spec is not None else {}) | more


ADMITTED = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["nothings"], "operations": ["CREATE"]}
HOOK = {
    "name": "shown.example.org",
    "clientConfig": {"url": "https://localhost:1/"},
    "rules": [ADMITTED],
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
}
OBJECTS = [
    deployment("web"),
    service("web", type="NodePort"),
    made("apps/v1", "StatefulSet", {"selector": SELECTOR, "serviceName": "web", "template": OF_ONE, "replicas": 0}),
    made("apps/v1", "DaemonSet", {"selector": SELECTOR, "template": OF_ONE}),
    made("v1", "ReplicationController", {"replicas": 0, "template": OF_ONE}),
    made("batch/v1", "CronJob", {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": {
        "spec": pod("x", "true")["spec"]}}}}),
    made("batch/v1", "Job", {"template": {"spec": pod("x", "true")["spec"]}}),
    made("autoscaling/v2", "HorizontalPodAutoscaler", {"maxReplicas": 2, "scaleTargetRef": {
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}),
    made("policy/v1", "PodDisruptionBudget", {"selector": SELECTOR, "minAvailable": 1}),
    made("networking.k8s.io/v1", "NetworkPolicy", {"podSelector": {}, "ingress": [{}]}),
    made("networking.k8s.io/v1", "Ingress", {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}),
    made("v1", "ResourceQuota", {"hard": {"pods": "50"}}),
    made("v1", "LimitRange", {"limits": [{"type": "Pod", "max": {"cpu": "2"}}]}),
    made("v1", "PodTemplate", template=OF_ONE),
    made("v1", "PersistentVolumeClaim", CLAIM),
    made("v1", "ConfigMap", data={"text": "hello"}, binaryData={"bytes": "AAEC"}),
    made("v1", "Secret", stringData={"password": "hidden"}),
    made("coordination.k8s.io/v1", "Lease", {"holderIdentity": "me", "leaseDurationSeconds": 10}),
    made("apps/v1", "ControllerRevision", revision=1, data={"spec": {}}),
]  # fmt: skip
EVERYWHERE = [
    made("storage.k8s.io/v1", "CSIDriver", {"attachRequired": False}),
    made("node.k8s.io/v1", "RuntimeClass", handler="shown"),
    made("scheduling.k8s.io/v1", "PriorityClass", value=7),
    made("networking.k8s.io/v1", "IngressClass", {"controller": "example.org/shown"}),
    made("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", webhooks=[HOOK]),
    made("v1", "PersistentVolume", {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/nowhere"},
        "storageClassName": "none"}),
]  # fmt: skip


def describe(cluster: Cluster, namespace: str, *args: str, binary=KUBECTL) -> str:
    """What it says; a complaint on the other output fails the test.

    But for deprecations, kinds of which there is none, and what other tests' namespaces lose meanwhile.
    """
    done = run([str(binary), "describe", "-n", namespace, *args], check=False, env=cluster.environment())
    expected = (
        r"Warning: .* is deprecated in .*|No resources found.*|Error from server \(NotFound\): \S+ \".*\" not found"
    )
    assert [line for line in done.stderr.splitlines() if line and not re.fullmatch(expected, line)] == []
    return done.stdout


@pytest.mark.parametrize("binary", [KUBECTL, OLD_KUBECTL], ids=["1.36", "1.32"])
def test_every_kind_is_described(cluster: Cluster, namespace: str, binary) -> None:
    cluster.apply(*OBJECTS, *EVERYWHERE, namespace=namespace)
    try:
        cluster.kubectl("wait", "-n", namespace, "--for=condition=Available", "deployment/web", "--timeout=60s")
        cluster.kubectl("wait", "-n", namespace, "--for=create", "endpoints/web", "--timeout=60s")
        kinds = set(cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split())
        if binary == OLD_KUBECTL:  # it asks for them in the version they had then
            kinds -= {"ipaddresses.networking.k8s.io", "servicecidrs.networking.k8s.io"}
        shown = describe(cluster, namespace, ",".join(sorted(kinds)), binary=binary)
        names = [line.partition(":")[2].strip() for line in shown.splitlines() if line.startswith("Name:")]
        assert names.count("shown") >= len(OBJECTS) + len(EVERYWHERE) - 2
        assert {"web", "node-1", "kube-root-ca.crt", "cluster-admin", "local-path", "v1.apps", "exempt"} <= set(names)
    finally:
        cluster.kubectl("delete", "-f", "-", "--wait=false", input=json.dumps(listed(EVERYWHERE)))


def listed(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": objects}


def test_what_happened_is_at_the_end(cluster: Cluster, namespace: str) -> None:
    """Events are found by the uids that those who record them give their objects."""
    cluster.apply(deployment("web"), pod("p", "sleep", "1000"), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/p", "--timeout=60s")

    def reasons(*args: str) -> set[str]:
        events = describe(cluster, namespace, *args).partition("\nEvents:")[2]
        return {line.split()[1] for line in events.splitlines()[2:] if len(line.split()) > 1}

    eventually(lambda: {"Scheduled", "Pulled", "Created", "Started"} <= reasons("pod/p"))
    eventually(lambda: "ScalingReplicaSet" in reasons("deployment/web"))
    cluster.kubectl("cordon", "node-2")
    cluster.kubectl("uncordon", "node-2")
    about_node = {"RegisteredNode", "Starting", "NodeHasSufficientMemory", "NodeReady"}
    eventually(lambda: about_node | {"NodeNotSchedulable", "NodeSchedulable"} <= reasons("node/node-2"))
