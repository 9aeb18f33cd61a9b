"""The pod network across a router: nodes on one link are gateways, those behind a router are reached by a tunnel."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from netproxy.links import PodLinks, namespaces, netlink, outside, routes, vxlan
from netproxy.tests.kernel import HTTP_SERVER, ask_kernel, http_get, interfaces, namespace, needs_root, run, running

pytestmark = needs_root

NAME = f"npv{os.getpid() % 10000}"
LARGE = """
import hashlib, socket, sys
with socket.create_connection((sys.argv[1], 9000), 10) as there:
    data = bytes(range(256)) * 8192
    there.sendall(data); there.shutdown(socket.SHUT_WR)
    print(there.makefile().read())
"""
LARGE_SERVER = """
import hashlib, socket
server = socket.create_server(("", 9000))
print("ready", flush=True)
while True:
    there, _ = server.accept()
    with there:
        there.sendall(hashlib.sha256(there.makefile("rb").read()).hexdigest().encode())
"""


@dataclass
class Node:
    netns: Path
    address: str
    cidr: str
    pod: Path
    pod_address: str

    def route_to(self, *others: Node) -> None:
        def work() -> None:
            with namespaces.inside(self.netns):
                routes.sync_pod_routes({node.cidr: node.address for node in others}, (self.cidr, self.address))

        asyncio.run(asyncio.to_thread(work))

    def routes(self) -> str:
        return run("ip", "route", inside=self.netns)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Nodes 1 and 2 on one link, node 3 on another, a router between the two."""
    with contextlib.ExitStack() as stack:
        router = stack.enter_context(namespace(f"{NAME}-router"))
        with namespaces.inside(router):
            namespaces.sysctl("net/ipv4/ip_forward", "1")
        for link in (1, 2):
            ask_kernel(lambda kernel, link=link: _bridge(kernel, f"link{link}", f"198.18.{link}.1"), router)
        made = []
        for number, link in ((1, 1), (2, 1), (3, 2)):
            made.append(_node(stack, router, number, link, tmp_path_factory.mktemp("links")))
        yield made


def _bridge(kernel: netlink.Netlink, name: str, address: str) -> None:
    kernel.link("add", ifname=name, kind="bridge", address=netlink.hardware_address(name))
    index = netlink.find(kernel, name)
    kernel.link("set", index=index, state="up")
    kernel.addr("add", index=index, address=address, prefixlen=24)


def _node(stack: contextlib.ExitStack, router: Path, number: int, link: int, folder: Path) -> Node:
    netns = stack.enter_context(namespace(f"{NAME}-node{number}"))
    address, cidr = f"198.18.{link}.{10 + number}", f"10.244.{number}.0/24"

    def wire(kernel: netlink.Netlink) -> None:
        with netns.open("rb") as target:
            kernel.link("add", ifname=f"n{number}", kind="veth", peer={"ifname": "eth0", "net_ns_fd": target.fileno()})
        bridge = netlink.find(kernel, f"link{link}")
        kernel.link("set", index=netlink.find(kernel, f"n{number}"), master=bridge, state="up")

    def settle(kernel: netlink.Netlink) -> None:
        index = netlink.find(kernel, "eth0")
        kernel.addr("add", index=index, address=address, prefixlen=24)
        kernel.link("set", index=index, state="up")
        kernel.route("add", dst="default", gateway=f"198.18.{link}.1")

    ask_kernel(wire, router)
    ask_kernel(settle, netns)
    pod = stack.enter_context(namespace(f"{NAME}-pod{number}"))
    with namespaces.inside(netns):
        links = PodLinks(folder, address)
        stack.callback(links.close)
        asyncio.run(links.set_pod_cidr(cidr))
        pod_address = asyncio.run(links.attach("pod", str(pod)))
    for script, arguments in ((HTTP_SERVER, (f"pod{number}", "8080")), (LARGE_SERVER, ())):
        stack.enter_context(running("python3", "-Sc", script, *arguments, inside=pod))
    return Node(netns, address, cidr, pod, pod_address)


def test_pods_reach_each_other_across_links_and_routers(nodes: list[Node]) -> None:
    for node in nodes:
        node.route_to(*(other for other in nodes if other is not node))
    first, second, third = nodes
    assert f"{second.cidr} via {second.address} dev eth0" in first.routes()
    assert f"{third.cidr} via 10.244.3.0 dev {vxlan.NAME}" in first.routes()
    for one in nodes:
        for other in nodes:
            if one is not other:
                answer = http_get(other.pod_address, 8080, inside=one.pod)
                assert answer == f"{other.pod.name.removeprefix(NAME + '-')} {one.pod_address}"
    assert http_get(third.pod_address, 8080, inside=first.netns) == "pod3 10.244.1.0"


def test_what_does_not_fit_through_the_tunnel_still_arrives(nodes: list[Node]) -> None:
    first, _, third = nodes
    first.route_to(third)
    third.route_to(first)
    sent = hashlib.sha256(bytes(range(256)) * 8192).hexdigest()
    assert run("python3", "-Sc", LARGE, third.pod_address, inside=first.pod).strip() == sent


def test_a_tunnel_forgets_nodes_that_go_and_follows_those_that_move(nodes: list[Node]) -> None:
    first, second, third = nodes
    first.route_to(second, third)
    elsewhere = Node(third.netns, "198.18.2.99", third.cidr, third.pod, third.pod_address)
    first.route_to(second, elsewhere)
    seen = run("bridge", "fdb", "show", "dev", vxlan.NAME, inside=first.netns)
    assert "198.18.2.99" in seen
    assert third.address not in seen
    nearer = Node(third.netns, "198.18.1.99", third.cidr, third.pod, third.pod_address)
    first.route_to(second, nearer)
    assert f"{third.cidr} via 198.18.1.99 dev eth0" in first.routes()
    first.route_to(second)
    assert third.cidr not in first.routes()
    assert second.cidr in first.routes()
    assert not run("bridge", "fdb", "show", "dev", vxlan.NAME, inside=first.netns).strip()
    assert interfaces(first.netns)[vxlan.NAME] == ["10.244.1.0/32"]


def test_a_node_without_a_way_to_it_stops_no_other(nodes: list[Node]) -> None:
    first, second, third = nodes
    lost = Node(third.netns, "240.0.0.1", third.cidr, third.pod, third.pod_address)
    run("ip", "route", "del", "default", inside=first.netns)
    try:
        with pytest.raises(OSError, match=r"240\.0\.0\.1"):
            first.route_to(lost, second)
        assert second.cidr in first.routes()
    finally:
        run("ip", "route", "add", "default", "via", "198.18.1.1", inside=first.netns)


def test_what_knows_no_pods_answers_them_by_their_node(nodes: list[Node]) -> None:
    first, router = nodes[0], namespaces.NAMED / f"{NAME}-router"
    with running("python3", "-Sc", HTTP_SERVER, "world", "80", inside=router):
        assert http_get("198.18.1.1", 80, inside=first.pod, patience=0.5) == ""
        with namespaces.inside(first.netns):
            for _ in range(2):
                outside.masquerade("10.244.0.0/16")
        assert http_get("198.18.1.1", 80, inside=first.pod) == f"world {first.address}"
        first.route_to(*nodes[1:])
        nodes[1].route_to(first)
        assert http_get(nodes[1].pod_address, 8080, inside=first.pod) == f"pod2 {first.pod_address}"
    saved = run("iptables-save", "-t", "nat", inside=first.netns)
    assert saved.count(outside.CHAIN + "\n") == 1
