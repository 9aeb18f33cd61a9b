"""Webhooks that are pods behind a Service: the API server reaches them by the cluster's own network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.cluster import KUBECTL, Cluster, eventually, run
from e2e.tls_server import server
from shim.api.meta import Object

SERVER = Path(__file__).with_name("webhook_server.py")


def configuration(kind: str, namespace: str, bundle: str, path: str, *resources: str, **more: object) -> Object:
    rule = {"operations": ["CREATE", "CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": resources}
    hook = {
        "name": f"{path}.example.com",
        "clientConfig": {
            "service": {"name": "hook", "namespace": namespace, "path": f"/{path}"},
            "caBundle": bundle,
        },
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **more,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": f"{path}-{namespace}"},
        "webhooks": [hook],
    }


@pytest.fixture
def hooked(cluster: Cluster, namespace: str) -> str:
    """A namespace whose ConfigMaps and connections are judged by a pod in it."""
    objects, bundle = server("hook", namespace, SERVER)
    cluster.apply(*objects, namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/hook", "--timeout=60s")
    conditions = [
        {"name": "no-ca", "expression": "object.kind != 'ConfigMap' || !object.metadata.name.startsWith('kube')"}
    ]
    cluster.apply(
        configuration("Mutating", namespace, bundle, "label", "configmaps", matchConditions=conditions),
        configuration("Validating", namespace, bundle, "judge", "configmaps", "pods/exec", matchConditions=conditions),
    )
    return namespace


def test_a_pod_judges_what_kubectl_asks(cluster: Cluster, hooked: str, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(
        lambda: cluster.kubectl(
            "delete", f"mutatingwebhookconfiguration/label-{hooked}", f"validatingwebhookconfiguration/judge-{hooked}"
        )
    )

    def tried() -> str:
        done = run([str(KUBECTL), "create", "configmap", "bad", "-n", hooked], check=False, env=cluster.environment())
        return done.stderr

    told = 'error: failed to create configmap: admission webhook "judge.example.com" denied the request: bad name'
    eventually(lambda: told in tried(), "the Service leads to the pod")
    made = run(
        [str(KUBECTL), "create", "configmap", "good", "-n", hooked, "--dry-run=server", "-o", "json"],
        env=cluster.environment(),
    )
    assert json.loads(made.stdout)["metadata"]["labels"] == {"seen": "dry"}, "a dry run goes through everything"
    assert "Warning: looked at good" in made.stderr
    cluster.kubectl("create", "configmap", "good", "-n", hooked)
    assert cluster.get("configmap", "good", "-n", hooked)["metadata"]["labels"] == {"seen": "yes"}
    said = cluster.refused("exec", "hook", "-n", hooked, "--", "true")
    assert 'admission webhook "judge.example.com" denied the request: no visitors' in said
