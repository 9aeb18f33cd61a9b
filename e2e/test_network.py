"""The network as its users need it: names have a Service, and no change of a Service's pods costs a request."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from e2e.cluster import Cluster, deployment, eventually, pod, service

ROUNDS = (5, 2, 3)  # replicas after each change of everything behind the Service
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
    enough: bool = False

    async def run(self) -> None:
        await asyncio.gather(*(self._ask(*target) for target in self.targets))

    async def _ask(self, address: str, port: int) -> None:
        while not self.enough:
            try:
                async with asyncio.timeout(10):
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
def loaded(load: Load) -> Iterator[None]:
    thread = threading.Thread(target=lambda: asyncio.run(load.run()))
    thread.start()
    try:
        yield
    finally:
        load.enough = True
        thread.join()


def test_no_request_fails_while_everything_behind_the_service_changes(cluster: Cluster, namespace: str) -> None:
    echo = {"command": ["nc", "-ll", "-p", "8080", "-e", "sh", "-c", "hostname; exec cat"]}
    lasting = pod("lasting", **echo)
    lasting["metadata"]["labels"] = {"app": "echo"}
    shaken = deployment("echo", 2, **echo, readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1})
    cluster.apply(
        deployment("web", 3, lingers=6),
        service("web", type="NodePort"),
        lasting,
        shaken,
        service("echo"),
        namespace=namespace,
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

    def pods() -> list[dict[str, Any]]:
        return list(cluster.get("pods", "-n", namespace, "-l", "app=web")["items"])

    with connection, loaded(load):
        for replicas in ROUNDS:
            for name in ("web", "echo"):
                cluster.kubectl("rollout", "restart", f"deployment/{name}", "-n", namespace)
                cluster.kubectl("scale", f"deployment/{name}", f"--replicas={replicas}", "-n", namespace)
            for name in ("web", "echo"):
                cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=60s")
            one = next(each["metadata"]["name"] for each in pods() if "deletionTimestamp" not in each["metadata"])
            cluster.kubectl("delete", "pod", one, "-n", namespace, "--wait=false", "--ignore-not-found")
            text = f"{replicas} replicas\n".encode()
            connection.sendall(text)
            assert connection.recv(100) == text, "a connection to an endpoint that stays lives on"
        eventually(lambda: len(pods()) == ROUNDS[-1], "all that had to go have gone")
    said = cluster.kubectl("logs", "client", "-n", namespace).split()
    assert load.failures == []
    assert "failed" not in said
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
