"""The official Python client: typed objects, watches, logs and exec."""

from __future__ import annotations

import pytest
from kubernetes import client, config, watch
from kubernetes.stream import stream

from e2e.cluster import Cluster, pod


def test_create_watch_log_exec_delete(cluster: Cluster, namespace: str) -> None:
    api = client.CoreV1Api(config.new_client_from_config(str(cluster.kubeconfig)))
    made = api.create_namespaced_pod(namespace, pod("typed", "sh", "-c", "echo out; sleep 1000"))
    assert made.status.phase == "Pending"
    phases = []
    watching = watch.Watch()
    for event in watching.stream(api.list_namespaced_pod, namespace, timeout_seconds=30):
        phases.append(event["object"].status.phase)
        if phases[-1] == "Running":
            watching.stop()
    assert phases[0] == "Pending"
    assert phases[-1] == "Running"
    assert api.read_namespaced_pod_log("typed", namespace) == "out\n"
    said = stream(
        api.connect_get_namespaced_pod_exec, "typed", namespace, command=["echo", "hello"], stdout=True, stderr=True
    )
    assert said == "hello\n"
    api.delete_namespaced_pod("typed", namespace)


def test_errors_are_typed(cluster: Cluster, namespace: str) -> None:
    api = client.CoreV1Api(config.new_client_from_config(str(cluster.kubeconfig)))
    with pytest.raises(client.ApiException) as refused:
        api.read_namespaced_pod("nobody", namespace)
    assert refused.value.status == 404
    assert 'pods \\"nobody\\" not found' in str(refused.value.body)
