"""Volumes that nobody made: a claim, its pod, and a folder on the pod's node."""

from __future__ import annotations

from pathlib import Path

from e2e.cluster import Cluster, eventually, pod
from shim.api.meta import Object


def claim(name: str, size: str = "1Gi") -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def user(name: str, script: str) -> Object:
    made = pod(name, "sh", "-c", script)
    made["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    return made


def test_data_outlives_its_pod_and_ends_with_its_claim(cluster: Cluster, namespace: str) -> None:
    cluster.apply(claim("data"), user("writer", "echo kept > /data/file; sleep 1000"), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/writer", "--timeout=60s")
    bound = cluster.get("pvc", "data", "-n", namespace)
    assert (bound["spec"]["storageClassName"], bound["status"]["phase"]) == ("local-path", "Bound")
    volume = cluster.get("pv", bound["spec"]["volumeName"])
    folder = Path(volume["spec"]["hostPath"]["path"])
    node = cluster.get("pod", "writer", "-n", namespace)["spec"]["nodeName"]

    cluster.kubectl("delete", "pod", "writer", "-n", namespace)
    cluster.apply(user("reader", "cat /data/file; sleep 1000"), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/reader", "--timeout=60s")
    assert cluster.get("pod", "reader", "-n", namespace)["spec"]["nodeName"] == node
    eventually(lambda: cluster.kubectl("logs", "reader", "-n", namespace) == "kept\n", "the data is there")

    larger = '{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}'
    cluster.kubectl("patch", "pvc", "data", "-n", namespace, "-p", larger)
    grown = "--for=jsonpath={.status.capacity.storage}=2Gi"
    cluster.kubectl("wait", "-n", namespace, "pvc/data", grown, "--timeout=60s")

    assert folder.joinpath("file").read_text() == "kept\n"
    cluster.kubectl("delete", "pvc/data", "pod/reader", "-n", namespace)
    cluster.kubectl("wait", "--for=delete", f"pv/{volume['metadata']['name']}", "--timeout=60s")
    assert not folder.exists()
