"""A cluster's own life: up, down, up again, side by side with another, and gone without a trace."""

from __future__ import annotations

from e2e.cluster import Cluster, deployment, eventually, service
from e2e.test_workloads import curl


def test_down_and_up_bring_everything_back(own_cluster: Cluster, cluster: Cluster) -> None:
    """While another cluster runs: they have nothing in common."""
    own_cluster.up(nodes=1)
    assert own_cluster.ranges["service_cidr"] != cluster.ranges["service_cidr"]
    own_cluster.apply(deployment("web", replicas=2), service("web"))
    own_cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    address = own_cluster.get("service", "web")["spec"]["clusterIP"]
    eventually(lambda: curl(address))
    before = {each["metadata"]["uid"] for each in own_cluster.get("pods")["items"]}

    assert "is running already" in own_cluster.shim("up").stdout
    own_cluster.down()
    assert own_cluster.shim("status", check=False).returncode == 3
    own_cluster.up(nodes=1)

    own_cluster.kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=60s")
    assert {each["metadata"]["uid"] for each in own_cluster.get("pods")["items"]} == before
    assert eventually(lambda: curl(address)).startswith("web-")
    own_cluster.down(purge=True)
    assert not own_cluster.data_dir.exists()
    assert "there is no cluster" in own_cluster.shim("down").stdout  # and the fixture looks for anything left


def test_status_names_every_part_and_node(cluster: Cluster) -> None:
    shown = cluster.shim("status").stdout
    for word in ("apiserver", "controllers", "node-1.nodeagent", "node-3.netproxy", "node-2", "Ready"):
        assert word in shown
    assert "apiserver" in cluster.shim("logs").stdout.split()
    assert cluster.shim("logs", "node-1.nodeagent").returncode == 0
    assert cluster.shim("kubeconfig").stdout == cluster.kubeconfig.read_text()


def test_images_are_listed(cluster: Cluster) -> None:
    shown = cluster.shim("image", "ls").stdout
    assert "docker.io/library/busybox:latest" in shown
    assert "localhost/host" in shown
