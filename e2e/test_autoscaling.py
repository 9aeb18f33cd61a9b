"""A Deployment follows what its pods use, measured in their cgroups: more when they work, fewer when they rest."""

from __future__ import annotations

from e2e.cluster import Cluster, deployment, eventually

WORK = "while :; do [ -e /rest ] && sleep 1 || :; done"


def test_pods_that_work_get_company_and_lose_it_when_they_rest(cluster: Cluster, namespace: str) -> None:
    worker = deployment(
        "worker", command=["sh", "-c", WORK], resources={"requests": {"cpu": "50m"}, "limits": {"cpu": "100m"}}
    )
    del worker["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    cluster.apply(worker, namespace=namespace)
    said = cluster.kubectl("autoscale", "deployment/worker", "--min=1", "--max=2", "--cpu=50%", "-n", namespace)
    assert said.strip() == "horizontalpodautoscaler.autoscaling/worker autoscaled"
    at_once = '{"spec":{"behavior":{"scaleDown":{"stabilizationWindowSeconds":0}}}}'
    cluster.kubectl("patch", "hpa/worker", "-p", at_once, "-n", namespace)

    def replicas() -> int:
        return int(cluster.get("deployment", "worker", "-n", namespace)["status"].get("readyReplicas", 0))

    eventually(lambda: replicas() == 2, "another pod helps", timeout=180)
    shown = cluster.kubectl("get", "hpa", "worker", "-n", namespace, "--no-headers").split()
    assert shown[1] == "Deployment/worker"
    assert shown[3].endswith("%/50%")
    for pod in cluster.get("pods", "-l", "app=worker", "-n", namespace)["items"]:
        cluster.kubectl("exec", pod["metadata"]["name"], "-n", namespace, "--", "touch", "/rest")
    eventually(lambda: replicas() == 1, "one is enough for no work", timeout=180)
    last = "New size: 1; reason: All metrics below target"
    eventually(lambda: last in cluster.kubectl("events", "--for", "hpa/worker", "-n", namespace))
    events = cluster.kubectl("events", "--for", "hpa/worker", "-n", namespace)
    assert "New size: 2; reason: cpu resource utilization (percentage of request) above target" in events
    conditions = cluster.get("hpa", "worker", "-n", namespace)["status"]["conditions"]
    assert {each["type"]: each["status"] for each in conditions}["ScalingActive"] == "True"
