"""An operator written with kopf, run as a process of its own with no more rights than a service account's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster import ROOT, Cluster, eventually

GROUP = "greeter.example.org"
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"greetings.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "greetings", "singular": "greeting", "kind": "Greeting", "shortNames": ["hi"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "Who", "type": "string", "jsonPath": ".spec.who"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["who"],
                                "properties": {"who": {"type": "string", "minLength": 1}},
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}
RULES = [
    {"apiGroups": [GROUP], "resources": ["greetings", "greetings/status"], "verbs": ["get", "list", "watch", "patch"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch", "create", "patch"]},
    {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]},
    {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["list", "watch"]},
]


@pytest.fixture
def operator(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """The running operator's log."""
    user = {"kind": "ServiceAccount", "name": "greeter", "namespace": namespace}
    named = {"name": f"greeter-{namespace}"}
    authorization = "rbac.authorization.k8s.io"
    cluster.apply(
        DEFINITION,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "greeter"}},
        {"apiVersion": f"{authorization}/v1", "kind": "ClusterRole", "metadata": named, "rules": RULES},
        {
            "apiVersion": f"{authorization}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": named,
            "subjects": [user],
            "roleRef": {"apiGroup": authorization, "kind": "ClusterRole", **named},
        },
        namespace=namespace,
    )
    cluster.kubectl("wait", "--for=condition=Established", f"crd/greetings.{GROUP}", "--timeout=60s")
    kubeconfig = yaml.safe_load(cluster.kubeconfig.read_text())
    token = cluster.kubectl("create", "token", "greeter", "-n", namespace).strip()
    kubeconfig["users"] = [{"name": each["name"], "user": {"token": token}} for each in kubeconfig["users"]]
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    log = tmp_path / "log"
    command = [sys.executable, "-m", "kopf", "run", "e2e/greeter.py", "--namespace", namespace, "--verbose"]
    environment = {**cluster.environment(), "KUBECONFIG": str(tmp_path / "kubeconfig")}
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield log
    finally:
        process.terminate()
        assert process.wait(30) == 0, log.read_text()[-3000:]
        cluster.kubectl("delete", "crd", f"greetings.{GROUP}", "--wait=false")
        cluster.kubectl("delete", "clusterrolebinding,clusterrole", named["name"])


def greeting(name: str, who: str) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Greeting", "metadata": {"name": name}, "spec": {"who": who}}


def test_a_greeting_from_its_creation_to_its_farewell(cluster: Cluster, namespace: str, operator: Path) -> None:
    def seen(*args: str) -> Any:
        return cluster.get(*args, "-n", namespace)

    def events() -> set[str]:
        return {event["reason"] for event in seen("events")["items"] if event["involvedObject"]["kind"] == "Greeting"}

    cluster.apply(greeting("first", "world"), namespace=namespace)
    cluster.kubectl("wait", "--for=create", "configmap/first", "-n", namespace, "--timeout=60s")
    assert seen("configmap", "first")["data"] == {"text": "Hello, world!"}
    assert seen("configmap", "first")["metadata"]["ownerReferences"][0]["kind"] == "Greeting"

    def settled() -> bool:
        status = seen("hi", "first")["status"]
        return status["greet"] == {"configMap": "first"} and status["turns"] >= 2

    eventually(settled, "the creation is recorded and the timer runs")
    eventually(lambda: "watching first" in operator.read_text())
    assert f"{GROUP}/farewell" in seen("hi", "first")["metadata"]["finalizers"]

    cluster.kubectl("patch", "hi/first", "-n", namespace, "--type=merge", "-p", '{"spec":{"who":"moon"}}')
    eventually(lambda: seen("configmap", "first")["data"] == {"text": "Hello, moon!"})
    eventually(lambda: seen("hi", "first")["status"]["before"] == "world")
    cluster.kubectl("patch", "hi/first", "-n", namespace, "--type=merge", "-p", '{"spec":{"who":"nobody"}}')
    eventually(lambda: "nobody is not greeted" in operator.read_text())
    cluster.kubectl("label", "configmap/first", "watched=yes", "-n", namespace)
    eventually(lambda: int(seen("configmap", "first")["metadata"]["labels"]["texts"]) >= 1, "the index is filled")

    cluster.kubectl("delete", "hi/first", "-n", namespace, "--timeout=60s")
    assert seen("configmap", "farewells")["data"] == {"last": "nobody"}
    eventually(lambda: "no longer watching first" in operator.read_text())
    cluster.kubectl("wait", "--for=delete", "configmap/first", "-n", namespace, "--timeout=60s")
    eventually(lambda: "Farewell" in events(), "the operator's events are kept")
    assert "Traceback" not in operator.read_text(), json.dumps(operator.read_text()[-3000:])
