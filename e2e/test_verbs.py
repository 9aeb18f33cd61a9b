"""kubectl's verbs for workloads and nodes, as users type them: what they say, and what they do."""

from __future__ import annotations

import json
from typing import Any

from e2e.cluster import Cluster, eventually, pod

SLEEPS = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait")


class Namespace:
    """kubectl in one namespace."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name

    def __call__(self, *args: str, timeout: float = 120) -> str:
        return self.cluster.kubectl("-n", self.name, *args, timeout=timeout).strip()

    def refused(self, *args: str) -> str:
        return self.cluster.refused("-n", self.name, *args)

    def get(self, *args: str) -> Any:
        return json.loads(self("get", *args, "-o", "json"))

    def rolled_out(self, what: str) -> None:
        assert self("rollout", "status", what, "--timeout=100s").endswith("successfully rolled out")


def image_of(kubectl: Namespace) -> str:
    containers = kubectl.get("deployment/web")["spec"]["template"]["spec"]["containers"]
    return str(containers[0]["image"])


def test_a_rollout_is_watched_paused_undone_and_repeated(cluster: Cluster, namespace: str) -> None:
    kubectl = Namespace(cluster, namespace)
    assert kubectl("create", "deployment", "web", "--image=busybox", "--replicas=2", "--", *SLEEPS).endswith("created")
    kubectl.rolled_out("deployment/web")
    assert kubectl("set", "image", "deployment/web", "busybox=busybox:latest").endswith("image updated")
    kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=newer")
    kubectl.rolled_out("deployment/web")
    lines = [line.split() for line in kubectl("rollout", "history", "deployment/web").splitlines()[2:]]
    assert lines == [["1", "<none>"], ["2", "newer"]]
    assert "Image:\tbusybox:latest" in kubectl("rollout", "history", "deployment/web", "--revision=2")

    assert kubectl("rollout", "pause", "deployment/web").endswith("paused")
    assert "already paused" in kubectl.refused("rollout", "pause", "deployment/web")
    assert "you cannot rollback a paused deployment" in kubectl.refused("rollout", "undo", "deployment/web")
    kubectl("set", "env", "deployment/web", "A=1")
    eventually(lambda: kubectl.get("deployment/web")["status"]["observedGeneration"] >= 4)
    assert len(kubectl.get("replicasets")["items"]) == 2
    assert kubectl("rollout", "resume", "deployment/web").endswith("resumed")
    kubectl.rolled_out("deployment/web")
    assert len(kubectl.get("replicasets")["items"]) == 3

    assert kubectl("rollout", "undo", "deployment/web", "--to-revision=1").endswith("rolled back")
    assert image_of(kubectl) == "busybox"
    assert "unable to find specified revision 9" in kubectl.refused(
        "rollout", "undo", "deployment/web", "--to-revision=9"
    )
    before = {each["metadata"]["uid"] for each in kubectl.get("pods")["items"]}
    assert kubectl("rollout", "restart", "deployment/web").endswith("restarted")
    kubectl.rolled_out("deployment/web")
    eventually(lambda: before.isdisjoint(each["metadata"]["uid"] for each in kubectl.get("pods")["items"]))


def test_daemon_sets_and_stateful_sets_are_rolled_back_too(cluster: Cluster, namespace: str) -> None:
    kubectl = Namespace(cluster, namespace)
    template = {"metadata": {"labels": {"app": "x"}}, "spec": pod("x", *SLEEPS, restart="Always")["spec"]}
    spec = {"selector": {"matchLabels": {"app": "x"}}, "template": template}
    for kind, more in (("DaemonSet", {}), ("StatefulSet", {"serviceName": "x", "replicas": 1})):
        cluster.apply(
            {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x"}, "spec": {**spec, **more}},
            namespace=namespace,
        )
        what = f"{kind.lower()}/x"
        kubectl("rollout", "status", what, "--timeout=100s")
        kubectl("set", "env", what, "A=1")
        kubectl("rollout", "status", what, "--timeout=100s")
        assert [line.split()[0] for line in kubectl("rollout", "history", what).splitlines()[2:]] == ["1", "2"]
        assert kubectl("rollout", "undo", what).endswith("rolled back")
        assert "env" not in kubectl.get(what)["spec"]["template"]["spec"]["containers"][0]
        kubectl("delete", what)


def test_set_changes_what_it_names(cluster: Cluster, namespace: str) -> None:
    kubectl = Namespace(cluster, namespace)
    kubectl("create", "deployment", "web", "--image=busybox", "--replicas=0", "--", *SLEEPS)
    kubectl("create", "serviceaccount", "robot")
    kubectl("expose", "deployment/web", "--port=80", "--target-port=8080")
    kubectl("create", "rolebinding", "viewers", "--clusterrole=view", "--user=a")
    kubectl("set", "resources", "deployment/web", "--requests=cpu=10m", "--limits=memory=64Mi")
    kubectl("set", "serviceaccount", "deployment/web", "robot")
    kubectl("set", "selector", "service/web", "app=other")
    kubectl("set", "subject", "rolebinding/viewers", "--user=b")
    made = kubectl.get("deployment/web")["spec"]["template"]["spec"]
    assert made["containers"][0]["resources"] == {"limits": {"memory": "64Mi"}, "requests": {"cpu": "10m"}}
    assert made["serviceAccountName"] == "robot"
    assert kubectl.get("service/web")["spec"]["selector"] == {"app": "other"}
    assert [each["name"] for each in kubectl.get("rolebinding/viewers")["subjects"]] == ["a", "b"]


def test_scaling_waits_and_checks(cluster: Cluster, namespace: str) -> None:
    kubectl = Namespace(cluster, namespace)
    kubectl("create", "deployment", "web", "--image=busybox", "--", *SLEEPS)
    assert kubectl("scale", "deployment/web", "--replicas=2", "--current-replicas=1", "--timeout=60s").endswith(
        "scaled"
    )
    assert "Expected replicas to be 1, was 2" in kubectl.refused(
        "scale", "deployment/web", "--replicas=3", "--current-replicas=1"
    )
    assert kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "deployment/web", "--timeout=100s")
    assert kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=100s").endswith("condition met")
    assert "timed out" in kubectl.refused("wait", "--for=condition=Failed", "deployment/web", "--timeout=1s")
    kubectl("delete", "deployment/web", "--wait=false")
    kubectl("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=100s")
    assert kubectl("get", "pods", "-o", "name") == ""


def test_create_makes_every_sort(cluster: Cluster, namespace: str) -> None:
    kubectl = Namespace(cluster, namespace)
    made = {
        "configmap/c": ["--from-literal=a=b"],
        "secret/generic/s": ["--from-literal=a=b"],
        "secret/docker-registry/d": ["--docker-username=a", "--docker-password=b"],
        "role/r": ["--verb=get", "--resource=pods"],
        "rolebinding/r": ["--role=r", "--user=a"],
        "serviceaccount/a": [],
        "service/clusterip/s": ["--tcp=80"],
        "service/nodeport/n": ["--tcp=80"],
        "service/loadbalancer/l": ["--tcp=80"],
        "service/externalname/e": ["--external-name=a.example.org"],
        "ingress/i": ["--rule=a.example.org/=s:80"],
        "quota/q": ["--hard=pods=50"],
        "poddisruptionbudget/p": ["--selector=app=a", "--min-available=1"],
        "cronjob/c": ["--image=busybox", "--schedule=0 0 1 1 *", "--", "true"],
    }
    for what, more in made.items():
        assert kubectl("create", *what.split("/"), *more).endswith("created"), what
    assert kubectl("create", "job", "j", "--from=cronjob/c").endswith("created")
    assert kubectl("wait", "--for=condition=Complete", "job/j", "--timeout=100s").endswith("condition met")
    (owner,) = kubectl.get("job/j")["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("CronJob", "c")
    for what in ("clusterrole/x --verb=get --resource=nodes", "clusterrolebinding/x --clusterrole=view --user=a"):
        name, *more = what.split()
        assert kubectl("create", *name.split("/"), *more, "--dry-run=server").endswith("created (server dry run)")
    assert kubectl("create", "priorityclass", "x", "--value=5", "--dry-run=server").endswith("created (server dry run)")


def test_taints_are_put_on_and_taken_off(cluster: Cluster, namespace: str) -> None:
    kubectl = Namespace(cluster, namespace)
    try:
        assert kubectl("taint", "node", "node-2", f"{namespace}=a:PreferNoSchedule").endswith("tainted")
        again = kubectl.refused("taint", "node", "node-2", f"{namespace}=b:PreferNoSchedule")
        assert f"already has {namespace} taint(s) with same effect(s) and --overwrite is false" in again
        assert kubectl("taint", "node", "node-2", f"{namespace}=b:PreferNoSchedule", "--overwrite").endswith("modified")
        taints = kubectl.get("node/node-2")["spec"]["taints"]
        assert {"key": namespace, "value": "b", "effect": "PreferNoSchedule"} in taints
    finally:
        assert kubectl("taint", "node", "node-2", f"{namespace}-").endswith("untainted")


def test_a_drain_waits_for_a_budget(cluster: Cluster, namespace: str) -> None:
    """Of two pods on the node one may go at a time: the second waits until the first has a successor elsewhere."""
    kubectl = Namespace(cluster, namespace)
    kubectl("create", "deployment", "web", "--image=busybox", "--replicas=2", "--", *SLEEPS)
    kubectl("create", "pdb", "web", "--selector=app=web", "--min-available=2")
    kubectl.rolled_out("deployment/web")
    kubectl("wait", "--for=jsonpath={.status.currentHealthy}=2", "pdb/web", "--timeout=100s")
    node = kubectl.get("pods", "-l", "app=web")["items"][0]["spec"]["nodeName"]
    mine = ["--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector=app=web"]
    try:
        said = kubectl.refused("drain", node, *mine, "--timeout=3s")
        assert "Cannot evict pod as it would violate the pod's disruption budget." in said
        assert kubectl.get(f"node/{node}")["spec"]["unschedulable"]
        kubectl("scale", "deployment/web", "--replicas=3")
        assert kubectl("drain", node, *mine, "--timeout=100s", timeout=150).endswith("drained")
        nodes = {each["spec"]["nodeName"] for each in kubectl.get("pods", "-l", "app=web")["items"]}
        assert node not in nodes
    finally:
        assert kubectl("uncordon", node).endswith("uncordoned")


def test_run_shows_what_a_pod_says_and_removes_it(cluster: Cluster, namespace: str) -> None:
    kubectl = Namespace(cluster, namespace)
    command = ["run", "once", "--image=busybox", "--restart=Never", "--rm", "-i", "--command", "--", "echo", "hello"]
    assert "hello" in kubectl(*command)
    assert kubectl("get", "pods", "-o", "name") == ""
    kubectl("run", "stays", "--image=busybox", "--labels=a=b", "--env=A=1", "--port=80", "--", "sleep", "1000")
    spec = kubectl.get("pod/stays")["spec"]["containers"][0]
    assert (spec["env"], spec["ports"][0]["containerPort"], spec["args"]) == (
        [{"name": "A", "value": "1"}],
        80,
        ["sleep", "1000"],
    )

    def told() -> set[str]:
        return {line.split()[2] for line in kubectl("events", "--for", "pod/stays").splitlines()[1:]}

    eventually(lambda: told() >= {"Scheduled", "Pulled", "Created", "Started"})
