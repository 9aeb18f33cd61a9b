"""NetworkPolicies as a user meets them: closed by default, opened by labels."""

from __future__ import annotations

from e2e.cluster import Cluster, deployment, eventually, pod, service


def policy(name: str, **spec: object) -> dict:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {}, **spec},
    }


def test_a_closed_namespace_is_opened_for_a_label_and_new_pods_keep_to_it(cluster: Cluster, namespace: str) -> None:
    cluster.apply(policy("closed", policyTypes=["Ingress"]), deployment("web"), service("web"), namespace=namespace)
    cluster.kubectl("rollout", "status", "-n", namespace, "deployment/web", "--timeout=60s")  # probes get through
    fetch = ("sh", "-c", "timeout 3 wget -q -O - http://web || echo refused")
    friend = {"podSelector": {"matchLabels": {"app": "friend"}}}
    cluster.apply(policy("open", ingress=[{"from": [friend]}]), namespace=namespace)
    # the first thing these do is to ask, when they are so new that not every node knows them
    cluster.apply(pod("stranger", *fetch), pod("friend", *fetch), namespace=namespace)

    def said(name: str) -> str:
        return cluster.kubectl("logs", "-n", namespace, name).strip()

    ended = "--for=jsonpath={.status.phase}=Succeeded"
    cluster.kubectl("wait", "-n", namespace, ended, "pod/stranger", "pod/friend", "--timeout=60s")
    assert said("friend").startswith("web-")
    assert "refused" in said("stranger")
    cluster.kubectl("delete", "-n", namespace, "networkpolicy", "--all")
    cluster.apply(pod("later", *fetch), namespace=namespace)
    eventually(lambda: said("later").startswith("web-"), "without policies everything is open")
