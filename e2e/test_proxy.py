"""The API server as a way in: pods, Services and nodes through ``/proxy/``."""

from __future__ import annotations

import json
import os

from e2e.cluster import Cluster, deployment, eventually, service


def test_pods_services_and_nodes_answer_by_proxy(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web"), service("web"), namespace=namespace)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    (pod,) = cluster.get("pods", "-n", namespace)["items"]
    name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
    base = f"/api/v1/namespaces/{namespace}"
    assert cluster.kubectl("get", "--raw", f"{base}/pods/{name}:8080/proxy/") == f"{name}\n"

    def by_service() -> bool:
        return cluster.kubectl("get", "--raw", f"{base}/services/http:web:80/proxy/index.html") == f"{name}\n"

    eventually(by_service)
    assert "ok" in cluster.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/healthz")
    assert "[+]syncloop ok" in cluster.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/healthz?verbose")
    summary = json.loads(cluster.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/stats/summary"))["node"]
    if os.path.exists("/proc/pressure/io"):
        assert set(summary["io"]["psi"]["some"]) == {"total", "avg10", "avg60", "avg300"}
    listed = cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/runningpods/")
    assert name in [pod["metadata"]["name"] for pod in json.loads(listed)["items"]]
    counted = cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics")
    assert 'kubelet_started_containers_total{container_type="container"}' in counted
    assert "kubelet_pod_start_duration_seconds_bucket" in counted
    logs = "/api/v1/nodes/node-1/proxy/logs"
    assert cluster.kubectl("get", "--raw", f"{logs}/").startswith("<!doctype html>")
    assert "Ready" in cluster.kubectl("get", "--raw", f"{logs}/?query=kubelet&pattern=node-1%20is%20Ready&tailLines=1")
    said = cluster.refused("get", "--raw", f"{base}/services/web:81/proxy/")
    assert 'no service port 81 found for service "web"' in said
