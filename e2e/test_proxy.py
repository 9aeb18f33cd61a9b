"""The API server as a way in: pods, Services and nodes through ``/proxy/``."""

from __future__ import annotations

from e2e.cluster import Cluster, deployment, eventually, service


def test_pods_services_and_nodes_answer_by_proxy(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web"), service("web"), namespace=namespace)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    name = cluster.get("pods", "-n", namespace)["items"][0]["metadata"]["name"]
    base = f"/api/v1/namespaces/{namespace}"
    assert cluster.kubectl("get", "--raw", f"{base}/pods/{name}:8080/proxy/") == f"{name}\n"

    def by_service() -> bool:
        return cluster.kubectl("get", "--raw", f"{base}/services/http:web:80/proxy/index.html") == f"{name}\n"

    eventually(by_service)
    assert "ok" in cluster.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/healthz")
    logs = "/api/v1/nodes/node-1/proxy/logs"
    assert cluster.kubectl("get", "--raw", f"{logs}/").startswith("<!doctype html>")
    assert "Ready" in cluster.kubectl("get", "--raw", f"{logs}/?query=kubelet&pattern=node-1%20is%20Ready&tailLines=1")
    said = cluster.refused("get", "--raw", f"{base}/services/web:81/proxy/")
    assert 'no service port 81 found for service "web"' in said
