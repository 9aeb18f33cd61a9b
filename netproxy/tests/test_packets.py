"""Packets really sent: Services, node ports and names, from pods, from nodes and from the machine."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dnslib import DNSRecord

from netproxy.links import namespaces, virtual
from netproxy.tests.kernel import (
    Addresses,
    eventually,
    http_get,
    interfaces,
    needs_root,
    run,
    running,
    snapshot,
    udp_ask,
)
from netproxy.tests.world import NAME, Node, World, world
from shim.client import resource as r

pytestmark = needs_root


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, addresses: Addresses) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world"), addresses) as made:
        yield made
    assert not any(snapshot(NAME).values())


def who_answers(ask: Callable[[], str]) -> set[str]:
    """The names of all that answer, asked until two have, or often enough to be sure that there is but one."""
    names: set[str] = set()
    for _ in range(24):
        names.add(ask().partition(" ")[0])
        if len(names) == 2 and "" not in names:
            break
    return names


def test_pods_reach_pods_of_other_nodes_with_their_own_address(here: World) -> None:
    one, other = here.pods["c1"], here.pods["a2"]
    assert http_get(other.address, 8080, inside=one.netns) == f"a2 {one.address}"


def test_the_machine_reaches_pods_and_pods_the_machine(here: World) -> None:
    for name in ("a1", "a2"):
        assert http_get(here.pods[name].address, 8080) == f"{name} {here.ranges.machine}"
    with namespaces.inside(here.pods["c2"].netns):
        asking = socket.socket()
    with asking, socket.create_server((here.ranges.machine, 0)) as server:
        asking.connect(server.getsockname())
        assert server.accept()[1][0] == here.pods["c2"].address


def test_a_cluster_ip_is_answered_by_pods_of_all_nodes_for_everyone(here: World) -> None:
    address = here.service("web")["spec"]["clusterIP"]
    here.endpoints("web", "a1", "a2")
    eventually(lambda: http_get(address, 80), "the Service answers")
    for client in (here.pods["c1"].netns, here.pods["c2"].netns, here.nodes[0].netns, here.nodes[1].netns, None):
        assert who_answers(lambda client=client: http_get(address, 80, inside=client)) == {"a1", "a2"}  # type: ignore[misc]
    answer = eventually(lambda: http_get(address, 80, inside=here.pods["c1"].netns), "a pod is answered")
    assert answer.split()[1] == here.pods["c1"].address


def test_a_node_port_is_answered_on_every_node(here: World) -> None:
    port = here.service("np", type="NodePort")["spec"]["ports"][0]["nodePort"]
    here.endpoints("np", "a2")
    for node in here.nodes:
        eventually(lambda node=node: http_get(node.address, port).startswith("a2 "), "the node port answers")
        assert http_get(node.address, port, inside=here.pods["c1"].netns).startswith("a2 ")
        assert http_get("127.0.0.1", port, inside=node.netns).startswith("a2 ")


def test_external_local_shows_the_client_and_is_silent_elsewhere(here: World) -> None:
    made = here.service("local", type="NodePort", externalTrafficPolicy="Local")
    here.endpoints("local", "a2")
    port = made["spec"]["ports"][0]["nodePort"]
    first, second = here.nodes
    expected = f"a2 {here.ranges.machine}"
    eventually(lambda: http_get(second.address, port) == expected, "the client's address is shown")
    assert http_get(first.address, port) == ""
    assert http_get(first.address, port, inside=here.pods["c1"].netns).startswith("a2 ")


def test_balancers_learn_where_endpoints_are_and_how_the_proxy_is(here: World) -> None:
    made = here.service("balanced", type="LoadBalancer", externalTrafficPolicy="Local")
    here.endpoints("balanced", "a2")
    port, (first, second) = made["spec"]["healthCheckNodePort"], here.nodes

    def asked(node: Node, port: int, path: str = "", inside: Path | None = None) -> tuple[str, str]:
        address = "127.0.0.1" if inside else node.address
        url = f"http://{address}:{port}/{path}"
        body, _, code = run("curl", "-s", "-m", "2", "-w", " %{http_code}", url, inside=inside).rpartition(" ")
        return code, body

    eventually(lambda: asked(second, port)[0] == "200", "the node with the endpoint says so")
    service = {"namespace": "default", "name": "balanced"}
    expected = {"service": service, "localEndpoints": 1, "serviceProxyHealthy": True}
    assert json.loads(asked(second, port)[1]) == expected
    code, body = asked(first, port)
    assert (code, json.loads(body)["localEndpoints"]) == ("503", 0)
    here.api(lambda client: client.delete(r.SERVICES, "balanced", "default"))
    eventually(lambda: asked(second, port)[0] == "", "the port is closed with the Service")
    code, body = asked(first, 10256, "healthz")
    assert (code, json.loads(body)["nodeEligible"]) == ("200", True)
    assert asked(first, 10249, "proxyMode", first.netns) == ("200", "iptables")
    assert "kubeproxy_sync_proxy_rules_duration_seconds_count" in asked(first, 10249, "metrics", first.netns)[1]


def test_a_pod_reaches_itself_through_its_service(here: World) -> None:
    address = here.service("own")["spec"]["clusterIP"]
    here.endpoints("own", "a1")
    assert eventually(lambda: http_get(address, 80, inside=here.pods["a1"].netns), "it answers").startswith("a1 ")


def test_a_service_without_endpoints_refuses_at_once_and_an_unknown_one_does_not_loop(here: World) -> None:
    address = here.service("empty")["spec"]["clusterIP"]
    rule = f"-d {address}/32"
    for node in here.nodes:
        eventually(lambda node=node: rule in run("iptables-save", "-t", "filter", inside=node.netns), "refused")
    for client in (here.pods["c1"].netns, here.nodes[1].netns, None):
        assert _error(address, client) == "ConnectionRefusedError"
    unknown = here.ranges.service_cidr.replace(".0.0/16", ".250.250")
    assert _error(unknown, here.pods["c1"].netns) in ("TimeoutError", "OSError")


def _error(address: str, client: Path | None) -> str:
    with namespaces.inside(client) if client else contextlib.nullcontext():
        asking = socket.socket()
    with asking:
        asking.settimeout(5)
        try:
            asking.connect((address, 80))
        except OSError as error:
            return type(error).__name__
    return ""


def test_datagrams_follow_when_their_endpoint_goes(here: World) -> None:
    port = {"name": "udp", "port": 53, "targetPort": 5353, "protocol": "UDP"}
    here_port = ({"name": "udp", "port": 5353, "protocol": "UDP"},)
    address = here.service("udp", port)["spec"]["clusterIP"]
    here.endpoints("udp", "a1", ports=here_port)
    client = here.pods["c2"].netns
    eventually(lambda: udp_ask(address, 53, inside=client), "the Service answers")
    assert udp_ask(address, 53).startswith("a1 ")
    with namespaces.inside(client):
        flow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with flow:
        flow.settimeout(1)
        flow.connect((address, 53))
        flow.send(b"?")
        assert flow.recv(100).startswith(b"a1 ")
        here.endpoints("udp", "a2", ports=here_port)

        def answered() -> bool:
            flow.send(b"?")  # the same flow: the kernel remembers where its packets went
            try:
                return flow.recv(100).startswith(b"a2 ")
            except OSError:
                return False

        eventually(answered, "the flow goes to the new endpoint")


def test_a_client_stays_with_its_endpoint(here: World) -> None:
    address = here.service("sticky", sessionAffinity="ClientIP")["spec"]["clusterIP"]
    here.endpoints("sticky", "a1", "a2")
    client = here.pods["c1"].netns
    eventually(lambda: http_get(address, 80, inside=client), "the Service answers")
    assert len(who_answers(lambda: http_get(address, 80, inside=client))) == 1


def test_a_client_that_was_away_for_longer_is_a_new_one(here: World) -> None:
    config = {"clientIP": {"timeoutSeconds": 1}}
    made = here.service("short", sessionAffinity="ClientIP", sessionAffinityConfig=config)
    here.endpoints("short", "a1", "a2")
    client, address = here.pods["c1"].netns, made["spec"]["clusterIP"]
    first = eventually(lambda: http_get(address, 80, inside=client), "the Service answers").partition(" ")[0]

    def another() -> bool:
        time.sleep(1.1)  # it is the kernel that counts, from the last packet on
        return not http_get(address, 80, inside=client).startswith(first)

    eventually(another, "the other endpoint answers once", patience=60)


def test_names_are_answered_on_every_node_for_everyone(here: World) -> None:
    address = here.service("named")["spec"]["clusterIP"]
    here.service("headless", clusterIP="None")
    here.endpoints("headless", "a1", "a2")

    def ask(name: str, kind: str, inside: Path | None, tcp: bool) -> list[str]:
        question = DNSRecord.question(name, kind)
        with namespaces.inside(inside) if inside else contextlib.nullcontext():
            return sorted(str(each.rdata) for each in DNSRecord.parse(question.send(here.dns, tcp=tcp, timeout=30)).rr)

    names = "headless.default.svc.cluster.local"
    for client in (here.pods["c1"].netns, here.pods["c2"].netns, here.nodes[1].netns, None):
        for tcp in (False, True):
            eventually(lambda c=client, t=tcp: ask("named.default.svc.cluster.local", "A", c, t) == [address], "a name")
    pods = [here.pods["a1"].address, here.pods["a2"].address]
    eventually(lambda: ask(names, "A", None, False) == sorted(pods), "a headless Service has its pods")
    assert ask(f"a1.{names}", "A", here.pods["c2"].netns, False) == [pods[0]]


def test_a_killed_proxy_leaves_its_rules_and_the_next_one_goes_on(here: World) -> None:
    address = here.service("kept")["spec"]["clusterIP"]
    here.endpoints("kept", "a1")
    node, client = here.nodes[1], here.pods["c2"].netns
    eventually(lambda: http_get(address, 80, inside=client), "the Service answers")
    here.kill_proxy(node)
    assert http_get(address, 80, inside=client).startswith("a1 ")
    here.endpoints("kept", "a2")
    here.start_proxy(node)
    assert http_get(address, 80, inside=client).startswith("a2 ")
    rules = run("iptables-save", "-t", "nat", inside=node.netns)
    assert rules.count("default/kept:http -> ") == 1


def test_a_node_that_goes_takes_its_route_along(here: World) -> None:
    made = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "gone"},
        "spec": {"podCIDR": here.ranges.pod_cidr.replace(".0.0/16", ".9.0/24")},
        "status": {"addresses": [{"type": "InternalIP", "address": here.ranges.machine}]},
    }

    def routes() -> str:
        return Path("/proc/thread-self/net/route").read_text()

    def present() -> bool:
        with namespaces.inside(here.nodes[0].netns):
            text = routes()
        second = int(here.ranges.pod_cidr.split(".")[1])
        return f"0009{second:02X}0A" in text

    here.api(lambda client: client.create(r.NODES, made))
    eventually(present, "the route is there")
    here.api(lambda client: client.delete(r.NODES, "gone"))
    eventually(lambda: not present(), "the route is gone")


MASTER = """
import asyncio, sys
from pathlib import Path
from netproxy import master
from netproxy.settings import NetProxySettings
kubeconfig, address, pods, services = sys.argv[1:]
settings = NetProxySettings(Path(kubeconfig), "", address, pods, services)
asyncio.run(master.run(settings, lambda: print("ready", flush=True)))
"""


def test_a_master_that_is_no_node_reaches_pods_and_services(here: World) -> None:
    made = here.service("hook")["spec"]["clusterIP"]
    here.endpoints("hook", "a2")
    address = here.ranges.node_cidr.replace(".0/24", ".20")
    netns = virtual.create_node(NAME, "master", address)
    settings = (str(here.kubeconfig), address, here.ranges.pod_cidr, here.ranges.service_cidr)
    with running(sys.executable, "-c", MASTER, *settings, inside=netns):
        answer = eventually(lambda: http_get(made, 80, inside=netns), "a Service answers")
        assert answer == f"a2 {address}"
        assert http_get(here.pods["a1"].address, 8080, inside=netns) == f"a1 {address}"
        assert "services0" in interfaces(netns)
        assert interfaces(netns)["services0"] == []  # names are a node's business


def test_the_network_is_the_nodes_own(here: World) -> None:
    assert interfaces(here.nodes[0].netns)["services0"] == [f"{here.dns}/32"]
    assert "KUBE" not in run("iptables-save")
    assert virtual.pick_ranges(NAME, tuple(here.ranges)) == here.ranges
