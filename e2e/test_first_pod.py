"""The first things a newcomer does: look at the nodes, run a pod, read its logs, step into it."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from e2e.cluster import KUBECTL, OLD_KUBECTL, Cluster, eventually, pod

BINARIES = pytest.mark.parametrize("binary", [KUBECTL, OLD_KUBECTL], ids=["1.36", "1.32"])


def test_three_nodes_are_ready(cluster: Cluster) -> None:
    lines = cluster.kubectl("get", "nodes", "-o", "wide").splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["Ready"] * 3
    assert "CONTAINER-RUNTIME" in lines[0]


def test_a_pod_is_linux_namespaces(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("first", "sleep", "1000"), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/first", "--timeout=60s")
    status = cluster.get("pod", "first", "-n", namespace)["status"]
    assert status["phase"] == "Running"
    inside = cluster.kubectl(
        "exec", "-n", namespace, "first", "--", "sh", "-c", "hostname; id -u; cat /proc/1/comm; ip addr"
    )
    assert inside.splitlines()[:3] == ["first", "0", "sleep"]  # process 1 of a PID namespace of its own
    assert status["podIP"] in inside
    reasons = "Scheduled", "Pulled", "Created", "Started"

    def told() -> bool:
        described = cluster.kubectl("describe", "pod", "first", "-n", namespace)
        return all(reason in described for reason in reasons)

    eventually(told, "what happened to it")


@BINARIES
def test_logs_are_followed(cluster: Cluster, namespace: str, binary) -> None:
    cluster.apply(pod("talks", "sh", "-c", "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done"), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=jsonpath={.status.phase}=Running", "pod/talks", "--timeout=60s")
    followed = cluster.kubectl("logs", "-f", "-n", namespace, "talks", binary=binary)
    assert followed.splitlines() == [f"line {number}" for number in range(1, 6)]
    assert cluster.kubectl("logs", "--tail=2", "-n", namespace, "talks", binary=binary).splitlines() == [
        "line 4",
        "line 5",
    ]
    stamped = cluster.kubectl("logs", "--timestamps", "--tail=1", "-n", namespace, "talks", binary=binary)
    assert stamped.startswith("20")
    assert stamped.endswith("Z line 5\n")
    assert cluster.kubectl("logs", "--since=1h", "-n", namespace, "talks", binary=binary) == followed


@BINARIES
def test_exec_gives_exit_codes_and_both_streams(cluster: Cluster, namespace: str, binary) -> None:
    cluster.apply(pod("shell", "sleep", "1000"), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/shell", "--timeout=60s")
    command = [str(binary), "exec", "-i", "-n", namespace, "shell", "--", "sh", "-c", "cat; echo oops >&2; exit 7"]
    done = subprocess.run(
        command, input="typed\n", capture_output=True, text=True, env=cluster.environment(), timeout=30
    )
    assert done.stdout == "typed\n"
    assert "oops" in done.stderr
    assert done.returncode == 7


@BINARIES
def test_exec_with_a_terminal(cluster: Cluster, namespace: str, binary) -> None:
    cluster.apply(pod("tty", "sleep", "1000"), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/tty", "--timeout=60s")
    script = "until stty size | grep 77; do sleep 0.1; done; tty; echo done"
    inner = f"{binary} exec -it -n {namespace} tty -- sh -c '{script}'"
    command = ["script", "-qefc", f"stty rows 33 cols 77; {inner}", "/dev/null"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=cluster.environment(), timeout=60, stdin=subprocess.DEVNULL
    )
    assert "33 77" in done.stdout, done.stdout
    assert "/dev/pts/" in done.stdout
    assert "done" in done.stdout


@BINARIES
def test_files_are_copied_in_and_out(cluster: Cluster, namespace: str, tmp_path, binary) -> None:
    cluster.apply(pod("files", "sleep", "1000"), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/files", "--timeout=60s")
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(bytes(range(256)) * 4096)
    cluster.kubectl("cp", str(source), f"{namespace}/files:/tmp/copied", binary=binary)
    cluster.kubectl("cp", f"{namespace}/files:/tmp/copied", str(back), binary=binary)
    assert back.read_bytes() == source.read_bytes()


@BINARIES
def test_a_port_is_forwarded(cluster: Cluster, namespace: str, binary) -> None:
    serve = "mkdir /www; echo forwarded > /www/index.html; exec httpd -f -p 8080 -h /www"
    cluster.apply(pod("served", "sh", "-c", serve), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/served", "--timeout=60s")
    command = [str(binary), "port-forward", "-n", namespace, "pod/served", ":8080"]
    forward = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=cluster.environment())
    try:
        assert forward.stdout is not None
        port = forward.stdout.readline().split(":")[1].split()[0]  # Forwarding from 127.0.0.1:40123 -> 8080
        for _ in range(3):
            answer = subprocess.run(["curl", "-sf", "-m5", f"http://127.0.0.1:{port}/"], capture_output=True, text=True)
            assert answer.stdout == "forwarded\n"
    finally:
        forward.terminate()
        forward.wait()


def test_attach_sees_what_is_printed(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("ticks", "sh", "-c", "while true; do echo tick; sleep 0.2; done"), namespace=namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/ticks", "--timeout=60s")
    attached = subprocess.Popen(
        [str(KUBECTL), "attach", "-n", namespace, "ticks"], stdout=subprocess.PIPE, text=True, env=cluster.environment()
    )
    try:
        assert attached.stdout is not None
        assert attached.stdout.readline() == "tick\n"
    finally:
        attached.terminate()
        attached.wait()


def test_run_and_delete_leave_nothing_running(cluster: Cluster, namespace: str) -> None:
    out = cluster.kubectl(
        "run", "once", "-n", namespace, "--image=busybox", "--restart=Never", "--rm", "-i", "--", "echo", "hi"
    )
    assert "hi" in out
    assert cluster.get("pods", "-n", namespace)["items"] == []


def test_watching_shows_each_phase(cluster: Cluster, namespace: str) -> None:
    command = [str(KUBECTL), "get", "pods", "-n", namespace, "-o", "wide", "-w"]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=cluster.environment())
    try:
        time.sleep(1)  # kubectl gives no sign of having begun to watch an empty list
        cluster.apply(pod("seen", "sh", "-c", "sleep 0.5"), namespace=namespace)
        seen = set()
        assert watch.stdout is not None
        for line in watch.stdout:
            if line.startswith("seen"):
                seen.add(line.split()[2])
            if "Completed" in seen:
                break
        assert {"Pending", "ContainerCreating", "Running", "Completed"} <= seen
    finally:
        watch.terminate()
        watch.wait()


def test_a_pod_that_takes_too_much_memory_is_oom_killed(cluster: Cluster, namespace: str) -> None:
    grow = "x=0123456789abcdef; while true; do x=$x$x; done"
    limits = {"limits": {"memory": "64Mi"}, "requests": {"memory": "64Mi"}}
    cluster.apply(pod("greedy", "sh", "-c", grow, resources=limits), namespace=namespace)
    status = eventually(lambda: _terminated(cluster.get("pod", "greedy", "-n", namespace)), "the pod is killed")
    assert status["reason"] == "OOMKilled"
    assert status["exitCode"] == 137
    eventually(lambda: cluster.get("pod", "greedy", "-n", namespace)["status"]["phase"] == "Failed", "all is stopped")


def _terminated(obj: dict) -> dict | None:
    statuses = obj["status"].get("containerStatuses") or [{}]
    return statuses[0].get("state", {}).get("terminated")


def test_a_missing_image_says_so(cluster: Cluster, namespace: str) -> None:
    missing = pod("missing", "true")
    missing["spec"]["containers"][0]["image"] = "no.such.registry.invalid/x:1"
    cluster.apply(missing, namespace=namespace)

    def waiting() -> bool:
        statuses = cluster.get("pod", "missing", "-n", namespace)["status"].get("containerStatuses") or [{}]
        return statuses[0].get("state", {}).get("waiting", {}).get("reason") == "ImagePullBackOff"

    eventually(waiting, "ImagePullBackOff")

    def told() -> set[str]:
        events = cluster.get("events", "-n", namespace, "--field-selector=involvedObject.name=missing")["items"]
        return {event["reason"] for event in events}

    eventually(lambda: {"Pulling", "Failed", "BackOff"} <= told())


def test_a_pod_nothing_can_take_says_why(cluster: Cluster, namespace: str) -> None:
    huge = pod("huge", "true", resources={"requests": {"cpu": "1000"}})
    cluster.apply(huge, namespace=namespace)

    def message() -> str:
        events = cluster.get("events", "-n", namespace, "--field-selector=reason=FailedScheduling")["items"]
        return events[0]["message"] if events else ""

    assert eventually(message).startswith("0/3 nodes are available: 3 Insufficient cpu.")
    assert json.dumps(cluster.get("pod", "huge", "-n", namespace)["status"]).count("Unschedulable") == 1
