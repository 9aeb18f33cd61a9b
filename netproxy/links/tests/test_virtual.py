"""Nodes as namespaces on this machine: made, reached, and gone without a trace."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from netproxy.links import machine, namespaces, netlink, virtual
from netproxy.tests.kernel import HTTP_SERVER, Addresses, http_get, interfaces, needs_root, run, running, snapshot

pytestmark = needs_root
NAME = f"npv{os.getpid() % 1000}"
CHAIN = f"SHIM-{NAME.upper()}"


@pytest.fixture
def ranges(addresses: Addresses) -> Iterator[virtual.Ranges]:
    before, others = snapshot(NAME), list(virtual.RECORDS.glob("*.json"))
    forwarding = namespaces.sysctl(machine.FORWARDING)
    with addresses():
        chosen = virtual.pick_ranges(NAME)
        virtual.create_cluster_network(NAME, **chosen._asdict())
    try:
        yield chosen
    finally:
        virtual.remove_all(NAME)
    assert not any(before.values())
    assert snapshot(NAME) == before
    others += virtual.RECORDS.glob("*.json")  # with which the setting may have changed
    assert others or namespaces.sysctl(machine.FORWARDING) == forwarding


def node(ranges: virtual.Ranges, number: int) -> tuple[Path, str]:
    address = ranges.node_cidr.replace(".0/24", f".{10 + number}")
    return virtual.create_node(NAME, f"node-{number}", address), address


def test_nodes_and_machine_reach_each_other(ranges: virtual.Ranges) -> None:
    (one, _), (two, address) = node(ranges, 1), node(ranges, 2)
    assert two == virtual.netns_path(NAME, "node-2") == Path(f"/run/netns/{NAME}-node-2")
    with running("python3", "-Sc", HTTP_SERVER, "two", "8080", inside=two):
        assert http_get(address, 8080, inside=one) == f"two {ranges.node_cidr.replace('.0/24', '.11')}"
        assert http_get(address, 8080) == f"two {ranges.machine}"


def test_everything_can_be_repeated(ranges: virtual.Ranges) -> None:
    node(ranges, 1)
    before = snapshot(NAME)
    virtual.create_cluster_network(NAME, **ranges._asdict())
    node(ranges, 1)
    assert snapshot(NAME) == before
    assert len([rule for rule in before["rules"] if rule == f"-A POSTROUTING -j {CHAIN}"]) == 1


def test_a_running_cluster_may_keep_its_ranges_and_another_gets_others(ranges: virtual.Ranges) -> None:
    node(ranges, 1)
    assert virtual.pick_ranges(NAME, tuple(ranges)) == ranges
    assert not set(virtual.pick_ranges("npw")) & set(ranges)


def test_what_leaves_the_machine_is_masqueraded_in_one_chain(ranges: virtual.Ranges) -> None:
    rules = run("iptables-save", "-t", "nat")
    for cidr in (ranges.pod_cidr, ranges.node_cidr):
        assert f"-A {CHAIN} -s {cidr} ! -o {NAME}0 -j MASQUERADE" in rules


def test_services_follow_when_the_first_node_goes(ranges: virtual.Ranges) -> None:
    node(ranges, 1)
    _, second = node(ranges, 2)
    virtual.remove_node(NAME, "node-1")
    with netlink.connect() as kernel:
        address, _, length = ranges.service_cidr.partition("/")
        routes = [route for route in kernel.get_routes(table=254) if route.get("dst") == address]
    assert [(route.get("gateway"), route["dst_len"]) for route in routes] == [(second, int(length))]


def test_a_crash_half_way_leaves_what_can_be_finished_or_removed(ranges: virtual.Ranges) -> None:
    path, _ = node(ranges, 1)
    with netlink.connect() as kernel:
        netlink.delete(kernel, virtual.interface_name(NAME, "node-1"))
    namespaces.remove(path)
    path.touch()  # a namespace that was not mounted yet
    again, address = node(ranges, 1)
    assert interfaces(again)["eth0"] == [f"{address}/24"]
    namespaces.remove(path)
    with contextlib.suppress(FileNotFoundError):
        virtual.remove_all(NAME)
    virtual.remove_all(NAME)


def test_a_machine_that_filters_lets_the_bridge_through(ranges: virtual.Ranges) -> None:
    assert run("iptables", "-A", "FORWARD", "-s", "203.0.113.1", "-j", "DROP") == ""
    try:
        virtual.create_cluster_network(NAME, **ranges._asdict())
        rules = run("iptables-save", "-t", "filter")
        assert f"-A FORWARD -j {CHAIN}" in rules
        assert f"-A {CHAIN} -i {NAME}0 -j ACCEPT" in rules
    finally:
        run("iptables", "-D", "FORWARD", "-s", "203.0.113.1", "-j", "DROP")
