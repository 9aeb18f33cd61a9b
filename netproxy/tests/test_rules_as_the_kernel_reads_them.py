"""Any Services, any packets: what the rules say by reading them in Python is what the kernel does.

A node stands between two links: on one are its pods and those of other nodes, on the other the rest of the world. Each
packet that comes out on the side of the pods is looked at.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from netproxy.links import namespaces
from netproxy.rules.kernel import KernelRules
from netproxy.services import chains
from netproxy.services.tests.builders import PLACE, endpoint, ruleset, service, slice_of
from netproxy.tests.kernel import namespace, needs_root, run
from netproxy.tests.packets import Fate, Node, Packet, Walk, destinations

pytestmark = needs_root

NODE_IP, GATEWAY = PLACE.node_ip, "10.244.1.1"
PODS = ("10.244.1.5", "10.244.1.6", "10.244.1.7", "10.244.2.5", "10.244.2.6")
CLIENTS = ("172.30.0.1", "192.168.7.7", "198.18.0.9")
IP_PKTINFO = 8
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # every try takes a tenth of a second
PATIENCE, SILENCE = 2.0, 0.05  # seconds for what must come, and for what must not


@dataclass
class Wires:
    """The node and what is around it."""

    node: Path
    pods: Path
    world: Path
    rules: KernelRules
    ears: dict[int, socket.socket]

    def apply(self, rules: Any) -> None:
        with namespaces.inside(self.node):
            self.rules.apply(rules)
            assert not self.rules.check(rules)

    def send(self, packet: Packet, possible: set[Fate]) -> Fate:
        """What the kernel does with a packet; ``possible`` only tells how long to wait for what."""
        netns = self.node if packet.from_node else self.pods if packet.source in PODS else self.world
        with namespaces.inside(netns):
            mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with mouth:
            mouth.bind((packet.source, 0))
            mouth.connect((packet.destination, packet.port))
            mouth.settimeout(PATIENCE if possible == {Fate("refused")} else SILENCE)
            token = os.urandom(8)
            with contextlib.suppress(PermissionError):  # so a sender on the node is told of either refusal
                mouth.send(token)
            if heard := self._hear(token, PATIENCE if any(fate.what == "sent" for fate in possible) else SILENCE):
                address, port, source = heard
                return Fate("sent", f"{address}:{port}", source != packet.source)
            try:
                mouth.recv(1)
            except ConnectionRefusedError:
                return Fate("refused")
            except TimeoutError:
                return Fate("dropped")
        raise AssertionError("nobody answers here")

    def _hear(self, token: bytes, patience: float) -> tuple[str, int, str] | None:
        readable, _, _ = select.select(list(self.ears.values()), [], [], patience)
        for ear in readable:
            data, extra, _, (source, _) = ear.recvmsg(64, 64)
            assert data == token
            (_, _, destination) = struct.unpack("I4s4s", extra[0][2])
            return socket.inet_ntoa(destination), ear.getsockname()[1], source
        return None


@pytest.fixture(scope="module")
def wires() -> Iterator[Wires]:
    with contextlib.ExitStack() as stack:
        node, pods, world = (stack.enter_context(namespace(f"npk{os.getpid()}-{name}")) for name in "npw")
        with namespaces.inside(node):
            namespaces.sysctls({"net/ipv4/ip_forward": "1", "net/ipv4/conf/all/rp_filter": "0"})
            namespaces.sysctls({"net/ipv4/conf/default/rp_filter": "0", "net/ipv4/conf/all/send_redirects": "0"})
            namespaces.sysctl("net/ipv4/icmp_ratelimit", "0")  # refuse as often as it is asked for
        with namespaces.inside(pods):  # what a pod sends to itself by way of the node comes back with its own address
            namespaces.sysctls({"net/ipv4/conf/all/accept_local": "1", "net/ipv4/conf/all/rp_filter": "0"})
            namespaces.sysctls({"net/ipv4/conf/default/rp_filter": "0"})
        _wire(node, pods, "pods", f"{GATEWAY}/16", PODS, GATEWAY)
        _wire(node, world, "world", f"{NODE_IP}/24", CLIENTS, NODE_IP)
        for client in CLIENTS[1:]:
            run("ip", "route", "add", client, "dev", "world", inside=node)
        run("ip", "route", "add", "default", "via", CLIENTS[0], inside=node)  # rules see only what has a way to go
        ears = {port: stack.enter_context(_ear(pods, port)) for port in (8080, 8081)}
        with namespaces.inside(node):
            rules = KernelRules(chains.FAMILY)
        yield Wires(node, pods, world, rules, ears)


def _wire(node: Path, other: Path, name: str, own: str, others: tuple[str, ...], gateway: str) -> None:
    run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", other.name, inside=node)
    run("ip", "addr", "add", own, "dev", name, inside=node)
    run("ip", "link", "set", name, "up", inside=node)
    run("ip", "link", "set", "lo", "up", inside=node)
    for address in others:
        run("ip", "addr", "add", f"{address}/32", "dev", "eth0", inside=other)
    run("ip", "link", "set", "eth0", "up", inside=other)
    run("ip", "route", "add", gateway, "dev", "eth0", inside=other)
    run("ip", "route", "add", "default", "via", gateway, inside=other)


def _ear(netns: Path, port: int) -> socket.socket:
    with namespaces.inside(netns):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    made.bind(("", port))
    return made


# -- any Services


def _ports(kind: str) -> st.SearchStrategy[Any]:
    node_port = st.sampled_from((30001, 30002)) if kind != "ClusterIP" else st.just(None)
    protocol = st.sampled_from(("UDP", "UDP", "TCP"))
    return st.builds(
        lambda protocol, port, node: {"protocol": protocol, "port": port, **({"nodePort": node} if node else {})},
        protocol,
        st.sampled_from((53, 80)),
        node_port,
    )


@st.composite
def _objects(draw: st.DrawFn) -> list[Any]:
    made: list[Any] = []
    node_ports: set[int] = set()
    for number in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(("ClusterIP", "NodePort", "LoadBalancer")))
        port = draw(_ports(kind))
        if port.get("nodePort") in node_ports:
            del port["nodePort"]
        node_ports.add(port.get("nodePort", 0))
        spec: dict[str, Any] = {"type": kind}
        if kind != "ClusterIP":
            spec["externalTrafficPolicy"] = draw(st.sampled_from(("Cluster", "Local")))
        spec["internalTrafficPolicy"] = draw(st.sampled_from(("Cluster", "Local")))
        spec["sessionAffinity"] = draw(st.sampled_from(("None", "ClientIP")))
        if draw(st.booleans()):
            spec["externalIPs"] = [f"203.0.113.{number}"]
        if kind == "LoadBalancer":
            spec["loadBalancerSourceRanges"] = draw(
                st.sampled_from(([], ["192.168.0.0/16"], ["172.30.0.0/24", "10.244.0.0/16"]))
            )
        ingress = (f"198.51.100.{number}",) if kind == "LoadBalancer" else ()
        name = f"s{number}"
        made.append(service(name, f"10.96.1.{number}", port, ingress=ingress, **spec))
        target = {"name": "", "port": draw(st.sampled_from((8080, 8081))), "protocol": port["protocol"]}
        made.append(slice_of(name, *draw(st.lists(_endpoints(), max_size=4)), ports=(target,)))
    return made


def _endpoints() -> st.SearchStrategy[Any]:
    states = ({}, {}, {"ready": False}, {"ready": False, "serving": True, "terminating": True})
    return st.builds(
        lambda address, state, zones: endpoint(
            address, "node-1" if ".244.1." in address else "node-2", zones=zones, **state
        ),
        st.sampled_from(PODS),
        st.sampled_from(states),
        st.sampled_from(("", "east", "west")),
    )


@given(_objects(), st.randoms(use_true_random=False))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_what_becomes_of_packets(wires: Wires, objects: list[Any], chance: Any) -> None:
    rules = ruleset(*objects)
    wires.apply(rules)
    walk = Walk(chains.FAMILY, rules, Node(frozenset((NODE_IP, GATEWAY))))
    spoken_of = sorted(destinations(rules))
    places = [(address or NODE_IP, port) for address, port in spoken_of] + [("10.96.1.0", 53)]
    for source in (*CLIENTS, *PODS, NODE_IP):
        destination, port = chance.choice(places)
        packet = Packet(source, destination, port, from_node=source == NODE_IP)
        possible = walk.fates(packet)
        if any(fate.to == f"{destination}:{port}" for fate in possible):
            continue  # it goes on as it came, and what then becomes of it is no matter of the rules
        assert wires.send(packet, possible) in possible, packet
