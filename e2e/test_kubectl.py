"""kubectl's verbs, old and new, against the API server: protobuf bodies, validation, patches, explain."""

from __future__ import annotations

import json

import pytest

from e2e.cluster import KUBECTL, OLD_KUBECTL, Cluster, deployment, eventually, pod

BINARIES = pytest.mark.parametrize("binary", [KUBECTL, OLD_KUBECTL], ids=["1.36", "1.32"])


@BINARIES
def test_create_with_protobuf_bodies(cluster: Cluster, namespace: str, binary) -> None:
    def kubectl(*args: str) -> str:
        return cluster.kubectl(*args, "-n", namespace, binary=binary)

    kubectl("create", "configmap", "c", "--from-literal=key=value")
    assert cluster.get("configmap", "c", "-n", namespace)["data"] == {"key": "value"}
    kubectl("create", "secret", "generic", "s", "--from-literal=password=hidden")
    kubectl("create", "serviceaccount", "robot")
    token = kubectl("create", "token", "robot")
    assert token.count(".") == 2
    assert kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    assert "robot" in cluster.kubectl(
        "auth", "whoami", "--token", token.strip(), "--kubeconfig", _no_user(cluster), binary=binary
    )


def _no_user(cluster: Cluster) -> str:
    """A kubeconfig that knows the server but names no user."""
    import yaml

    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = []
    config["contexts"][0]["context"].pop("user")
    path = cluster.data_dir.parent / "anonymous.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_a_service_account_may_only_what_it_is_given(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "serviceaccount", "reader", "-n", namespace)
    user = f"system:serviceaccount:{namespace}:reader"
    said = cluster.refused("get", "pods", "-n", namespace, "--as", user)
    assert (
        f'pods is forbidden: User "{user}" cannot list resource "pods" in API group "" in the namespace "{namespace}"'
        in said
    )
    cluster.kubectl("create", "role", "read", "--verb=get,list", "--resource=pods", "-n", namespace)
    cluster.kubectl(
        "create", "rolebinding", "read", "--role=read", f"--serviceaccount={namespace}:reader", "-n", namespace
    )
    cluster.kubectl("get", "pods", "-n", namespace, "--as", user)


def test_wrong_input_is_refused_with_reasons(cluster: Cluster, namespace: str) -> None:
    bad = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"Bad_Name"},"spec":{"containers":[{"name":"c"}]}}'
    said = cluster.refused("create", "-n", namespace, "-f", "-", input=bad)
    assert 'The Pod "Bad_Name" is invalid' in said
    assert "metadata.name: Invalid value" in said
    assert "spec.containers[0].image: Required value" in said
    unknown = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"date":{}}'
    assert "date" in cluster.refused("create", "-n", namespace, "-f", "-", input=unknown)


def test_apply_patch_label_annotate_and_describe(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web", replicas=0), namespace=namespace)
    changed = deployment("web", replicas=0, env=[{"name": "A", "value": "1"}])
    cluster.apply(changed, namespace=namespace)
    cluster.kubectl("label", "deployment/web", "tier=front", "-n", namespace)
    cluster.kubectl("annotate", "deployment/web", "note=seen", "-n", namespace)
    patch = '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"B","value":"2"}]}]}}}}'
    cluster.kubectl("patch", "deployment/web", "-p", patch, "-n", namespace)
    found = cluster.get("deployment", "web", "-n", namespace)
    environment = found["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {each["name"]: each["value"] for each in environment} == {"A": "1", "B": "2"}
    assert (
        cluster.kubectl("get", "deployments", "-l", "tier=front", "-n", namespace, "-o", "name").strip()
        == "deployment.apps/web"
    )
    assert "front" in cluster.kubectl("describe", "deployment/web", "-n", namespace)
    same = cluster.kubectl(
        "diff",
        "-n",
        namespace,
        "-f",
        "-",
        input=cluster.kubectl("get", "deployment/web", "-n", namespace, "-o", "yaml"),
    )
    assert same == ""


@BINARIES
def test_a_list_is_applied_and_validated_before_it_is_sent(cluster: Cluster, namespace: str, binary) -> None:
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "b"}}
    bundle = {"apiVersion": "v1", "kind": "List", "items": [item, {**item, "metadata": {"name": "two"}}]}
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(bundle), binary=binary)
    assert cluster.get("configmap", "two", "-n", namespace)["data"] == {"a": "b"}
    item["date"] = item.pop("data")
    assert 'unknown field "date"' in cluster.refused("apply", "-n", namespace, "-f", "-", input=json.dumps(bundle))


@BINARIES
def test_explain_and_discovery(cluster: Cluster, binary) -> None:
    explained = cluster.kubectl("explain", "deployment.spec.strategy.rollingUpdate", binary=binary)
    assert "maxSurge" in explained
    resources = cluster.kubectl("api-resources", binary=binary)
    assert len(resources.splitlines()) > 60
    assert "v1" in cluster.kubectl("api-versions", binary=binary).split()
    assert "Server Version: v1.36" in cluster.kubectl("version", binary=binary)


def test_no_get_of_a_built_in_kind_is_a_404(cluster: Cluster) -> None:
    names = cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    assert len(names) > 50
    for name in names:
        cluster.kubectl("get", name, "--all-namespaces")


def test_dry_run_changes_nothing(cluster: Cluster, namespace: str) -> None:
    manifest = cluster.kubectl(
        "create", "deployment", "ghost", "--image=busybox", "--dry-run=client", "-o", "yaml", "-n", namespace
    )
    out = cluster.kubectl("create", "-f", "-", "--dry-run=server", "-o", "yaml", "-n", namespace, input=manifest)
    assert "uid:" in out
    assert "ghost" in cluster.refused("get", "deployment", "ghost", "-n", namespace)


def test_expose_cordon_and_events(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("p", "sleep", "100"), namespace=namespace)
    cluster.kubectl("expose", "pod/p", "--port=80", "-n", namespace)
    assert cluster.get("service", "p", "-n", namespace)["spec"]["ports"][0]["port"] == 80
    cluster.kubectl("cordon", "node-3")
    assert "SchedulingDisabled" in cluster.kubectl("get", "node", "node-3")
    cluster.kubectl("uncordon", "node-3")
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/p", "--timeout=60s")
    eventually(lambda: "Successfully assigned" in cluster.kubectl("events", "-n", namespace))
