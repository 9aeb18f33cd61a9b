"""Packets really sent, with policies in force: who gets through, and that a new pod is filtered before it can send."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from netproxy import firewall
from netproxy.links import ipset, namespaces, newcomers
from netproxy.tests.kernel import (
    HTTP_SERVER,
    Addresses,
    eventually,
    http_get,
    namespace,
    needs_root,
    run,
    running,
    udp_ask,
)
from netproxy.tests.world import NAME, Pod, World, world

pytestmark = needs_root


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, addresses: Addresses) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world"), addresses) as made:
        for name in ("a1", "a2", "c1", "c2"):
            made.announce(name, app=name[0], node=name[1])
        yield made


@pytest.fixture
def here(shared: World) -> Iterator[World]:
    """The shared world, without policies before and after."""
    yield shared
    shared.no_policies()
    for node in shared.nodes:
        eventually(lambda node=node: chains_in(node.netns) == ["KUBE-POLICIES"], "the chains of pods are gone")


def chains_in(netns: Path) -> list[str]:
    with namespaces.inside(netns):
        saved = firewall.save("mangle")
    return [line[1:].split()[0] for line in saved.splitlines() if line.startswith(":KUBE")]


def reaches(here: World, client: str, server: str) -> bool:
    """Whether an answer comes soon; one that is to come is waited for with ``eventually``."""
    address = here.pods[server].address
    return http_get(address, 8080, inside=here.pods[client].netns, patience=0.5).startswith(server)


def told(here: World, *pods: str, direction: str = "IN") -> None:
    """Wait until the nodes of these pods have chains for as many of their pods."""
    for node in {here.pods[name].node.name: here.pods[name].node for name in pods}.values():
        count = sum(here.pods[name].node is node for name in pods)
        eventually(
            lambda node=node, count=count: (
                sum(chain.startswith(f"KUBE-POL-{direction}-") for chain in chains_in(node.netns)) == count
            ),
            f"{node.name} isolates {count} pods",
        )


def test_a_closed_pod_is_reached_by_its_node_and_by_whom_a_policy_names(here: World) -> None:
    servers = {"matchLabels": {"app": "a"}}
    here.policy("closed", podSelector=servers)
    told(here, "a1", "a2")
    assert not reaches(here, "c1", "a1")
    assert not reaches(here, "c1", "a2")
    assert not reaches(here, "c2", "a1")
    eventually(lambda: reaches(here, "a1", "a1"), "it reaches itself")
    here.policy("closed", podSelector=servers, ingress=[{"from": [{"podSelector": {"matchLabels": {"node": "1"}}}]}])
    eventually(lambda: reaches(here, "c1", "a1"), "a pod of the same node with the label gets through")
    eventually(lambda: reaches(here, "c1", "a2"), "so does one of another node")
    assert not reaches(here, "c2", "a2")
    # a node reaches its own pods whatever policies say: probes come from there
    assert http_get(here.pods["a2"].address, 8080, inside=here.nodes[1].netns).startswith("a2")
    here.announce("c1", app="c", node="3")
    eventually(lambda: not reaches(here, "c1", "a2"), "without the label it does not any more")
    here.announce("c1", app="c", node="1")


def test_ports_by_name_and_number(here: World) -> None:
    here.policy("http-only", podSelector={"matchLabels": {"app": "a"}}, ingress=[{"ports": [{"port": "http"}]}])
    told(here, "a1", "a2")
    eventually(lambda: reaches(here, "c2", "a1"), "the port that is named is open")
    assert not udp_ask(here.pods["a1"].address, 5353, inside=here.pods["c2"].netns, patience=0.5)
    here.policy("dns-too", ingress=[{"ports": [{"port": 5353, "protocol": "UDP"}]}])
    told(here, "a1", "a2", "c1", "c2")
    assert udp_ask(here.pods["a1"].address, 5353, inside=here.pods["c2"].netns).startswith("a1")


def test_ranges_of_ports(here: World) -> None:
    def only(first: int, last: int) -> None:
        here.policy(
            "range", podSelector={"matchLabels": {"app": "a"}}, ingress=[{"ports": [{"port": first, "endPort": last}]}]
        )

    only(8081, 8090)
    told(here, "a1", "a2")
    assert not reaches(here, "c2", "a1")
    only(8000, 8080)
    eventually(lambda: reaches(here, "c2", "a1"), "the last port of a range is in it")


def test_namespaces_by_their_labels(here: World) -> None:
    def only(**labels: str) -> None:
        peer = {"namespaceSelector": {"matchLabels": labels}, "podSelector": {"matchLabels": {"app": "c"}}}
        here.policy("namespaces", podSelector={"matchLabels": {"app": "a"}}, ingress=[{"from": [peer]}])

    only(**{"kubernetes.io/metadata.name": "kube-system"})
    told(here, "a1", "a2")
    assert not reaches(here, "c2", "a1")
    only(**{"kubernetes.io/metadata.name": "default"})
    eventually(lambda: reaches(here, "c2", "a1"), "a pod of a namespace with the label gets through")
    assert not reaches(here, "a2", "a1")


def test_what_a_pod_sends_and_answers_to_it(here: World) -> None:
    here.policy("quiet", podSelector={"matchLabels": {"app": "c"}}, policyTypes=["Egress"], egress=[])
    told(here, "c1", "c2", direction="OUT")
    assert not reaches(here, "c1", "a1")
    assert not reaches(here, "c1", "a2")
    allowed = {"to": [{"podSelector": {"matchLabels": {"node": "2"}}}], "ports": [{"port": "http"}]}
    here.policy("quiet", podSelector={"matchLabels": {"app": "c"}}, policyTypes=["Egress"], egress=[allowed])
    eventually(lambda: reaches(here, "c1", "a2"), "what a rule names is reached")
    assert not reaches(here, "c1", "a1")


def test_blocks_of_addresses_with_exceptions(here: World) -> None:
    other = here.pods["c2"].address
    block = {"ipBlock": {"cidr": here.ranges.pod_cidr, "except": [f"{other}/32"]}}
    here.policy("block", podSelector={"matchLabels": {"app": "a"}}, ingress=[{"from": [block]}])
    told(here, "a1", "a2")
    eventually(lambda: reaches(here, "c1", "a2"), "an address of the block gets through")
    assert not reaches(here, "c2", "a2")


def test_by_way_of_a_service_the_pod_counts(here: World) -> None:
    address = here.service("filtered")["spec"]["clusterIP"]
    here.endpoints("filtered", "a2")
    allowed = {"to": [{"podSelector": {"matchLabels": {"app": "a"}}}]}
    here.policy("by-service", podSelector={"matchLabels": {"app": "c"}}, policyTypes=["Egress"], egress=[allowed])
    told(here, "c1", "c2", direction="OUT")
    eventually(lambda: http_get(address, 80, inside=here.pods["c1"].netns), "the Service answers").startswith("a2")


def test_a_new_pod_is_filtered_before_it_can_send(here: World) -> None:
    node = here.nodes[0]
    with namespace(f"{NAME}-new") as netns:
        here.policy("quiet", podSelector={"matchLabels": {"app": "new"}}, policyTypes=["Egress"], egress=[])
        eventually(lambda: held_back(node.netns, None), "the node holds new pods back")
        made = Pod("new", node, node.attach("new", netns), netns)
        here.pods["new"] = made
        try:
            assert held_back(node.netns, made.address)
            assert not reaches(here, "new", "a2")
            here.announce("new", app="new")
            asyncio.run(asyncio.wait_for(node.links.filtered("new"), 30))
            assert not held_back(node.netns, made.address)
            assert not reaches(here, "new", "a2")
            here.announce("new", app="else")
            eventually(lambda: reaches(here, "new", "a2"), "with other labels it may send")
        finally:
            asyncio.run(node.links.detach("new"))
            del here.pods["new"]


def test_a_restart_adopts_and_a_flush_is_repaired(here: World) -> None:
    node = here.nodes[0]
    here.policy("closed", podSelector={"matchLabels": {"app": "a"}})
    told(here, "a1", "a2")
    here.kill_proxy(node)
    assert not reaches(here, "c2", "a1")
    run("iptables", "-t", "mangle", "-F", inside=node.netns)
    eventually(lambda: reaches(here, "c2", "a1"), "without the rules it is open")
    here.start_proxy(node)
    eventually(lambda: not reaches(here, "c2", "a1"), "the rules are back")


def held_back(netns: Path, address: str | None) -> bool:
    """Whether a pod is held back; without an address, whether new ones would be."""
    with namespaces.inside(netns):
        return newcomers.waits(address) if address is not None else ipset.exists(newcomers.SET)


def test_peers_are_enough_for_servers_of_another_port(here: World) -> None:
    """A rule without ports is about every port."""
    pod = here.pods["a1"]
    with running("python3", "-Sc", HTTP_SERVER, "a1", "8081", inside=pod.netns):
        here.policy("all-ports", podSelector={"matchLabels": {"app": "a"}}, ingress=[{"from": [{"podSelector": {}}]}])
        told(here, "a1", "a2")
        assert http_get(pod.address, 8081, inside=here.pods["c2"].netns).startswith("a1")
