"""An extension API server that is a pod behind a Service: kubectl finds it, asks it, and hears when it is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.cluster import Cluster, eventually
from e2e.tls_server import server

SERVER = Path(__file__).with_name("extension_server.py")
NAME = "v1.e2e.example.com"


def test_kubectl_asks_a_pod_as_it_asks_the_server(
    cluster: Cluster, namespace: str, request: pytest.FixtureRequest
) -> None:
    objects, bundle = server("callers", namespace, SERVER)
    spec = {
        "group": "e2e.example.com",
        "version": "v1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "service": {"namespace": namespace, "name": "callers"},
        "caBundle": bundle,
    }
    service = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": NAME},
        "spec": spec,
    }
    request.addfinalizer(lambda: cluster.kubectl("delete", "apiservice", NAME, "--ignore-not-found"))
    cluster.apply(*objects, service, namespace=namespace)
    cluster.kubectl("wait", "--for=condition=Available", f"apiservice/{NAME}", "--timeout=60s", timeout=90)
    assert "callers" in cluster.kubectl("api-resources", "--api-group=e2e.example.com", "-o", "name")
    assert cluster.kubectl("get", "callers", "-o", "name") == "caller.e2e.example.com/kubernetes-admin\n"
    assert (
        cluster.kubectl("get", "callers", "-o", "name", "--as=eve", "--as-group=system:masters")
        == "caller.e2e.example.com/eve\n"
    )
    assert f"{namespace}/callers   True" in cluster.kubectl("get", "apiservice", NAME)
    cluster.kubectl("delete", "pod", "callers", "-n", namespace, "--now")

    def reason() -> str:
        return str(cluster.get("apiservice", NAME)["status"]["conditions"][0]["reason"])

    eventually(lambda: reason() == "MissingEndpoints", "the pod is gone")
    assert "ServiceUnavailable" in cluster.refused("get", "--raw", "/apis/e2e.example.com/v1/callers")
    cluster.kubectl("delete", "apiservice", NAME)
    eventually(lambda: "callers" not in cluster.kubectl("api-resources", "-o", "name"), "it is withdrawn")
