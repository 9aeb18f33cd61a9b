"""Machines join with a token: here each is a network namespace beside a cluster's own nodes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from e2e.bench.api import free_port
from e2e.cluster import ROOT, Cluster, deployment, eventually, pod, run, service
from netproxy.links import virtual
from shim import cluster as clusters
from shim.store.tests.etcd_cluster import EtcdCluster

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
        flags["eviction-hard"] = "memory.available<100Mi"  # how full this machine's disk is must not matter
        return [*self._inside, *SHIM, "agent", *(f"--{key}={value}" for key, value in flags.items()), *args]

    def shim(self, *args: str) -> str:
        """What a command that looks at this machine prints."""
        return run([*self._inside, *SHIM, *args, "--data-dir", str(self.data_dir)]).stdout

    def uninstall(self, *args: str) -> list[str]:
        return [*self._inside, *SHIM, "uninstall", "agent", "--data-dir", str(self.data_dir), *args]

    def network(self) -> str:
        """Its rules, routes and interfaces."""
        asked = "iptables-save; ip route; ip -o link | grep -v eth0; ipset list -name"
        return run([*self._inside, "sh", "-c", asked], check=False).stdout

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
        # so do the commands that look at what a machine has
        assert "localhost/host" in machine.shim("image", "ls")
        assert {"nodeagent", "netproxy"} <= set(machine.shim("logs").split())
        assert "default/late  Running on node-9" in (told := machine.shim("explain", "pod/late"))
        assert "sleep 1000" in told
        mine = ["--kubeconfig", str(machine.data_dir / "kubelet.kubeconfig")]
        assert "Forbidden" in own_cluster.refused(*mine, "get", "secrets", "-A")
        running = run(machine.uninstall(), check=False)
        assert running.stderr.startswith("shim uninstall: the agent runs, as process ")
        assert running.returncode == 1
        assert kubectl("exec", "late", "--", "hostname") == "late\n"
    # that it ends changes nothing; that the machine is no node any more, all
    assert "KUBE-SERVICES" in machine.network()
    assert "nothing is left" in run(machine.uninstall("--purge")).stdout
    assert "KUBE-" not in machine.network()
    assert not machine.data_dir.exists()
    assert run(machine.uninstall()).returncode == 0


@contextlib.contextmanager
def master(*args: str) -> Iterator[None]:
    process = subprocess.Popen([*SHIM, "server", "--no-routes", *args], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_a_second_master_joins_and_goes_on_alone(tmp_path: Path) -> None:
    """Both share an etcd; the keys went from one to the other encrypted."""
    etcd = EtcdCluster(tmp_path)
    etcd.start()
    port, store = free_port(), etcd.url
    first, second = Cluster("first", tmp_path / "first"), Cluster("second", tmp_path / "second")
    shared = ["--port", str(port), "--store", store]

    def flags(made: Cluster, address: str) -> list[str]:
        return ["--data-dir", str(made.data_dir), "--bind", address, "--advertise-address", address, *shared]

    try:
        with master(*flags(first, "127.0.0.1")):
            eventually(lambda: first.kubeconfig.exists() and first.kubectl("get", "--raw", "/readyz") == "ok")
            eventually(lambda: first.get("-n", "kube-public", "configmap", "cluster-info"))
            create = [*SHIM, "token", "create", "--data-dir", str(first.data_dir)]
            key = "5a" * 32
            words = run([*create, "--master", "--certificate-key", key]).stdout.split()
            assert key in words
            assert words[:3] == ["shim", "server", "--join"]
            joining = words[2 : words.index("--store")]
            stranger = [*SHIM, "server", *flags(second, "127.0.0.2"), *joining]
            for changed, said in (
                (["--token", run(create).stdout.strip()], "this token is not one for masters"),
                (["--certificate-key", "0" * 64], "cannot be decrypted with this --certificate-key"),
                (["--store", ""], "a further master works on the store of the first"),
            ):
                refused = run([*stranger, *changed], check=False)
                assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
                assert said in refused.stderr
            again = run([*SHIM, "server", "--no-routes", *flags(first, "127.0.0.1")], check=False)
            assert "shim server: it runs already, as process " in again.stderr
            with master(*flags(second, "127.0.0.2"), *joining):
                eventually(lambda: second.kubeconfig.exists() and second.kubectl("get", "--raw", "/readyz") == "ok")
                second.kubectl("create", "configmap", "c", "--from-literal=a=b")
                assert first.get("configmap", "c")["data"] == {"a": "b"}
                token = second.kubectl("create", "token", "default").strip()
                anonymous = ["--kubeconfig", "/dev/null", "--certificate-authority", str(first.data_dir / "pki/ca.crt")]
                who = ["--server", f"https://127.0.0.1:{port}", "--token", token, "auth", "whoami"]
                assert "system:serviceaccount:default:default" in first.kubectl(*anonymous, *who)
        with master(*flags(second, "127.0.0.2"), *joining[:2]):  # the first is gone, and no token is needed
            eventually(lambda: second.kubectl("get", "--raw", "/readyz") == "ok")
            assert second.get("configmap", "c")["data"] == {"a": "b"}
    finally:
        etcd.stop()
