"""A cluster's own life: up, down, up again, side by side with another, and gone without a trace."""

from __future__ import annotations

import json

from e2e.cluster import Cluster, deployment, eventually, pod, service
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
    with own_cluster.addresses():
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


def test_a_manifest_in_a_nodes_folder_is_a_static_pod(cluster: Cluster) -> None:
    manifest = cluster.data_dir / "nodes" / "node-2" / "manifests" / "static.json"
    manifest.parent.mkdir(exist_ok=True)
    manifest.write_text(json.dumps(pod("static", "sh", "-c", "echo by itself; sleep 1000", restart="Always")))
    try:
        eventually(lambda: cluster.get("pod", "static-node-2"), "its mirror is in the API")
        cluster.kubectl("wait", "--for=condition=Ready", "pod/static-node-2", "--timeout=60s")
        before = cluster.get("pod", "static-node-2")
        assert cluster.kubectl("logs", "static-node-2") == "by itself\n"
        assert cluster.kubectl("exec", "static-node-2", "--", "hostname") == "static-node-2\n"
        eventually(lambda: "Container started" in cluster.kubectl("describe", "pod", "static-node-2"))
        assert "sleep 1000" in cluster.shim("explain", "pod/static-node-2").stdout
        assert "start container main" in cluster.shim("explain", "pod/static-node-2", "--steps").stdout
        metrics = cluster.kubectl("get", "--raw", "/api/v1/nodes/node-2/proxy/metrics").splitlines()
        assert {"kubelet_mirror_pods 1.0", 'kubelet_desired_pods{static="true"} 1.0'} <= set(metrics)
        cluster.kubectl("delete", "pod", "static-node-2")
        eventually(lambda: cluster.get("pod", "static-node-2")["metadata"]["uid"] != before["metadata"]["uid"])
        after = eventually(lambda: cluster.get("pod", "static-node-2")["status"].get("containerStatuses"))
        assert after[0]["containerID"] == before["status"]["containerStatuses"][0]["containerID"]
    finally:
        manifest.unlink()
    gone = "--ignore-not-found", "-o", "name"
    eventually(lambda: not cluster.kubectl("get", "pod", "static-node-2", *gone), "the mirror goes with its pod")
