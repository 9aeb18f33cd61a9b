"""A node's pods: wired, reachable, and gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from netproxy import firewall
from netproxy.links import PodLinks, namespaces, veth
from netproxy.tests.kernel import (
    HTTP_SERVER,
    UDP_SERVER,
    ask_kernel,
    http_get,
    interfaces,
    namespace,
    needs_root,
    running,
    udp_ask,
)
from nodeagent.kubelet.network import HostPort, PodNetwork

pytestmark = needs_root
NODE_IP = "192.0.2.77"


@pytest.fixture(params=["0", "1"], ids=["routed only", "bridged packets filtered"])
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PodLinks]:
    """This thread, and so the links' thread, is in the node's namespace for the test."""
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(namespace(f"npp{os.getpid()}-node"))
        stack.enter_context(namespaces.inside(path))
        ask_kernel(lambda kernel: kernel.addr("add", index=1, address=NODE_IP, prefixlen=32))
        ask_kernel(lambda kernel: kernel.link("set", index=1, state="up"))
        namespaces.sysctl("net/bridge/bridge-nf-call-iptables", request.param)
        links = PodLinks(tmp_path, NODE_IP)
        assert not await links.ready()
        await links.set_pod_cidr("10.244.1.0/24")
        try:
            yield links
        finally:
            links.close()


@pytest.fixture
def pods(node: PodLinks) -> Iterator[list[Path]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(namespace(f"npp{os.getpid()}-pod{number}")) for number in range(3)]


async def test_pods_reach_each_other_and_the_node_reaches_them(node: PodLinks, pods: list[Path]) -> None:
    network: PodNetwork = node
    assert await network.ready()
    addresses = [await network.attach(pod.name, str(pod)) for pod in pods]
    assert addresses == ["10.244.1.2", "10.244.1.3", "10.244.1.4"]
    with running("python3", "-Sc", HTTP_SERVER, "one", "80", inside=pods[1]):
        assert http_get("10.244.1.3", 80, inside=pods[0]) == "one 10.244.1.2"
        assert http_get("10.244.1.3", 80) == "one 10.244.1.1"


async def test_attaching_again_changes_nothing(node: PodLinks, pods: list[Path]) -> None:
    first = await node.attach("s", str(pods[0]))
    before = interfaces(pods[0])
    assert await node.attach("s", str(pods[0])) == first
    assert interfaces(pods[0]) == before


async def test_detaching_frees_everything_even_without_the_namespace(node: PodLinks, pods: list[Path]) -> None:
    for pod in pods:
        await node.attach(pod.name, str(pod))
    namespaces.remove(pods[0])
    await asyncio.gather(*(node.detach(pod.name) for pod in pods))
    await node.detach(pods[0].name)
    assert not any(veth.name_of(pod.name) in interfaces() for pod in pods)
    assert await node.attach("next", str(pods[1])) == "10.244.1.5"


async def test_a_restarted_agent_knows_its_pods(node: PodLinks, pods: list[Path], tmp_path: Path) -> None:
    address = await node.attach("s", str(pods[0]), (HostPort(8080, 80),))
    again = PodLinks(tmp_path, NODE_IP)
    await again.set_pod_cidr("10.244.1.0/24")
    assert await again.attach("s", str(pods[0]), (HostPort(8080, 80),)) == address
    await again.attach("lost", str(pods[1]))
    await again.retain({"s"})
    assert await again.attach("new", str(pods[2])) == "10.244.1.4"
    assert veth.name_of("lost") not in interfaces()
    again.close()


async def test_a_host_port_is_answered_for_everyone(node: PodLinks, pods: list[Path]) -> None:
    await node.attach("server", str(pods[0]), (HostPort(8080, 80),))
    await node.attach("client", str(pods[1]))
    with running("python3", "-Sc", HTTP_SERVER, "it", "80", inside=pods[0]):
        assert http_get(NODE_IP, 8080, inside=pods[1]) == "it 10.244.1.3"
        assert http_get(NODE_IP, 8080) == "it 10.244.1.1" or http_get(NODE_IP, 8080) == f"it {NODE_IP}"
        assert http_get("127.0.0.1", 8080) == "it 10.244.1.1"
        assert http_get(NODE_IP, 8080, inside=pods[0]) == "it 10.244.1.1"
    await node.detach("server")
    assert firewall.jumps_to("nat", "SHIM-HOSTPORTS")
    assert "DNAT" not in firewall.save("nat")


async def test_a_host_port_is_that_of_one_address_of_the_node(node: PodLinks, pods: list[Path]) -> None:
    """Two pods have the same port, each on another address."""
    for number, address in enumerate(("192.0.2.77", "127.0.0.1")):
        await node.attach(f"s{number}", str(pods[number]), (HostPort(5300, 5353, "UDP", address),))
    await node.attach("client", str(pods[2]))
    with (
        running("python3", "-Sc", UDP_SERVER, "one", "5353", inside=pods[0]),
        running("python3", "-Sc", UDP_SERVER, "other", "5353", inside=pods[1]),
    ):
        assert udp_ask(NODE_IP, 5300, inside=pods[2]) == "one 10.244.1.4"
        assert udp_ask("127.0.0.1", 5300).startswith("other ")
        assert udp_ask("10.244.1.1", 5300, inside=pods[2]) == ""


async def test_datagrams_to_a_host_port_follow_when_its_pod_goes(node: PodLinks, pods: list[Path]) -> None:
    await node.attach("one", str(pods[0]), (HostPort(5300, 5353, "UDP"),))
    with (
        running("python3", "-Sc", UDP_SERVER, "one", "5353", inside=pods[0]),
        running("python3", "-Sc", UDP_SERVER, "other", "5353", inside=pods[1]),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow,
    ):
        flow.settimeout(30)
        flow.connect((NODE_IP, 5300))
        flow.send(b"?")
        assert flow.recv(100).startswith(b"one ")
        await node.detach("one")
        await node.attach("other", str(pods[1]), (HostPort(5300, 5353, "UDP"),))
        flow.send(b"?")  # the same flow: the kernel would remember where its packets went
        assert flow.recv(100).startswith(b"other ")
