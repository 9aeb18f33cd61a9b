"""Each part by itself, without any privilege: for learning, for debugging, for test suites that want an API server."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from e2e.bench.api import free_port
from e2e.cluster import KUBECTL, ROOT, Cluster, deployment, eventually, run

POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]


@contextlib.contextmanager
def part(*args: str) -> Iterator[subprocess.Popen[str]]:
    """A part in the foreground, without capabilities, until the end of the ``with``; its first line has been said."""
    command = [*POWERLESS, sys.executable, "-m", "shim", *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), f"shim {' '.join(args)} said nothing and exited with {process.wait()}"
        yield process
    finally:
        process.terminate()
        assert process.wait(20) == 0, f"shim {args[0]} did not end cleanly"


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Cluster]:
    """An API server alone."""
    with part("apiserver", "--data-dir", str(tmp_path / "data"), "--port", str(free_port())):
        yield Cluster("alone", tmp_path / "data")


def test_an_api_server_alone_serves_kubectl(alone: Cluster, tmp_path: Path) -> None:
    shown = run([sys.executable, "-m", "shim", "kubeconfig", "--data-dir", str(alone.data_dir)]).stdout
    assert shown == alone.kubeconfig.read_text()
    elsewhere = ["--server", "https://192.0.2.1:6443"]
    shown = run([sys.executable, "-m", "shim", "kubeconfig", "--data-dir", str(alone.data_dir), *elsewhere]).stdout
    assert yaml.safe_load(shown)["clusters"][0]["cluster"]["server"] == elsewhere[1]
    assert (alone.kubeconfig.stat().st_mode & 0o777) == 0o600
    alone.kubectl("create", "configmap", "c", "--from-literal=a=b")
    assert alone.get("configmap", "c")["data"] == {"a": "b"}
    taken = json.loads(alone.kubectl("config", "view", "-o", "json"))["clusters"][0]["cluster"]["server"].split(":")[-1]
    second = ["apiserver", "--data-dir", str(tmp_path / "other"), "--port", taken]
    refused = run([sys.executable, "-m", "shim", *second], check=False)
    assert refused.returncode == 1
    assert "already in use" in refused.stderr.lower()


def test_tokens_for_other_machines_are_made_listed_and_ended(alone: Cluster) -> None:
    def token(*args: str) -> subprocess.CompletedProcess[str]:
        return run([sys.executable, "-m", "shim", "token", *args, "--data-dir", str(alone.data_dir)], check=False)

    assert token("list").stdout == ""
    assert token("create", "abcdef.0123456789abcdef", "--ttl", "2h").stdout == "abcdef.0123456789abcdef\n"
    lines = token("list").stdout.splitlines()
    assert lines[0].split() == ["TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA", "GROUPS"]
    group = "system:bootstrappers:kubeadm:default-node-token"
    assert [lines[1].split()[i] for i in (0, 1, 3, 4, 5)] == [
        "abcdef.0123456789abcdef",
        "1h",
        "signing,authentication",
        "<none>",
        group,
    ]
    for args, said in (
        (("create", "abcdef.0123456789abcdef"), 'a token with id "abcdef" already exists'),
        (("create", "abc"), 'the bootstrap token "abc" was not of the form '),
        (("create", "--ttl", "1day"), 'time: unknown unit "day" in duration "1day"'),
        (("create", "--groups", "system:masters"), 'bootstrap group "system:masters" is invalid (must match '),
        (("delete", "ABCDEF"), "given token didn't match pattern "),
    ):
        refused = token(*args)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
        assert refused.stderr.startswith(f"shim token: {said}"), refused.stderr
    assert token("delete", "abcdef").stdout == 'bootstrap token "abcdef" deleted\n'
    assert 'secrets "bootstrap-token-abcdef" not found' in token("delete", "abcdef").stderr


def test_controllers_and_scheduler_work_beside_it(alone: Cluster) -> None:
    kubeconfig = str(alone.kubeconfig)
    with part("controllers", "--kubeconfig", kubeconfig), part("scheduler", "--kubeconfig", kubeconfig):
        alone.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
        alone.apply(deployment("web", replicas=2))

        def said() -> str:
            events = alone.get("events", "--field-selector=reason=FailedScheduling")["items"]
            return events[0]["message"] if events else ""

        assert "no nodes available to schedule pods" in eventually(said)
        assert len(alone.get("pods")["items"]) == 2


def test_a_server_is_the_control_plane_in_one_command(tmp_path: Path) -> None:
    made = Cluster("server", tmp_path / "data")
    with part("server", "--no-routes", "--data-dir", str(made.data_dir), "--port", str(free_port())):
        eventually(lambda: made.kubeconfig.exists() and made.kubectl("get", "--raw", "/readyz") == "ok")
        made.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
        made.apply(deployment("web", replicas=1))
        eventually(lambda: len(made.get("pods")["items"]) == 1, "the controllers work")


def test_what_needs_root_says_so() -> None:
    for command in ("up", "down"):
        done = run(["unshare", "--user", sys.executable, "-m", "shim", command, "--name", "nobody"], check=False)
        assert done.returncode == 1
        assert "needs root" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_wrong_use_is_one_clear_line(tmp_path: Path) -> None:
    wrong = [
        (["frobnicate"], 2),
        (["up", "--nodes", "many"], 2),
        (["up", "--nodes", "0", "--name", "wrong"], 1),
        (["up", "--name", "Wrong_Name"], 1),
        (["status", "--name", "absent"], 1),
        (["scheduler", "--kubeconfig", "/nonexistent"], 1),
        (["agent", "--data-dir", "/nonexistent/agent"], 1),
        (["install", "agent", "--data-dir", "/nonexistent/agent"], 1),
        (["token", "list", "--data-dir", "/nonexistent"], 1),
        (["logs", "apiserver", "--name", "absent"], 1),
        (["apiserver", "--data-dir", "/proc/no/such/place"], 1),
        (["apiserver", "--data-dir", str(tmp_path), "--store", "bogus://x"], 1),
    ]
    for arguments, code in wrong:
        done = run([sys.executable, "-m", "shim", *arguments], check=False)
        assert done.returncode == code, (arguments, done.stderr)
        assert len(done.stderr.splitlines()) == 1, (arguments, done.stderr)


def test_kubectl_is_real() -> None:
    assert "v1.36" in run([str(KUBECTL), "version", "--client"]).stdout


def test_up_names_what_is_missing_and_tells_a_sudoer_how_to_go_on(own_cluster: Cluster, tmp_path: Path) -> None:
    up = [sys.executable, "-m", "shim", "up", "--name", own_cluster.name, "--data-dir", str(own_cluster.data_dir)]
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /usr/sbin && exec "$@"', "sh"]
    lacking = run([*hidden, *up, "--nodes", "1"], check=False, env={"PATH": "/usr/bin:/bin"})
    assert lacking.returncode == 1
    assert "iptables is missing: install the package iptables" in lacking.stderr
    with own_cluster.addresses():
        done = run([*up, "--nodes", "1"], env={"PATH": "/usr/bin:/bin", "SUDO_USER": "alice"})
    assert "1 node Ready" in done.stdout
    assert f"kubeconfig --name {own_cluster.name} > ~/.kube/{own_cluster.name}.config" in done.stdout


def test_up_refuses_a_port_that_is_taken_and_what_it_cannot_change(cluster: Cluster, own_cluster: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = own_cluster.shim("up", "--nodes", "1", "--port", port, check=False)
    assert refused.stderr == f"shim up: port {port} is in use by another program; try another --port\n"
    assert not own_cluster.data_dir.exists()
    other = cluster.shim("up", "--nodes", "5", check=False)
    assert other.returncode == 1
    assert "is running with --nodes 3; to change that, `shim down` it first" in other.stderr


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "shim", "apiserver", "--data-dir", str(tmp_path / "small" / "data")]
    small = f'mount -t tmpfs -o size=8k none {tmp_path}/small && exec "$@"'
    (tmp_path / "small").mkdir()
    full = run(["unshare", "--mount", "sh", "-c", small, "sh", *command, "--port", "0"], check=False)
    assert full.returncode == 1
    assert full.stderr.startswith("shim apiserver: ")
    assert "No space left on device" in full.stderr
    assert len(full.stderr.splitlines()) == 1
