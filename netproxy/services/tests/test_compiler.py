"""Services as rules: whole texts, as ``iptables-save`` prints them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from netproxy.services import chains
from netproxy.services.chains import LAST_OF_SERVICES
from netproxy.services.compiler import Place
from netproxy.services.tests.builders import PLACE, endpoint, ruleset, service, slice_of


def text(*objects: Any, table: str = "nat", place: Place = PLACE) -> str:
    """The rules that the objects add to those that are always there, one a line."""
    always = ruleset(place=place)[table]
    lines = []
    for chain, rules in ruleset(*objects, place=place)[table].items():
        lines += [f"{chain} {rule}" for rule in rules if rule not in always.get(chain, ())]
    return "\n".join(lines)


def test_what_is_always_there() -> None:
    rules = ruleset()
    assert rules["nat"] == {
        "KUBE-SERVICES": (LAST_OF_SERVICES,),
        "KUBE-NODEPORTS": (),
        "KUBE-POSTROUTING": (
            "-m mark ! --mark 0x4000/0x4000 -j RETURN",
            "-j MARK --set-xmark 0x4000/0x0",
            '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
        ),
        "KUBE-MARK-MASQ": ("-j MARK --set-xmark 0x4000/0x4000",),
    }
    assert {chain for chain, content in rules["filter"].items() if content} == {"KUBE-FORWARD", "KUBE-FIREWALL"}


def test_names_of_chains_are_kube_proxys() -> None:
    assert chains.service_chain("default/kubernetes:https", "tcp") == "KUBE-SVC-NPX46M4PTMTKRN6Y"
    assert len(chains.external_chain("a-namespace/with-a-long-name:and-port", "tcp")) <= 28


def test_a_cluster_ip_leads_to_each_endpoint_with_the_same_probability() -> None:
    rules = text(service("web", "10.96.1.1"), slice_of("web", endpoint("10.244.1.5"), endpoint("10.244.2.6", "node-2")))
    assert rules == "\n".join(
        [
            'KUBE-SERVICES -d 10.96.1.1/32 -p tcp -m comment --comment "shop/web cluster IP" -m tcp --dport 80 '
            "-j KUBE-SVC-P54NRZKIXFPKKJ3O",
            "KUBE-SVC-P54NRZKIXFPKKJ3O ! -s 10.244.0.0/16 -d 10.96.1.1/32 -p tcp "
            '-m comment --comment "shop/web cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ',
            'KUBE-SVC-P54NRZKIXFPKKJ3O -m comment --comment "shop/web -> 10.244.1.5:8080" '
            "-m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-1",
            'KUBE-SVC-P54NRZKIXFPKKJ3O -m comment --comment "shop/web -> 10.244.2.6:8080" -j KUBE-SEP-2',
            'KUBE-SEP-1 -s 10.244.1.5/32 -m comment --comment "shop/web" -j KUBE-MARK-MASQ',
            'KUBE-SEP-1 -p tcp -m comment --comment "shop/web" -m tcp -j DNAT --to-destination 10.244.1.5:8080',
            'KUBE-SEP-2 -s 10.244.2.6/32 -m comment --comment "shop/web" -j KUBE-MARK-MASQ',
            'KUBE-SEP-2 -p tcp -m comment --comment "shop/web" -m tcp -j DNAT --to-destination 10.244.2.6:8080',
        ]
    ).replace("KUBE-SVC-P54NRZKIXFPKKJ3O", chains.service_chain("shop/web", "tcp")).replace(
        "KUBE-SEP-1", chains.endpoint_chain("shop/web", "tcp", "10.244.1.5:8080")
    ).replace("KUBE-SEP-2", chains.endpoint_chain("shop/web", "tcp", "10.244.2.6:8080"))


def test_probabilities_are_written_as_the_kernel_keeps_them() -> None:
    rules = text(service("web", "10.96.1.1"), slice_of("web", *(endpoint(f"10.244.1.{last}") for last in range(2, 6))))
    assert [word for word in rules.split() if word.startswith("0.")] == [
        "0.25000000000",
        "0.33333333349",
        "0.50000000000",
    ]


def test_ports_are_matched_by_name_and_protocol() -> None:
    web = service(
        "dns",
        "10.96.1.2",
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    )
    pieces = slice_of(
        "dns",
        endpoint("10.244.1.5"),
        ports=({"name": "dns", "port": 5353, "protocol": "UDP"}, {"name": "x", "port": 1}),
    )
    rules = text(web, pieces)
    assert "-m udp -j DNAT --to-destination 10.244.1.5:5353" in rules
    assert "tcp" not in rules
    assert '"shop/dns:dns-tcp has no endpoints" -m tcp --dport 53 -j REJECT' in text(web, pieces, table="filter")


def test_without_endpoints_packets_are_refused_everywhere() -> None:
    empty = service("empty", "10.96.1.3", {"port": 80, "nodePort": 30080}, type="NodePort", externalIPs=["203.0.113.9"])
    assert text(empty) == ""
    refusal = "-j REJECT --reject-with icmp-port-unreachable"
    comment = '-m comment --comment "shop/empty has no endpoints"'
    assert text(empty, table="filter").splitlines() == [
        f"KUBE-SERVICES -d 10.96.1.3/32 -p tcp {comment} -m tcp --dport 80 {refusal}",
        f"KUBE-EXTERNAL-SERVICES -d 203.0.113.9/32 -p tcp {comment} -m tcp --dport 80 {refusal}",
        f"KUBE-EXTERNAL-SERVICES -p tcp {comment} -m addrtype --dst-type LOCAL -m tcp --dport 30080 {refusal}",
    ]


def test_the_address_that_the_node_answers_on_itself_is_not_refused() -> None:
    place = Place("10.244.0.0/16", "172.30.0.11", answered_here=frozenset({"10.96.0.10"}))
    assert text(service("kube-dns", "10.96.0.10"), table="filter", place=place) == ""
    with_pods = text(service("kube-dns", "10.96.0.10"), slice_of("kube-dns", endpoint("10.244.1.5")), place=place)
    assert "DNAT --to-destination 10.244.1.5:8080" in with_pods


def test_a_node_port_is_masqueraded() -> None:
    rules = text(
        service("web", "10.96.1.1", {"port": 80, "nodePort": 30080}, type="NodePort"),
        slice_of("web", endpoint("10.244.1.5")),
    ).splitlines()
    external = chains.external_chain("shop/web", "tcp")
    assert f'KUBE-NODEPORTS -p tcp -m comment --comment "shop/web" -m tcp --dport 30080 -j {external}' in rules
    assert [rule.removeprefix(external + " ") for rule in rules if rule.startswith(external)] == [
        '-m comment --comment "masquerade traffic for shop/web external destinations" -j KUBE-MARK-MASQ',
        f"-j {chains.service_chain('shop/web', 'tcp')}",
    ]


def local(*endpoints: Any, table: str = "nat") -> list[str]:
    web = service("web", "10.96.1.1", {"port": 80, "nodePort": 30080}, type="NodePort", externalTrafficPolicy="Local")
    return text(web, slice_of("web", *endpoints), table=table).splitlines()


def test_external_local_keeps_clients_addresses_and_this_nodes_endpoints() -> None:
    rules = local(endpoint("10.244.1.5"), endpoint("10.244.2.6", "node-2"))
    service_chain, local_chain = chains.service_chain("shop/web", "tcp"), chains.local_chain("shop/web", "tcp")
    external = chains.external_chain("shop/web", "tcp")
    assert [rule.removeprefix(external + " ") for rule in rules if rule.startswith(external)] == [
        f'-s 10.244.0.0/16 -m comment --comment "pod traffic for shop/web external destinations" -j {service_chain}',
        '-m comment --comment "masquerade LOCAL traffic for shop/web external destinations" '
        "-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ",
        '-m comment --comment "route LOCAL traffic for shop/web external destinations" '
        f"-m addrtype --src-type LOCAL -j {service_chain}",
        f"-j {local_chain}",
    ]
    assert [rule for rule in rules if rule.startswith(local_chain)] == [
        f'{local_chain} -m comment --comment "shop/web -> 10.244.1.5:8080" '
        f"-j {chains.endpoint_chain('shop/web', 'tcp', '10.244.1.5:8080')}"
    ]


def test_external_local_without_endpoints_here_is_silent() -> None:
    assert not any("KUBE-SVL" in rule for rule in local(endpoint("10.244.2.6", "node-2")))
    assert local(endpoint("10.244.2.6", "node-2"), table="filter") == [
        'KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "shop/web has no local endpoints" '
        "-m addrtype --dst-type LOCAL -m tcp --dport 30080 -j DROP"
    ]


def test_internal_local_uses_this_nodes_endpoints_only() -> None:
    inner = service("in", "10.96.1.4", internalTrafficPolicy="Local")
    both = slice_of("in", endpoint("10.244.1.5"), endpoint("10.244.2.6", "node-2"))
    rules = text(inner, both)
    assert "10.244.2.6" not in rules
    assert f"--dport 80 -j {chains.local_chain('shop/in', 'tcp')}" in rules
    elsewhere = slice_of("in", endpoint("10.244.2.6", "node-2"))
    assert text(inner, elsewhere) == ""
    assert text(inner, elsewhere, table="filter").endswith('"shop/in has no local endpoints" -m tcp --dport 80 -j DROP')


def test_a_client_stays_with_its_endpoint() -> None:
    config = {"clientIP": {"timeoutSeconds": 60}}
    rules = text(
        service("sticky", "10.96.1.5", sessionAffinity="ClientIP", sessionAffinityConfig=config),
        slice_of("sticky", endpoint("10.244.1.5"), endpoint("10.244.1.6")),
    ).splitlines()
    one = chains.endpoint_chain("shop/sticky", "tcp", "10.244.1.5:8080")
    recent = f"--name {one} --mask 255.255.255.255 --rsource"
    own = chains.service_chain("shop/sticky", "tcp")
    comment = '-m comment --comment "shop/sticky -> 10.244.1.5:8080"'
    assert f"{own} {comment} -m recent --rcheck --seconds 60 --reap {recent} -j {one}" in rules
    assert (
        f'{one} -p tcp -m comment --comment "shop/sticky" -m recent --set {recent} '
        "-m tcp -j DNAT --to-destination 10.244.1.5:8080"
    ) in rules
    choices = [rule for rule in rules if rule.startswith(own)]
    assert ["recent" in rule for rule in choices] == [False, True, True, False, False]


def test_a_load_balancers_address_admits_its_sources() -> None:
    balanced = service(
        "lb",
        "10.96.1.6",
        {"port": 80, "nodePort": 30082},
        type="LoadBalancer",
        ingress=("198.51.100.5",),
        loadBalancerSourceRanges=["192.168.0.0/16", " 172.30.0.0/24"],
    )
    pieces = slice_of("lb", endpoint("10.244.1.5"))
    firewall, external = chains.firewall_chain("shop/lb", "tcp"), chains.external_chain("shop/lb", "tcp")
    rules = text(balanced, pieces).splitlines()
    assert [rule.removeprefix(firewall + " ") for rule in rules if rule.startswith(firewall)] == [
        f'-s 192.168.0.0/16 -m comment --comment "shop/lb loadbalancer IP" -j {external}',
        f'-s 172.30.0.0/24 -m comment --comment "shop/lb loadbalancer IP" -j {external}',
        f'-s 198.51.100.5/32 -m comment --comment "shop/lb loadbalancer IP" -j {external}',
        '-m comment --comment "other traffic to shop/lb will be dropped by KUBE-PROXY-FIREWALL"',
    ]
    assert text(balanced, pieces, table="filter") == (
        "KUBE-PROXY-FIREWALL -d 198.51.100.5/32 -p tcp "
        f'-m comment --comment "shop/lb traffic not accepted by {firewall}" -m tcp --dport 80 -j DROP'
    )


def test_endpoints_that_shut_down_serve_while_there_is_no_other() -> None:
    ending = endpoint("10.244.1.5", ready=False, serving=True, terminating=True)
    gone = endpoint("10.244.1.6", ready=False, serving=False, terminating=True)
    web = service("web", "10.96.1.1")
    assert "10.244.1.5" in text(web, slice_of("web", ending, gone))
    assert "10.244.1.6" not in text(web, slice_of("web", ending, gone))
    assert "10.244.1.5" not in text(web, slice_of("web", ending, endpoint("10.244.1.7")))


@pytest.mark.parametrize(
    ("endpoints", "used"),
    [
        ([endpoint("10.244.1.5", nodes="node-1"), endpoint("10.244.2.6", nodes="node-2")], {5}),
        ([endpoint("10.244.1.5", nodes="node-3"), endpoint("10.244.2.6", nodes="node-2")], {5, 6}),
        ([endpoint("10.244.1.5", nodes="node-1"), endpoint("10.244.2.6")], {5, 6}),
        ([endpoint("10.244.1.5", zones="east,west"), endpoint("10.244.2.6", zones="west")], {5}),
        ([endpoint("10.244.1.5", zones="west"), endpoint("10.244.2.6", zones="west")], {5, 6}),
        ([endpoint("10.244.1.5", nodes="n", zones="west"), endpoint("10.244.2.6", nodes="n", zones="east")], {6}),
        ([endpoint("10.244.1.5", zones="east", ready=False), endpoint("10.244.2.6", zones="west")], {6}),
    ],
    ids=[
        "node",
        "no endpoint for this node",
        "a hint is missing",
        "zone",
        "none for this zone",
        "zone as the node has none",
        "none for here is ready",
    ],
)
def test_hints_keep_traffic_near(endpoints: list[Any], used: set[int]) -> None:
    rules = text(service("web", "10.96.1.1"), slice_of("web", *endpoints))
    assert {int(found) for found in re.findall(r"to-destination 10\.244\.\d\.(\d)", rules)} == used


def test_what_needs_no_rules_gets_none() -> None:
    pieces = slice_of("x", endpoint("10.244.1.5"))
    for other in (
        service("x", "None"),
        service("x", "", type="ExternalName", externalName="example.com"),
        service("x", "fd00::1"),
        {
            **service("x", "10.96.1.1"),
            "metadata": {
                "namespace": "shop",
                "name": "x",
                "labels": {"service.kubernetes.io/service-proxy-name": "other"},
            },
        },
    ):
        assert text(other, pieces) == text(other, pieces, table="filter") == ""
