"""Admission as real kubectl shows it: what a quota refuses, what a namespace's labels forbid and warn of."""

from __future__ import annotations

import json

from e2e.cluster import KUBECTL, Cluster, deployment, eventually, pod, run

MODEST = json.dumps(
    {"spec": {"containers": [{"name": "more", "image": "busybox", "resources": {"requests": {"cpu": "100m"}}}]}}
)


def used(cluster: Cluster, namespace: str) -> dict[str, str]:
    found: dict[str, str] = cluster.get("quota", "q", "-n", namespace).get("status", {}).get("used", {})
    return found


def test_a_quota_refuses_counts_and_is_given_back(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "quota", "q", "--hard=pods=1,requests.cpu=1", "-n", namespace)
    cluster.kubectl("wait", "quota/q", "--for=jsonpath={.status.used.pods}=0", "-n", namespace, "--timeout=60s")
    said = cluster.refused("apply", "-n", namespace, "-f", "-", input=json.dumps(pod("greedy", "true")))
    assert 'pods "greedy" is forbidden: failed quota: q: must specify requests.cpu for: main' in said
    cluster.apply(pod("modest", "sleep", "1000", resources={"requests": {"cpu": "100m"}}), namespace=namespace)
    assert used(cluster, namespace) == {"pods": "1", "requests.cpu": "100m"}, "charged with the pod, not later"
    said = cluster.refused("run", "more", "--image=busybox", "-n", namespace, "--overrides", MODEST)
    assert said.strip() == (
        'Error from server (Forbidden): pods "more" is forbidden: '
        "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"
    )
    cluster.kubectl("delete", "pod", "modest", "-n", namespace)
    eventually(lambda: used(cluster, namespace) == {"pods": "0", "requests.cpu": "0"}, "everything to be given back")


def warned(cluster: Cluster, *args: str, input: str | None = None) -> list[str]:
    """The warnings that kubectl prints."""
    done = run([str(KUBECTL), *args], input=input, env=cluster.environment())
    return [line.removeprefix("Warning: ") for line in done.stderr.splitlines() if line.startswith("Warning: ")]


def test_pod_security_forbids_and_warns(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("old", "sleep", "1000", securityContext={"privileged": True}), namespace=namespace)
    enforce = "pod-security.kubernetes.io/enforce"
    assert warned(cluster, "label", "namespace", namespace, f"{enforce}=baseline") == [
        f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "baseline:latest"',
        "old: privileged",
    ]
    bad = pod("bad", "true")
    bad["spec"]["hostNetwork"] = True
    said = cluster.refused("create", "-n", namespace, "-f", "-", input=json.dumps(bad))
    assert 'pods "bad" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)' in said
    template = deployment("web", securityContext={"privileged": True})
    assert warned(cluster, "create", "-n", namespace, "-f", "-", input=json.dumps(template)) == [
        'would violate PodSecurity "baseline:latest": privileged (container "web" must not set '
        "securityContext.privileged=true)"
    ]
    said = cluster.refused("label", "namespace", namespace, f"{enforce}=strict", "--overwrite")
    assert f'metadata.labels[{enforce}]: Invalid value: "strict": must be one of privileged, baseline, restricted' in (
        said
    )
