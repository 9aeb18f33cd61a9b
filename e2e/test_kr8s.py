"""kr8s, a client of its own on httpx: the sync API as a script uses it, the async one as a service does."""

from __future__ import annotations

import asyncio
import urllib.request

import kr8s
import kr8s.asyncio
import pytest
from kr8s.asyncio.objects import Deployment as AsyncDeployment
from kr8s.asyncio.objects import Pod as AsyncPod
from kr8s.objects import ConfigMap, Deployment, Node, Pod, Service

from e2e.cluster import Cluster, deployment, eventually, pod, service

WAIT = 60  # seconds a test waits for what a busy machine does slowly

pytestmark = pytest.mark.filterwarnings("ignore:Kubernetes version .* is not supported")  # newer than this kr8s knows


@pytest.fixture
def api(cluster: Cluster, namespace: str) -> kr8s.Api:
    return kr8s.api(kubeconfig=str(cluster.kubeconfig), namespace=namespace)


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=WAIT) as answer:
        return str(answer.read().decode())


def test_a_pod_from_its_creation_to_its_end(api: kr8s.Api) -> None:
    made = Pod(pod("p", "sh", "-c", "echo one; echo two; exec sleep 1000"), api=api)
    made.create()
    made.wait("condition=Ready", timeout=WAIT)
    assert made.ready()
    assert list(made.logs()) == ["one", "two"]
    assert list(made.logs(tail_lines=1)) == ["two"]
    done = made.exec(["sh", "-c", "echo out; echo oops >&2; exit 3"], check=False)
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"oops\n", 3)
    made.label(tier="front")
    made.annotate(note="seen")
    assert [each.name for each in api.get("pods", label_selector={"tier": "front"})] == ["p"]
    made.delete()
    made.wait("delete", timeout=WAIT)
    assert not made.exists()


def test_a_deployment_is_scaled_and_its_service_reached(api: kr8s.Api) -> None:
    web = Deployment(deployment("web", 1), api=api)
    web.create()
    front = Service(service("web"), api=api)
    front.create()
    web.wait("condition=Available", timeout=WAIT)
    assert [each.name for each in front.ready_pods()] == [each.name for each in web.pods()]
    with front.portforward(8080, local_port="auto") as port:
        assert page(f"http://127.0.0.1:{port}") == f"{web.pods()[0].name}\n"
    web.scale(2)
    eventually(lambda: len(front.ready_pods()) == 2)
    assert front.proxy_http_get("/").text.strip() in [each.name for each in web.pods()]


def test_patches_errors_and_discovery(api: kr8s.Api) -> None:
    settings = ConfigMap({"metadata": {"name": "c"}, "data": {"a": "1"}}, api=api)
    settings.create()
    settings.patch({"data": {"b": "2"}})
    settings.patch([{"op": "remove", "path": "/data/a"}], type="json")
    assert settings.data == {"b": "2"}
    with pytest.raises(kr8s.ServerError) as refused:
        ConfigMap({"metadata": {"name": "c"}}, api=api).create()
    assert str(refused.value) == 'configmaps "c" already exists'
    with pytest.raises(kr8s.NotFoundError):
        ConfigMap.get("nobody", api=api)
    assert api.version()["gitVersion"].startswith("v1.36")
    assert {"v1", "apps/v1"} <= set(api.api_versions())
    assert api.lookup_kind("deploy") == ("deployment.apps/v1", "deployments", True)
    assert sorted(each.name for each in Node.list(api=api)) == ["node-1", "node-2", "node-3"]


async def test_asynchronously(cluster: Cluster, namespace: str) -> None:
    api = await kr8s.asyncio.api(kubeconfig=str(cluster.kubeconfig), namespace=namespace)
    web = await AsyncDeployment(deployment("web", 1), api=api)
    await web.create()
    async for what, seen in api.watch("pods", namespace=namespace):
        if any(each["type"] == "Ready" and each["status"] == "True" for each in seen.status.get("conditions", [])):
            break
        assert what in ("ADDED", "MODIFIED")
    first = await AsyncPod.get(seen.name, namespace=namespace, api=api)
    done = await first.exec(["hostname"])
    assert done.stdout.decode() == f"{first.name}\n"
    async with first.portforward(8080, local_port="auto") as port:
        assert await asyncio.to_thread(page, f"http://127.0.0.1:{port}") == f"{first.name}\n"
    await web.delete(propagation_policy="Foreground")
    await web.wait("delete", timeout=WAIT)
