"""What several machines must do as one: pods with limits, a Service across nodes, a node that dies and returns."""

from __future__ import annotations

import pytest

from e2e.cluster import deployment, eventually, pod, service

from .machines import Machines

SLOW = 600.0  # seconds; an emulated processor is 20 times slower than a real one

pytestmark = pytest.mark.timeout(1800)


def test_the_first_pod_runs_in_a_cgroup_of_its_own(machines: Machines, namespace: str) -> None:
    limits = {"limits": {"memory": "48Mi", "cpu": "500m"}}
    machines.apply(pod("first", "sh", "-c", "echo hello; exec sleep 100000", resources=limits), namespace=namespace)
    _ready(machines, "pod/first", namespace)
    assert machines.kubectl("logs", "first", "-n", namespace) == "hello\n"
    told = machines.kubectl("exec", "first", "-n", namespace, "--", "sh", "-c", "hostname; cat /proc/1/comm")
    assert told.split() == ["first", "sleep"]
    read = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max"
    assert machines.kubectl("exec", "first", "-n", namespace, "--", "sh", "-c", read).split() == [
        str(48 * 2**20),
        "50000",
        "100000",
    ]


def test_a_child_that_takes_too_much_memory_is_killed(machines: Machines, namespace: str) -> None:
    greedy = pod(
        "greedy", "sh", "-c", "x=$(tail -c 80m /dev/zero | tr '\\0' x)", resources={"limits": {"memory": "16Mi"}}
    )
    machines.apply(greedy, namespace=namespace)

    def reason() -> str | None:
        status = machines.get("pod", "greedy", "-n", namespace)["status"]["containerStatuses"][0]
        return status["state"].get("terminated", {}).get("reason")

    eventually(lambda: reason() == "OOMKilled", "the container is killed for its memory", SLOW)


def test_a_service_reaches_pods_of_every_node(machines: Machines, namespace: str) -> None:
    workers = machines.workers()
    spread = deployment("web", 2 * len(workers))
    constraint = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    spread["spec"]["template"]["spec"]["topologySpreadConstraints"] = [constraint]
    machines.apply(spread, service("web"), pod("client", "sleep", "100000"), namespace=namespace)
    machines.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=600s", timeout=SLOW)
    _ready(machines, "pod/client", namespace)
    pods = machines.get("pods", "-n", namespace, "-l", "app=web")["items"]
    assert {each["spec"]["nodeName"] for each in pods} == set(workers)
    everyone = {each["metadata"]["name"] for each in pods}
    many = "for i in $(seq 30); do wget -qO- http://web; done"

    def heard() -> set[str]:
        return set(machines.kubectl("exec", "client", "-n", namespace, "--", "sh", "-c", many, timeout=SLOW).split())

    answered: set[str] = set()
    eventually(lambda: answered.update(heard()) or answered == everyone, "all pods answer", SLOW)


def test_a_node_that_loses_power_is_noticed_and_returns_with_its_pods(machines: Machines, namespace: str) -> None:
    lost = machines.workers()[-1]
    kept = pod("kept", "sh", "-c", "echo begun; sleep 100000", restart="Always")
    kept["spec"]["nodeName"] = lost
    machines.apply(kept, namespace=namespace)
    _ready(machines, "pod/kept", namespace)
    machines.vagrant("halt", "--force", lost)
    wait = ("wait", f"node/{lost}", "--timeout=600s")
    machines.kubectl(*wait, "--for=jsonpath={.status.conditions[?(@.type=='Ready')].status}=Unknown", timeout=SLOW)

    def taints() -> set[str]:
        return {taint["key"] for taint in machines.get("node", lost)["spec"].get("taints", ())}

    eventually(lambda: "node.kubernetes.io/unreachable" in taints(), "its pods are told to leave", SLOW)
    machines.vagrant("up", "--no-provision", lost)
    machines.kubectl(*wait, "--for=condition=Ready", timeout=SLOW)

    def runs_again() -> bool:
        status = machines.get("pod", "kept", "-n", namespace)["status"]["containerStatuses"][0]
        return bool(status["ready"] and status["restartCount"] >= 1)

    eventually(runs_again, "its pod runs again", SLOW)
    assert "begun" in machines.kubectl("logs", "kept", "-n", namespace)


def test_kubectl_and_nodes_go_on_when_the_first_master_loses_power(machines: Machines, namespace: str) -> None:
    masters = machines.masters()
    if len(masters) < 3:
        pytest.skip("etcd goes on without one of three masters: MASTERS=3 make vagrant-up")
    machines.apply(pod("before", "sleep", "100000"), namespace=namespace)
    _ready(machines, "pod/before", namespace)
    machines.vagrant("halt", "--force", "master-1")
    try:
        other = ("--server", f"https://{masters['master-2']}:6443", "-n", namespace)
        run = ("run", "after", "--image=busybox", "--command", "--", "sleep", "100000")
        eventually(lambda: machines.kubectl(*other, *run) != "", "another master takes a write", SLOW)
        wait = ("wait", "pod/after", "--for=condition=Ready", "--timeout=600s")
        machines.kubectl(*other, *wait, timeout=SLOW)
        assert machines.kubectl(*other, "exec", "before", "--", "cat", "/proc/1/comm") == "sleep\n"
    finally:
        machines.vagrant("up", "--no-provision", "master-1")
    eventually(lambda: "after" in machines.kubectl("get", "pods", "-n", namespace), "the first master is back", SLOW)


def _ready(machines: Machines, what: str, namespace: str) -> None:
    machines.kubectl("wait", what, "-n", namespace, "--for=condition=Ready", "--timeout=600s", timeout=SLOW)
