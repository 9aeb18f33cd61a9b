"""How much is used, from the cgroup to kubectl top."""

from __future__ import annotations

from e2e.cluster import Cluster, eventually, pod


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
