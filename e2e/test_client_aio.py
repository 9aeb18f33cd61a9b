"""The official Python client's asyncio side: watch, log, exec and the dynamic client.

Its leader election cannot be tried: in version 37 its locks call the client with arguments that it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from kubernetes.aio import client, config, watch
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.stream import WsApiClient

from e2e.cluster import Cluster, pod

WAIT = 60  # seconds a test waits for what a busy machine does slowly


@pytest.fixture
async def connection(cluster: Cluster) -> AsyncIterator[client.ApiClient]:
    async with await config.new_client_from_config(str(cluster.kubeconfig)) as made:
        yield made


async def test_create_watch_log_exec_delete(connection: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(connection)
    made = await core.create_namespaced_pod(namespace, pod("typed", "sh", "-c", "echo out; exec sleep 1000"))
    assert made.status.phase == "Pending"
    async with watch.Watch().stream(core.list_namespaced_pod, namespace, timeout_seconds=WAIT) as events:
        async for event in events:
            if event["object"].status.phase == "Running":
                break
    assert await core.read_namespaced_pod_log("typed", namespace) == "out\n"
    async with WsApiClient(connection.configuration) as streams:
        said = await client.CoreV1Api(streams).connect_get_namespaced_pod_exec(
            "typed", namespace, command=["sh", "-c", "echo hello; echo oops >&2"], stdout=True, stderr=True
        )
    assert sorted(said.splitlines()) == ["hello", "oops"]
    await core.delete_namespaced_pod("typed", namespace)
    with pytest.raises(client.ApiException) as refused:
        await core.delete_namespaced_pod("nobody", namespace)
    assert refused.value.status == 404


async def test_the_dynamic_client(connection: client.ApiClient, namespace: str) -> None:
    dynamic = await DynamicClient(connection)
    maps = await dynamic.resources.get(api_version="v1", kind="ConfigMap")
    await maps.create(body={"metadata": {"name": "c"}, "data": {"a": "1"}}, namespace=namespace)
    patched = await maps.patch(name="c", body={"data": {"b": "2"}}, namespace=namespace)
    assert patched.data.to_dict() == {"a": "1", "b": "2"}
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"c": "3"}}
    await maps.server_side_apply(body=applied, name="c", namespace=namespace, field_manager="me")
    assert (await maps.get(name="c", namespace=namespace)).data.c == "3"
    await maps.delete(name="c", namespace=namespace)
