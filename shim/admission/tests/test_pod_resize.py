"""A pod grows only within its node."""

from __future__ import annotations

import pytest

from shim.admission.tests.cluster import (
    NAMESPACE,
    Cluster,
    admitted,
    container,
    pod,
    refusal,
    update,
)
from shim.api.meta import Object


def sized(cpu: str, generation: int) -> Object:
    made = pod(nodeName="n", containers=container(resources={"requests": {"cpu": cpu}}))
    made["metadata"]["generation"] = generation
    return made


@pytest.mark.parametrize(
    ("node", "why", "reason"),
    [
        ({"status": {"allocatable": {"cpu": "2"}}}, "", ""),
        (
            {"status": {"allocatable": {"cpu": "1"}}},
            "node didn't have enough allocatable resources: cpu, requested: 2000, allocatable: 1000",
            "NodeCapacity",
        ),
        (
            {"metadata": {"name": "n", "labels": {"kubernetes.io/os": "windows"}}},
            'pod resize is only supported on linux nodes, node "n" is "windows"',
            "UnsupportedPlatform",
        ),
    ],
)
async def test_a_pod_grows_within_its_node(node: Object, why: str, reason: str) -> None:
    cluster = Cluster(NAMESPACE, ("nodes", {"metadata": {"name": "n"}, **node}))
    asked = update("pods", sized("2", 2), sized("1", 1), subresource="resize")
    if not why:
        await admitted(cluster, asked)
        return
    error = await refusal(cluster, asked)
    assert error.message == f'pods "p" is forbidden: {why}'
    assert (error.details or {})["causes"] == [{"reason": reason}]
