"""How long a kubelet may keep what it has fetched, by the size of the cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shim.client import resource as r
from shim.controllers.node_ttl import ANNOTATION, NodeTtlController, step
from shim.controllers.tests.cluster import cluster


@pytest.mark.parametrize(
    ("before", "nodes", "expected"),
    [(0, 1, 0), (0, 100, 0), (0, 101, 1), (1, 95, 1), (1, 89, 0), (0, 5000, 4), (4, 1, 0), (2, 500, 2)],
)
def test_the_step_is_kept_as_long_as_the_cluster_is_in_its_range(before: int, nodes: int, expected: int) -> None:
    assert step(before, nodes) == expected


async def test_every_node_is_told(tmp_path: Path) -> None:
    async with cluster(tmp_path) as c:
        await c.control(NodeTtlController)
        await c.add_node("a")
        async with asyncio.timeout(60):
            async for _, node in c.client.watch(r.NODES, resource_version="0"):
                if (node["metadata"].get("annotations") or {}).get(ANNOTATION) == "0":
                    break
