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
