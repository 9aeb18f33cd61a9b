"""Killed parts: nobody notices, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import threading

from e2e.cluster import KUBECTL, Cluster, deployment, eventually, pod, service
from e2e.test_workloads import curl


def test_a_killed_nodeagent_changes_nothing(cluster: Cluster, namespace: str) -> None:
    cluster.apply(
        pod("steady", "sh", "-c", "i=0; while true; do echo $i; i=$((i+1)); sleep 0.1; done"), namespace=namespace
    )
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/steady", "--timeout=60s")
    before = cluster.get("pod", "steady", "-n", namespace)
    part = f"{before['spec']['nodeName']}.nodeagent"
    old = cluster.parts()[part]
    os.kill(old, signal.SIGKILL)
    eventually(lambda: cluster.parts()[part] not in (0, old), "the supervisor starts it again")
    out = eventually(lambda: cluster.kubectl("exec", "-n", namespace, "steady", "--", "echo", "still here"))
    assert out == "still here\n"
    after = cluster.get("pod", "steady", "-n", namespace)
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
    lines = cluster.kubectl("logs", "-n", namespace, "steady").split()
    assert lines == [str(number) for number in range(len(lines))]  # no line lost or doubled


def test_a_killed_netproxy_leaves_its_rules(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web", replicas=2), service("web"), namespace=namespace)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    address = cluster.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    eventually(lambda: curl(address))
    for part, pid in cluster.parts().items():
        if part.endswith(".netproxy"):
            os.kill(pid, signal.SIGKILL)
    for _ in range(20):
        assert curl(address).startswith("web-")
    cluster.apply(deployment("late", replicas=1), service("late"), namespace=namespace)
    address = cluster.get("service", "late", "-n", namespace)["spec"]["clusterIP"]
    eventually(lambda: curl(address).startswith("late-"), "the new netproxy programs new Services")


def test_kill_9_of_the_api_server_loses_no_acknowledged_write(cluster: Cluster, namespace: str) -> None:
    acknowledged: list[str] = []
    stop = threading.Event()

    def write(writer: int) -> None:
        number = 0
        while not stop.is_set():
            name = f"w{writer}-{number}"
            command = [str(KUBECTL), "create", "configmap", name, "-n", namespace, "--from-literal=a=b"]
            done = subprocess.run(command, capture_output=True, text=True, env=cluster.environment())
            if done.returncode == 0:
                acknowledged.append(name)
            number += 1

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        seen = len(acknowledged)
        eventually(lambda seen=seen: len(acknowledged) > seen + 3, "writes go on")
        old = cluster.parts()["apiserver"]
        os.kill(old, signal.SIGKILL)
        eventually(lambda old=old: cluster.parts()["apiserver"] not in (0, old))
    stop.set()
    for thread in threads:
        thread.join()
    kept = {item["metadata"]["name"] for item in cluster.get("configmaps", "-n", namespace)["items"]}
    assert set(acknowledged) <= kept
    # and everybody is watching again: a new pod runs
    cluster.apply(pod("afterwards", "true"), namespace=namespace)
    cluster.kubectl(
        "wait", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "pod/afterwards", "--timeout=60s"
    )


def test_killed_controllers_come_back_and_go_on(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web", replicas=1), namespace=namespace)
    old = cluster.parts()["controllers"]
    os.kill(old, signal.SIGKILL)
    cluster.kubectl("scale", "deployment/web", "--replicas=3", "-n", namespace)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    assert len(cluster.get("pods", "-n", namespace)["items"]) == 3


def test_without_an_api_server_pods_go_on_and_statuses_catch_up(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("lonely", "sh", "-c", "echo here; sleep 1000", restart="Always"), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/lonely", "--timeout=60s")
    found = cluster.get("pod", "lonely", "-n", namespace)
    node, uid = found["spec"]["nodeName"], found["metadata"]["uid"]
    inside = f"{node}/kubepods/**/pod{uid}/*/cgroup.procs"
    (first, *_) = eventually(
        lambda: [int(pid) for procs in cluster.cgroups(inside) for pid in procs.read_text().split()]
    )
    logs = cluster.data_dir / "nodes" / node / "logs/pods" / f"{namespace}_lonely_{uid}" / "main"
    server = cluster.parts()["apiserver"]
    os.kill(server, signal.SIGSTOP)
    try:
        os.kill(first, signal.SIGKILL)
        eventually(lambda: (logs / "1.log").exists() and "here" in (logs / "1.log").read_text(), "it is started again")
    finally:
        os.kill(server, signal.SIGCONT)

    def told() -> bool:
        (status,) = cluster.get("pod", "lonely", "-n", namespace)["status"]["containerStatuses"]
        ended = (status["lastState"].get("terminated") or {}).get("exitCode")
        return (status["restartCount"], status["ready"], ended) == (1, True, 137)

    eventually(told, "the API server learns what happened meanwhile")
