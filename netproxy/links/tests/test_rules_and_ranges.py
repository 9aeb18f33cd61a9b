"""Host ports as rules, ranges as choices: values in, values out."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from netproxy.links import virtual
from netproxy.links.hostports import rules
from netproxy.links.ipam import Lease
from netproxy.links.ranges import NoFreeRange, Ranges, choose


def test_a_host_port_leads_to_the_pod_and_the_pod_may_use_it_itself() -> None:
    to_pods, back = rules([Lease("10.244.1.5", [(8080, 80, "TCP", ""), (53, 5353, "UDP", "172.30.0.11")])])
    assert to_pods == [
        "-p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.5:80",
        "-d 172.30.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.244.1.5:5353",
    ]
    assert back == [
        "-s 10.244.1.5/32 -d 10.244.1.5/32 -p tcp -m tcp --dport 80 -j MASQUERADE",
        "-s 10.244.1.5/32 -d 10.244.1.5/32 -p udp -m udp --dport 5353 -j MASQUERADE",
        "-s 127.0.0.0/8 -o shim0 -j MASQUERADE",
    ]


def test_without_host_ports_there_are_no_rules() -> None:
    assert rules([Lease("10.244.1.5")]) == ([], [])


def test_a_machine_with_nothing_gives_the_usual_ranges() -> None:
    chosen = choose([])
    assert chosen == Ranges("172.30.0.0/24", "10.244.0.0/16", "10.96.0.0/16")
    assert chosen.machine == "172.30.0.1"


def test_taken_ranges_are_avoided() -> None:
    taken = [IPv4Network("172.30.0.7/32"), IPv4Network("10.244.0.0/15"), IPv4Network("10.96.0.0/12")]
    with pytest.raises(NoFreeRange, match="Services"):
        choose([*taken, IPv4Network("10.112.0.0/12")])
    assert choose(taken) == Ranges("172.30.1.0/24", "10.246.0.0/16", "10.112.0.0/16")


def test_former_ranges_are_kept_while_they_are_free() -> None:
    kept = ("172.30.9.0/24", "10.250.0.0/16", "10.97.0.0/16")
    assert choose([], kept) == kept
    assert choose([IPv4Network("10.250.3.0/24")], kept) == choose([])


def test_names_fit_what_the_kernel_allows() -> None:
    long = "a-cluster-with-a-long-name-indeed"
    assert virtual.bridge_name("shim") == "shim0"
    for name in (virtual.bridge_name(long), virtual.interface_name(long, "node-1")):
        assert len(name) <= 15
    assert virtual.interface_name(long, "node-1") != virtual.interface_name(long, "node-2")
    assert virtual.chain_name("shim") == "SHIM-SHIM"
    assert len(virtual.chain_name(long)) <= 28
