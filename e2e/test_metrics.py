"""How much is used, from the cgroup to kubectl top."""

from __future__ import annotations

import json
from typing import Any

from e2e.cluster import Cluster, eventually, pod, run


def test_top_tells_of_a_pod_that_works(cluster: Cluster, namespace: str) -> None:
    cluster.apply(
        pod("busy", "sh", "-c", "while :; do :; done", resources={"limits": {"cpu": "200m"}}), namespace=namespace
    )
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/busy", "--timeout=60s")

    def used() -> int:
        fields = cluster.kubectl("top", "pod", "busy", "-n", namespace, "--no-headers").split()
        return int(fields[1].removesuffix("m"))

    assert 10 < eventually(used, "it is measured", timeout=90) < 400
    shown = cluster.kubectl("top", "nodes", "--no-headers").splitlines()
    assert {line.split()[0] for line in shown} == {"node-1", "node-2", "node-3"}


def test_a_kubelet_tells_what_its_pods_use(cluster: Cluster, namespace: str) -> None:
    script = "dd if=/dev/zero of=/file bs=1M count=3; sleep 1000"
    cluster.apply(pod("eater", "sh", "-c", script, resources={"limits": {"memory": "64Mi"}}), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/eater", "--timeout=60s")
    found = cluster.get("pod", "eater", "-n", namespace)
    proxy = f"/api/v1/nodes/{found['spec']['nodeName']}/proxy"

    def ours() -> Any:
        summary = json.loads(cluster.kubectl("get", "--raw", f"{proxy}/stats/summary"))
        return next(each for each in summary["pods"] if each["podRef"]["uid"] == found["metadata"]["uid"])

    eventually(lambda: ours()["containers"][0]["rootfs"]["usedBytes"] >= 3 << 20, "what it wrote is counted")
    told = ours()
    assert told["podRef"]["name"] == "eater"
    assert told["ephemeral-storage"]["usedBytes"] >= 3 << 20
    assert told["containers"][0]["memory"]["workingSetBytes"] > 0
    assert told["containers"][0]["cpu"]["usageCoreNanoSeconds"] > 0
    assert told["network"]["name"] == "eth0"
    assert 'kubelet_running_containers{container_state="running"}' in cluster.kubectl(
        "get", "--raw", f"{proxy}/metrics"
    )
    cadvisor = cluster.kubectl("get", "--raw", f"{proxy}/metrics/cadvisor")
    assert f'container="main",id="/kubepods/burstable/pod{found["metadata"]["uid"]}/' in cadvisor
    configuration = json.loads(cluster.kubectl("get", "--raw", f"{proxy}/configz"))["kubeletconfig"]
    assert configuration["evictionHard"] == {"memory.available": "100Mi"}


def test_a_kubelet_asks_who_may_use_it(cluster: Cluster, namespace: str) -> None:
    address = cluster.get("node", "node-1")["status"]["addresses"][0]["address"]
    token = cluster.kubectl("create", "token", "default", "-n", namespace).strip()

    def asked(path: str, *more: str) -> str:
        return run(["curl", "-sk", f"https://{address}:10250{path}", "-w", " %{http_code}", *more]).stdout

    bearer = ["-H", f"Authorization: Bearer {token}"]
    assert asked("/metrics") == "Unauthorized 401"
    assert asked("/pods", *bearer).endswith("subresource(s)=[pods proxy])\n 403")
    allow = ["create", "clusterrole", f"{namespace}-metrics", "--verb=get", "--resource=nodes/metrics"]
    cluster.kubectl(*allow)
    account = f"--serviceaccount={namespace}:default"
    bind = ["create", "clusterrolebinding", f"{namespace}-metrics", f"--clusterrole={namespace}-metrics", account]
    cluster.kubectl(*bind)
    assert asked("/metrics/resource", *bearer).endswith(" 200")
    cluster.kubectl("delete", f"clusterrolebinding/{namespace}-metrics", f"clusterrole/{namespace}-metrics")


def test_the_control_plane_tells_how_it_is(cluster: Cluster, namespace: str) -> None:
    shown = cluster.kubectl("get", "componentstatuses", "--no-headers").splitlines()
    assert sorted(line.split()[:3] for line in shown) == [
        ["controller-manager", "Healthy", "ok"],
        ["etcd-0", "Healthy", "ok"],
        ["scheduler", "Healthy", "ok"],
    ]
    cluster.kubectl("create", "clusterrole", namespace, "--verb=get", "--non-resource-url=/metrics")
    cluster.kubectl(
        "create", "clusterrolebinding", namespace, "--clusterrole", namespace, f"--serviceaccount={namespace}:default"
    )
    token = cluster.kubectl("create", "token", "default", "-n", namespace).strip()
    gateway = cluster.get("endpoints", "kubernetes")["subsets"][0]["addresses"][0]["ip"]

    def metrics(port: int, *more: str) -> str:
        return run(["curl", "-sk", f"https://{gateway}:{port}/metrics", *more]).stdout

    try:
        controllers, scheduler = (metrics(port, "-H", f"Authorization: Bearer {token}") for port in (10257, 10259))
    finally:
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", namespace)
    assert 'workqueue_adds_total{name="namespace"}' in controllers
    assert 'scheduler_pending_pods{queue="active"}' in scheduler
    assert 'User \\"system:anonymous\\" cannot get path' in metrics(10257)
