"""Machines join with a token: here each is a network namespace beside a cluster's own nodes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from e2e.cluster import ROOT, Cluster, deployment, eventually, pod, run, service
from netproxy.links import virtual
from shim import cluster as clusters

SHIM = [sys.executable, "-m", "shim"]


class Machine:
    """A namespace with an address on the cluster's bridge."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        made = clusters.load(cluster.name, cluster.data_dir)
        assert made is not None
        self.name, self.address, self.url = name, made.node_ip(name), made.url
        self.data_dir = made.node_dir(name)  # where `shim down` cleans up after it
        self._run_dir = made.run_dir / name
        virtual.create_node(made.name, name, self.address)
        self._inside = ["nsenter", f"--net={virtual.netns_path(made.name, name)}"]

    def command(self, *args: str) -> list[str]:
        flags = {"node-name": self.name, "data-dir": self.data_dir, "run-dir": self._run_dir}
        return [*self._inside, *SHIM, "agent", *(f"--{key}={value}" for key, value in flags.items()), *args]

    def refused(self, *args: str) -> str:
        done = run(self.command(*args), check=False)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr

    @contextlib.contextmanager
    def agent(self, *args: str) -> Iterator[None]:
        """The agent runs for the block."""
        process = subprocess.Popen(self.command(*args), cwd=ROOT)
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(20) == 0


def test_a_machine_joins_with_a_token_and_needs_none_the_next_time(own_cluster: Cluster) -> None:
    own_cluster.up(nodes=1)
    machine = Machine(own_cluster, "node-9")
    words = own_cluster.shim("token", "create", "--print-join-command").stdout.split()
    assert words[:4] == ["shim", "agent", "--server", machine.url]
    kubectl = own_cluster.kubectl
    with machine.agent(*words[2:]):
        kubectl("wait", "--for=create", "node/node-9", "--timeout=60s")
        kubectl("wait", "--for=condition=Ready", "node/node-9", "--timeout=60s")
        own_cluster.apply(pod("guest", "sleep", "1000"), deployment("web", replicas=2), service("web"))
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        assert own_cluster.get("csr")["items"][0]["status"]["conditions"][0]["reason"] == "AutoApproved"
    taken = Machine(own_cluster, "node-8")
    assert 'a Node with name "node-1" and status "Ready" already exists' in taken.refused(
        *words[2:], "--node-name=node-1"
    )
    wrong = "sha256:" + "0" * 64
    assert "not the one pinned by --ca-hash" in taken.refused(*words[2:6], f"--ca-hash={wrong}")
    with machine.agent():  # no token: it is known
        guest = pod("late", "sleep", "1000")
        guest["spec"]["nodeName"] = "node-9"
        own_cluster.apply(guest)
        kubectl("wait", "--for=condition=Ready", "pod/late", "--timeout=60s")
        assert kubectl("exec", "late", "--", "hostname") == "late\n"
        # Services and names work on it, and its kubelet is confined to what is its own
        address = own_cluster.get("service", "web")["spec"]["clusterIP"]
        eventually(lambda: "web-" in kubectl("exec", "late", "--", "wget", "-qO-", f"http://{address}"))
        mine = ["--kubeconfig", str(machine.data_dir / "kubelet.kubeconfig")]
        assert "Forbidden" in own_cluster.refused(*mine, "get", "secrets", "-A")
