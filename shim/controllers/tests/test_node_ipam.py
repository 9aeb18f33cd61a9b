import asyncio

import pytest

from shim.client import resource as r
from shim.controllers.node_ipam import NodeIpamController, Ranges
from shim.controllers.tests.cluster import cluster


def test_the_lowest_free_range_is_given_and_a_freed_one_again():
    ranges = Ranges("10.0.0.0/22")
    ranges.take("old", "10.0.1.0/24")
    assert [ranges.give("a"), ranges.give("b"), ranges.give("a")] == ["10.0.0.0/24", "10.0.2.0/24", "10.0.0.0/24"]
    assert ranges.give("c") == "10.0.3.0/24"
    assert ranges.give("d") is None
    ranges.free("b")
    assert ranges.give("d") == "10.0.2.0/24"


def test_ranges_of_any_size_are_respected_and_others_ignored():
    ranges = Ranges("10.0.0.0/21")
    for node, cidr in (
        ("half", "10.0.0.128/25"),
        ("double", "10.0.2.0/23"),
        ("far", "192.0.2.0/24"),
        ("six", "fd00::/64"),
    ):
        ranges.take(node, cidr)
    ranges.take("moved", "10.0.4.0/24")
    ranges.take("moved", "10.0.5.0/24")
    assert [ranges.give(name) for name in ("a", "b", "c", "d")] == [
        "10.0.1.0/24",
        "10.0.4.0/24",
        "10.0.6.0/24",
        "10.0.7.0/24",
    ]
    assert ranges.give("far") == "192.0.2.0/24"
    assert ranges.give("e") is None


def test_a_network_too_small_for_a_node_is_refused():
    with pytest.raises(ValueError, match="at least a /24"):
        Ranges("10.0.0.0/25")


async def test_nodes_that_come_together_get_different_networks(tmp_path):
    async with cluster(tmp_path) as c:
        await c.control(NodeIpamController)
        names = ["a", "b", "c"]
        await asyncio.gather(*(c.add_node(name) for name in names))
        nodes = [await c.until(r.NODES, name, lambda node: node["spec"].get("podCIDR")) for name in names]

        assert {node["spec"]["podCIDR"] for node in nodes} == {f"10.244.{n}.0/24" for n in range(3)}
        assert all(node["spec"]["podCIDRs"] == [node["spec"]["podCIDR"]] for node in nodes)
