"""A node that is cut off is noticed and comes back; the way to a Service is shown as the node has it."""

from __future__ import annotations

from e2e.cluster import Cluster, deployment, eventually, pod, service
from e2e.test_workloads import curl


def is_ready(cluster: Cluster, node: str) -> bool:
    conditions = cluster.get("node", node)["status"]["conditions"]
    return next(each["status"] for each in conditions if each["type"] == "Ready") == "True"


def taints(cluster: Cluster, node: str) -> list[str]:
    return [taint["key"] for taint in cluster.get("node", node)["spec"].get("taints") or ()]


def test_a_node_that_is_cut_off_is_noticed_and_returns(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web", replicas=3), service("web"), namespace=namespace)
    cluster.kubectl("rollout", "status", "-n", namespace, "deployment/web", "--timeout=60s")
    address = cluster.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    pods = {each["metadata"]["name"]: each for each in cluster.get("pods", "-n", namespace)["items"]}
    assert "node-3" in cluster.shim("fault", "partition", "node-3").stdout
    try:
        eventually(lambda: not is_ready(cluster, "node-3"), "the node is NotReady", timeout=120)
        eventually(lambda: "node.kubernetes.io/unreachable" in taints(cluster, "node-3"))  # after its condition

        def endpoints() -> set[str]:
            listed = cluster.get("endpoints", "web", "-n", namespace).get("subsets") or []
            return {each["nodeName"] for subset in listed for each in subset.get("addresses") or ()}

        eventually(lambda: "node-3" not in endpoints(), "its pods are no endpoints any more")
        assert eventually(lambda: curl(address)), "those of the other nodes answer"
    finally:
        cluster.shim("fault", "heal", "node-3")
    eventually(lambda: is_ready(cluster, "node-3"), "the node is Ready again", timeout=120)
    eventually(lambda: not cluster.get("node", "node-3")["spec"].get("taints"), "and its taints are gone")
    later = {each["metadata"]["name"]: each for each in cluster.get("pods", "-n", namespace)["items"]}
    for name, each in pods.items():  # nothing was restarted on the way
        assert later[name]["status"]["containerStatuses"][0]["restartCount"] == 0
        assert later[name]["metadata"]["uid"] == each["metadata"]["uid"]


def test_the_way_to_a_service_is_shown(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web", replicas=2), service("web"), namespace=namespace)
    cluster.kubectl("rollout", "status", "-n", namespace, "deployment/web", "--timeout=60s")
    address = cluster.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    eventually(lambda: curl(address))
    shown = cluster.shim("explain", "service/web", "-n", namespace).stdout
    assert f"tcp {address}:80" in shown
    assert shown.count("50% → KUBE-SEP-") == 2
    for each in cluster.get("pods", "-n", namespace)["items"]:
        way = f"sent to {each['status']['podIP']}:8080 {each['metadata']['name']} on {each['spec']['nodeName']}"
        assert way in shown
    missing = cluster.shim("explain", "service/nothing", "-n", namespace, check=False)
    assert (missing.returncode, missing.stderr) == (1, 'shim explain: services "nothing" not found\n')


def test_pods_of_a_machine_that_goes_down_end_in_order(cluster: Cluster, namespace: str) -> None:
    steady = pod("steady", "sleep", "1000", restart="Always")
    steady["spec"]["nodeName"] = "node-3"
    cluster.apply(steady, namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/steady", "--timeout=60s")
    assert "its pods end" in cluster.shim("fault", "shutdown", "node-3").stdout
    try:
        eventually(lambda: not is_ready(cluster, "node-3"), "the node is NotReady")
        failed = "--for=jsonpath={.status.phase}=Failed"
        cluster.kubectl("wait", "-n", namespace, failed, "pod/steady", "--timeout=60s")
        status = cluster.get("pod", "steady", "-n", namespace)["status"]
        assert status["reason"] == "Terminated"
        metrics = "get", "--raw", "/api/v1/nodes/node-3/proxy/metrics"
        over = "kubelet_graceful_shutdown_end_time_seconds 1."
        eventually(lambda: over in cluster.kubectl(*metrics), "its end is told")
        eventually(lambda: "node is shutting down" in cluster.kubectl("describe", "node", "node-3"))
    finally:
        cluster.shim("fault", "heal", "node-3")
    eventually(lambda: is_ready(cluster, "node-3"), "the node is Ready again")
    eventually(lambda: not cluster.get("node", "node-3")["spec"].get("taints"), "and its taints are gone")
