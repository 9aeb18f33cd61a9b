"""Workload objects end to end: what a controller writes becomes processes, and traffic finds them."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

from e2e.cluster import Cluster, deployment, eventually, pod, service


def curl(address: str, timeout: int = 5) -> str:
    done = subprocess.run(["curl", "-sf", f"-m{timeout}", f"http://{address}/"], capture_output=True, text=True)
    assert done.returncode == 0, f"curl {address}: exit {done.returncode}"
    return done.stdout.strip()


def test_a_service_spreads_over_all_pods_on_all_nodes(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web", replicas=4), service("web", type="NodePort"), namespace=namespace)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    pods = cluster.get("pods", "-n", namespace)["items"]
    assert len({each["spec"]["nodeName"] for each in pods}) == 3
    names = {each["metadata"]["name"] for each in pods}
    spec = cluster.get("service", "web", "-n", namespace)["spec"]
    seen: set[str] = set()
    eventually(lambda: seen.add(curl(spec["clusterIP"])) or seen == names, "every pod answers at the cluster IP")
    for node in cluster.get("nodes")["items"]:
        address = node["status"]["addresses"][0]["address"]
        assert curl(f"{address}:{spec['ports'][0]['nodePort']}") in names


def test_cluster_dns_and_services_work_from_any_pod(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web", replicas=2), service("web"), namespace=namespace)
    clients = [pod(f"client-{node}", "sleep", "1000") for node in (1, 2, 3)]
    for number, client in enumerate(clients, 1):
        client["spec"]["nodeName"] = f"node-{number}"
    cluster.apply(*clients, namespace=namespace)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod", "--all", "--timeout=60s")
    address = cluster.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    for number in (1, 2, 3):
        full = f"web.{namespace}.svc.cluster.local"
        looked_up = cluster.kubectl("exec", "-n", namespace, f"client-{number}", "--", "nslookup", full)
        assert address in looked_up
        fetched = eventually(
            lambda number=number: cluster.kubectl(
                "exec", "-n", namespace, f"client-{number}", "--", "wget", "-q", "-O-", "http://web"
            )
        )
        assert fetched.startswith("web-")


def test_pods_reach_each_other_without_nat(cluster: Cluster, namespace: str) -> None:
    """The server's own log names its client: it must be the pod's address, not a node's."""
    server = pod("server", "sh", "-c", "mkdir /www; echo hi > /www/index.html; exec httpd -f -v -p 9000 -h /www")
    client = pod("client", "sleep", "1000")
    server["spec"]["nodeName"], client["spec"]["nodeName"] = "node-1", "node-2"
    cluster.apply(server, client, namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod", "--all", "--timeout=60s")
    address = cluster.get("pod", "server", "-n", namespace)["status"]["podIP"]
    source = cluster.get("pod", "client", "-n", namespace)["status"]["podIP"]
    fetch = ["exec", "-n", namespace, "client", "--", "wget", "-q", "-O-", f"http://{address}:9000"]
    assert eventually(lambda: cluster.kubectl(*fetch)) == "hi\n"
    assert f"{source}]:" in cluster.kubectl("logs", "-n", namespace, "server")


def test_a_rolling_update_fails_no_request(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web", replicas=4, lingers=6), service("web"), namespace=namespace)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    address = cluster.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    eventually(lambda: curl(address))
    failures, answers, stop = [], 0, threading.Event()

    def load() -> None:
        nonlocal answers
        while not stop.is_set():
            try:
                curl(address)
                answers += 1
            except AssertionError as error:
                failures.append(str(error))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        cluster.kubectl("set", "env", "deployment/web", "VERSION=2", "-n", namespace)
        cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=90s")
        history = cluster.kubectl("rollout", "history", "deployment/web", "-n", namespace)
        assert history.split()[-4:-3] == ["1"] or "2" in history
        cluster.kubectl("rollout", "undo", "deployment/web", "-n", namespace)
        cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=90s")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert answers > 50


def test_scaling_and_garbage_collection(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web", replicas=1), namespace=namespace)
    cluster.kubectl("scale", "deployment/web", "--replicas=5", "-n", namespace)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    assert len(cluster.get("pods", "-n", namespace)["items"]) == 5
    cluster.kubectl("scale", "deployment/web", "--replicas=2", "-n", namespace)
    eventually(lambda: len(cluster.get("pods", "-n", namespace)["items"]) == 2, "scaled down")
    cluster.kubectl("delete", "deployment/web", "-n", namespace)
    eventually(lambda: cluster.get("replicasets,pods", "-n", namespace)["items"] == [], "owned objects are collected")


def test_a_job_completes(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "job", "sum", "-n", namespace, "--image=busybox", "--", "sh", "-c", "echo $((6 * 7))")
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Complete", "job/sum", "--timeout=60s")
    assert cluster.kubectl("logs", "-n", namespace, "job/sum") == "42\n"
    assert cluster.get("job", "sum", "-n", namespace)["status"]["succeeded"] == 1


def test_a_daemonset_runs_once_on_each_node(cluster: Cluster, namespace: str) -> None:
    made = deployment("agent")
    del made["spec"]["replicas"]
    cluster.apply({**made, "kind": "DaemonSet"}, namespace=namespace)
    cluster.kubectl("rollout", "status", "daemonset/agent", "-n", namespace, "--timeout=60s")
    pods = cluster.get("pods", "-n", namespace)["items"]
    assert sorted(each["spec"]["nodeName"] for each in pods) == ["node-1", "node-2", "node-3"]


def test_a_statefulset_gives_stable_names(cluster: Cluster, namespace: str) -> None:
    made = deployment("db", replicas=2)
    made["spec"]["serviceName"] = "db"
    cluster.apply({**made, "kind": "StatefulSet"}, service("db", clusterIP="None"), namespace=namespace)
    cluster.kubectl("rollout", "status", "statefulset/db", "-n", namespace, "--timeout=60s")
    assert {each["metadata"]["name"] for each in cluster.get("pods", "-n", namespace)["items"]} == {"db-0", "db-1"}
    name = f"db-1.db.{namespace}.svc.cluster.local"
    address = cluster.get("pod", "db-1", "-n", namespace)["status"]["podIP"]
    found = cluster.kubectl("exec", "-n", namespace, "db-0", "--", "nslookup", name)
    assert address in found


def test_a_killed_container_is_started_again(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("phoenix", "sleep", "1000", restart="Always"), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/phoenix", "--timeout=60s")
    pid = process_of(cluster, namespace, "phoenix")
    before = cluster.get("pod", "phoenix", "-n", namespace)["status"]["containerStatuses"][0]
    assert before["restartCount"] == 0
    Path(f"/proc/{pid}/comm").read_text()
    subprocess.run(["kill", "-9", str(pid)], check=True)

    def restarted() -> bool:
        status = cluster.get("pod", "phoenix", "-n", namespace)["status"]["containerStatuses"][0]
        return status["restartCount"] == 1 and status["ready"]

    eventually(restarted, "the container runs again")
    status = cluster.get("pod", "phoenix", "-n", namespace)["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 137
    assert status["containerID"] != before["containerID"]


def process_of(cluster: Cluster, namespace: str, name: str) -> int:
    """The process id of a pod's only container, found as a teacher would: in its cgroup."""
    uid = cluster.get("pod", name, "-n", namespace)["metadata"]["uid"]

    def found() -> int:
        pids = {
            int(pid) for file in cluster.cgroups(f"**/pod{uid}/**/cgroup.procs") for pid in file.read_text().split()
        }
        return max((pid for pid in pids if Path(f"/proc/{pid}/comm").read_text() == "sleep\n"), default=0)

    return eventually(found, "its process is found")


def test_deleting_a_pod_ends_its_processes(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("gone", "sleep", "1000"), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/gone", "--timeout=60s")
    pid = process_of(cluster, namespace, "gone")
    began = time.monotonic()
    cluster.kubectl("delete", "pod", "gone", "-n", namespace)
    assert not Path(f"/proc/{pid}").exists()
    assert time.monotonic() - began < 30


def test_a_load_balancer_is_every_node_on_the_services_own_port(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web"), service("web", type="LoadBalancer"), namespace=namespace)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    found = eventually(
        lambda: cluster.get("service", "web", "-n", namespace)["status"]["loadBalancer"]["ingress"], "an address"
    )
    port = cluster.get("service", "web", "-n", namespace)["spec"]["ports"][0]["port"]
    assert len(found) == 3
    for each in found:
        eventually(lambda address=each["ip"]: curl(f"{address}:{port}").startswith("web-"), "every node answers")


def test_endpoints_written_by_hand_are_served(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment("web"), namespace=namespace)
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    (server,) = cluster.get("pods", "-n", namespace)["items"]
    by_hand = service("by-hand")
    del by_hand["spec"]["selector"]
    subset = {"addresses": [{"ip": server["status"]["podIP"]}], "ports": [{"port": 8080}]}
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "by-hand"}, "subsets": [subset]}
    cluster.apply(by_hand, endpoints, namespace=namespace)
    address = cluster.get("service", "by-hand", "-n", namespace)["spec"]["clusterIP"]
    eventually(lambda: curl(address) == server["metadata"]["name"], "the address written by hand answers")
