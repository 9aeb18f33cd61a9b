"""Images as users meet them: from a registry with a password, as volumes, by the command."""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster import Cluster, deployment, eventually, pod
from nodeagent.images.tests import registry_server as server


@pytest.fixture(scope="module")
def registry(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry with a password, reached as ``registry.test`` through a mirror; it has ``team/app:1``."""
    folder = tmp_path_factory.mktemp("registry")
    (folder / "tree").mkdir()
    (folder / "tree/model.txt").write_text("weights\n")
    cluster.shim(
        "image", "build-from", str(folder / "tree"), "--tag", "team/app:1", "--base", "busybox", "--env", "A=b"
    )
    cluster.shim("image", "export", "team/app:1", str(folder / "app.tar"))
    removed = cluster.shim("image", "rm", "team/app:1").stdout
    assert "removed docker.io/team/app:1" in removed
    mirrors = cluster.data_dir / "images/registries.json"
    with server.running(folder / "registry", server.basic(folder / "auth"), host="0.0.0.0") as host:
        server.push(folder / "app.tar", f"{host}/team/app:1", "--dest-creds", f"{server.USER}:{server.PASSWORD}")
        gateway = next(ipaddress.ip_network(cluster.ranges["node_cidr"]).hosts())
        endpoint = f"http://{gateway}:{host.rpartition(':')[2]}"
        mirrors.write_text(json.dumps({"registry.test": {"endpoints": [endpoint]}}))
        yield f"{server.USER}:{server.PASSWORD}"
        mirrors.unlink()


def pull_secret(login: str) -> dict[str, object]:
    config = {"auths": {"registry.test": {"auth": base64.b64encode(login.encode()).decode()}}}
    data = {".dockerconfigjson": base64.b64encode(json.dumps(config).encode()).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": data,
    }


def layers(cluster: Cluster) -> set[str]:
    return {path.name for path in Path(cluster.data_dir, "images/layers").iterdir() if path.is_dir()}


def test_a_private_image_is_pulled_once_for_ten_pods(cluster: Cluster, namespace: str, registry: str) -> None:
    before = layers(cluster)
    image, idle = "registry.test/team/app:1", ["sh", "-c", "sleep 1000"]
    denied = pod("denied", *idle, image=image)
    cluster.apply(denied, namespace=namespace)

    def reason() -> str:
        status = cluster.get("pod", "denied", "-n", namespace)["status"]
        return str(status["containerStatuses"][0]["state"]["waiting"]["reason"])

    eventually(lambda: reason() in ("ErrImagePull", "ImagePullBackOff"), "no password, no image")
    messages = "get", "events", "-n", namespace, "-o", "jsonpath={.items[*].message}"
    eventually(lambda: "pull access denied" in cluster.kubectl(*messages), "and that is why")

    made = deployment("app", replicas=10, image=image, command=idle, readinessProbe=None, lifecycle=None)
    made["spec"]["template"]["spec"]["imagePullSecrets"] = [{"name": "login"}]
    cluster.apply(pull_secret(registry), made, namespace=namespace)
    cluster.kubectl("rollout", "status", "deployment/app", "-n", namespace, "--timeout=90s")
    assert len(layers(cluster) - before) == 2  # busybox, packed anew, and what lies above it
    assert cluster.kubectl("exec", "-n", namespace, "deployment/app", "--", "sh", "-c", "cat /model.txt; echo $A") == (
        "weights\nb\n"
    )


def test_an_image_is_a_volume(cluster: Cluster, namespace: str, registry: str) -> None:
    """KEP-4639: the pod's containers see its files, or a part of them, and cannot change them."""
    made = pod("reader", "sh", "-c", "cat /whole/model.txt /part; touch /whole/x; sleep 1000")
    reference = {"reference": "registry.test/team/app:1", "pullPolicy": "Always"}
    made["spec"]["volumes"] = [{"name": "model", "image": reference}]
    made["spec"]["containers"][0]["volumeMounts"] = [
        {"name": "model", "mountPath": "/whole"},
        {"name": "model", "mountPath": "/part", "subPath": "model.txt"},
    ]
    cluster.apply(made, namespace=namespace)

    def events() -> list[str]:
        told = cluster.get("events", "-n", namespace, "--field-selector", "involvedObject.name=reader")["items"]
        return [event["message"] for event in told]

    eventually(lambda: "Error: ErrImagePull" in events(), "without the secret it cannot be pulled")
    cluster.kubectl("delete", "pod", "reader", "-n", namespace)
    made["spec"]["imagePullSecrets"] = [{"name": "login"}]
    cluster.apply(pull_secret(registry), made, namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/reader", "--timeout=60s")
    said = eventually(lambda: "Read-only" in (log := cluster.kubectl("logs", "-n", namespace, "reader")) and log)
    assert str(said).startswith("weights\nweights\n")
    assert any(message.startswith('Successfully pulled image "registry.test/team/app:1"') for message in events())


def test_the_command_makes_names_takes_out_and_prunes(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("x")
    built = cluster.shim(
        "image", "build-from", str(tmp_path / "tree"), "--tag", "mine:1", "--cmd", "sh -c 'echo a'"
    ).stdout
    assert built == "built docker.io/library/mine:1\n"
    assert cluster.shim("image", "tag", "mine:1", "mine:2").stdout == "tagged docker.io/library/mine:2\n"
    cluster.shim("image", "export", "mine:2", str(tmp_path / "mine.tar"))
    told = json.loads(server.skopeo("inspect", "--config", f"docker-archive:{tmp_path}/mine.tar"))
    assert told["config"]["Cmd"] == ["sh", "-c", "echo a"]
    assert "mine" not in cluster.shim("image", "prune").stdout
    assert "removed docker.io/library/mine:1" in cluster.shim("image", "prune", "--all").stdout
    shown = cluster.shim("image", "ls").stdout
    assert "mine" not in shown
    assert "busybox:latest" in shown
    refused = cluster.shim("image", "export", "mine:2", str(tmp_path / "x.tar"), check=False)
    assert (refused.returncode != 0, "no such image: mine:2" in refused.stderr) == (True, True)
