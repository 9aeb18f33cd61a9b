"""The network as its users need it: names have a Service, and no change of a Service's pods costs a request."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from e2e.cluster import Cluster, deployment, eventually, pod, service

SECONDS = 60.0  # of load while everything behind the Service changes
DNS = ("service", "kube-dns", "-n", "kube-system")


def test_cluster_dns_is_a_service_of_all_nodes_and_makes_room_for_another(cluster: Cluster) -> None:
    nodes = cluster.get("nodes")["items"]
    first = {node["metadata"]["name"]: str(ipaddress.ip_network(node["spec"]["podCIDR"])[1]) for node in nodes}
    assert cluster.get(*DNS)["spec"]["clusterIP"] == cluster.ranges["service_cidr"].replace(".0.0/16", ".0.10")

    def endpoints() -> dict[str, str]:
        selector = "kubernetes.io/service-name=kube-dns"
        slices = cluster.get("endpointslices", "-n", "kube-system", "-l", selector)["items"]
        ready = [each for piece in slices for each in piece["endpoints"] or () if each["conditions"]["ready"]]
        return {each["nodeName"]: each["addresses"][0] for each in ready if each.get("hints", {}).get("forNodes")}

    eventually(lambda: endpoints() == first, "every node's name server is an endpoint")
    try:
        cluster.kubectl("patch", *DNS, "--type=merge", "-p", '{"spec":{"selector":{"k8s-app":"another-dns"}}}')
        eventually(lambda: endpoints() == {}, "the nodes make room")
    finally:
        cluster.kubectl("patch", *DNS, "--type=merge", "-p", '{"spec":{"selector":null}}')
    eventually(lambda: endpoints() == first, "the nodes are back")
    cluster.kubectl("delete", *DNS)
    eventually(lambda: endpoints() == first, "a deleted Service is made again")


@dataclass
class Load:
    """Requests one after another, each on a connection of its own, to several addresses at once."""

    targets: list[tuple[str, int]]
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    async def run(self, until: float) -> None:
        await asyncio.gather(*(self._ask(*target, until) for target in self.targets))

    async def _ask(self, address: str, port: int, until: float) -> None:
        while time.monotonic() < until:
            try:
                async with asyncio.timeout(5):
                    reader, writer = await asyncio.open_connection(address, port)
                    writer.write(b"GET / HTTP/1.0\r\n\r\n")
                    answer = await reader.read()
                    writer.close()
            except OSError as error:
                self.failures.append(f"{address}:{port}: {error!r}")
                continue
            head, _, body = answer.partition(b"\r\n\r\n")
            if b" 200 " in head:
                self.answers[body.decode().strip()] += 1
            else:
                self.failures.append(f"{address}:{port}: {answer!r}")
            await asyncio.sleep(0.01)


@contextlib.contextmanager
def loaded(load: Load, seconds: float) -> Iterator[None]:
    thread = threading.Thread(target=lambda: asyncio.run(load.run(time.monotonic() + seconds)))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_no_request_fails_while_everything_behind_the_service_changes(cluster: Cluster, namespace: str) -> None:
    echo = {"command": ["nc", "-ll", "-p", "8080", "-e", "sh", "-c", "hostname; exec cat"]}
    lasting = pod("lasting", **echo)
    lasting["metadata"]["labels"] = {"app": "echo"}
    shaken = deployment("echo", 2, **echo, readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1})
    cluster.apply(
        deployment("web", 3), service("web", type="NodePort"), lasting, shaken, service("echo"), namespace=namespace
    )
    for name in ("web", "echo"):
        cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=60s")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/lasting", "-n", namespace, "--timeout=60s")
    forever = "while :; do wget -qO /dev/null http://web || echo failed; echo asked; done"
    cluster.apply(pod("client", "sh", "-c", forever), namespace=namespace)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/client", "-n", namespace, "--timeout=60s")

    spec = cluster.get("service", "web", "-n", namespace)["spec"]
    nodes = [node["status"]["addresses"][0]["address"] for node in cluster.get("nodes")["items"]]
    load = Load([(spec["clusterIP"], 80), *((address, spec["ports"][0]["nodePort"]) for address in nodes)])
    eventually(lambda: _answered(load.targets), "the Service answers everywhere")
    connection = _connected_to("lasting", cluster.get("service", "echo", "-n", namespace)["spec"]["clusterIP"])
    end = time.monotonic() + SECONDS
    with connection, loaded(load, SECONDS):
        rounds = 0
        while time.monotonic() < end - 10:
            for name in ("web", "echo"):
                cluster.kubectl("rollout", "restart", f"deployment/{name}", "-n", namespace)
                cluster.kubectl("scale", f"deployment/{name}", f"--replicas={(5, 2, 3)[rounds % 3]}", "-n", namespace)
            for name in ("web", "echo"):
                cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=60s")
            found = cluster.get("pods", "-n", namespace, "-l", "app=web")["items"]
            cluster.kubectl(
                "delete", "pod", found[0]["metadata"]["name"], "-n", namespace, "--wait=false", "--ignore-not-found"
            )
            text = f"round {rounds}\n".encode()
            connection.sendall(text)
            assert connection.recv(100) == text, "a connection to an endpoint that stays lives on"
            rounds += 1
    said = cluster.kubectl("logs", "client", "-n", namespace).split()
    assert load.failures == []
    assert "failed" not in said
    assert rounds > 1
    assert len(load.answers) > 6, "several generations of pods have answered"


def _answered(targets: list[tuple[str, int]]) -> bool:
    for target in targets:
        socket.create_connection(target, 2).close()
    return True


def _connected_to(name: str, address: str) -> socket.socket:
    """A connection through the Service that this pod has answered."""

    def attempt() -> socket.socket | None:
        made = socket.create_connection((address, 80), 5)
        if made.recv(100).decode().strip() == name:
            return made
        made.close()
        return None

    found = eventually(attempt, f"{name} answers")
    assert found is not None
    return found
