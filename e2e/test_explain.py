"""``shim explain pod/NAME``: what it says is what the pod is."""

from __future__ import annotations

import re

from e2e.cluster import Cluster, deployment, service


def test_a_pod_is_taken_apart(cluster: Cluster, namespace: str) -> None:
    limits = {"limits": {"memory": "48Mi", "cpu": "250m"}}
    made = deployment("anatomy", resources=limits, env=[{"name": "COLOUR", "value": "blue"}])
    cluster.apply(made, service("anatomy"), namespace=namespace)
    cluster.kubectl("rollout", "status", "deployment/anatomy", "-n", namespace, "--timeout=60s")
    (pod,) = cluster.get("pods", "-n", namespace)["items"]
    name, address, node = pod["metadata"]["name"], pod["status"]["podIP"], pod["spec"]["nodeName"]

    shown = cluster.shim("explain", f"pod/{name}", "-n", namespace).stdout
    assert f"Running on {node}" in shown
    assert f"eth0 {address}" in shown
    for kind in ("net", "uts", "ipc", "pid", "mnt"):
        inside = cluster.kubectl("exec", "-n", namespace, name, "--", "readlink", f"/proc/self/ns/{kind}")
        assert f"{kind} {inside.strip()[len(kind) + 2 : -1]}" in re.sub(" +", " ", shown)
    assert f"= {48 << 20}  48.0 MiB" in shown
    assert "httpd -f -p 8080" in shown
    address = cluster.get("service", "anatomy", "-n", namespace)["spec"]["clusterIP"]
    assert f"{namespace}/anatomy  {address}:80  KUBE-SERVICES → KUBE-SVC-" in shown


def test_how_a_pod_came_to_be_is_told_across_all_parts(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("steps"), namespace=namespace)
    cluster.kubectl("rollout", "status", "deployment/steps", "-n", namespace, "--timeout=60s")
    (pod,) = cluster.get("pods", "-n", namespace)["items"]
    cluster.kubectl("wait", "--for=condition=Ready", "-n", namespace, f"pod/{pod['metadata']['name']}")
    shown = cluster.shim("explain", f"pod/{pod['metadata']['name']}", "-n", namespace, "--steps").stdout
    assert "scheduler  tells: Successfully assigned" in shown  # after the binding, which the kubelet may hear of before
    order = ["this node hears of the pod", "make the volumes", "namespaces for the pod"]
    order += ["connect it to the pod network", "start container web", "web: make that the root", "all is ready"]
    places = [shown.find(step) for step in order]
    assert -1 not in places
    assert places == sorted(places)
    assert f"ip addr add {pod['status']['podIP']}/32 dev eth0" in shown
    for part in ("scheduler", "kubelet", "engine", "container"):
        assert f" {part} " in shown


def test_a_pod_that_does_not_come_to_be_says_why(cluster: Cluster, namespace: str) -> None:
    container = {"name": "c", "image": "no-such-registry.invalid/x:1"}
    metadata = {"name": "bad", "namespace": namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    cluster.apply(pod, namespace=namespace)
    failed = "jsonpath={.status.containerStatuses[0].state.waiting.message}"
    cluster.kubectl("wait", f"--for={failed}", "pod/bad", "-n", namespace, "--timeout=60s")
    shown = cluster.shim("explain", "pod/bad", "-n", namespace).stdout
    why = r"container c  no-such-registry.invalid/x:1  not made yet  (ErrImagePull|ImagePullBackOff): "
    assert re.search(why, shown)
    assert "never been ready" in cluster.shim("explain", "pod/bad", "-n", namespace, "--steps").stdout


def test_what_can_not_be_explained_is_refused(cluster: Cluster, namespace: str) -> None:
    missing = cluster.shim("explain", "pod/nothing", "-n", namespace, check=False)
    assert (missing.returncode, missing.stderr) == (1, 'shim explain: pods "nothing" not found\n')
    other = cluster.shim("explain", "node/node-1", check=False)
    assert "say pod/NAME or service/NAME" in other.stderr
